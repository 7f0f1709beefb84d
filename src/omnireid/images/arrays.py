"""From an array in memory to RGB uint8, and the errors for arrays that are no image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omnireid.errors import ImageError, ImageTooLargeError
from omnireid.types import ByteArray


def too_large(label: str, max_pixels: int, size: tuple[int, int] | None = None) -> ImageTooLargeError:
    """The error for an image of more than `max_pixels`. `size` is its width and height."""
    found = "" if size is None else f" ({size[0]:,} × {size[1]:,})"
    return ImageTooLargeError(
        f"{label} has more than {max_pixels:,} pixels{found}; it was not decoded. "
        "A crop of a person is far smaller: cut the person out of the picture first."
    )


def rgb_of_array(array: npt.NDArray[np.generic], label: str, max_pixels: int) -> ByteArray:
    """Convert a grey, RGB or RGBA array of uint8 or uint16 to (H, W, 3) uint8. The result may be a view.

    Raises:
        ImageError: the array has another shape or type, or 16 bits that hold 8-bit values.
        ImageTooLargeError: it has more than `max_pixels`.
    """
    image = array[..., np.newaxis] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ImageError(f"{label} has shape {array.shape}; {_advice_on_shape(array.shape)}")
    if 0 in image.shape:
        raise ImageError(f"{label} has shape {array.shape}: there is no pixel in it. Was the box outside the frame?")
    if image.shape[0] * image.shape[1] > max_pixels:
        raise too_large(label, max_pixels, (image.shape[1], image.shape[0]))
    if image.dtype.kind != "u" or image.dtype.itemsize > 2:
        raise ImageError(
            f"{label} is of type {image.dtype}; pixels are uint8 in 0–255 (or uint16 in 0–65535). "
            f"{_advice_on_values(image)}"
        )
    return _over_black(eight_bits(image, label) if image.dtype.itemsize == 2 else image.astype(np.uint8, copy=False))


def array_of_tensor(source: object, label: str) -> npt.NDArray[np.generic] | None:
    """A tensor of torch as an array with its channels last; None for anything else.

    A tensor of (…, 3, H, W) has its channels first, by torch's custom, unless only its last axis has a length of 3.

    Raises:
        ImageError: no array can be made of it, such as of bfloat16.
    """
    if type(source).__module__.partition(".")[0] != "torch" or not hasattr(source, "detach"):
        return None
    try:
        array: npt.NDArray[np.generic] = source.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:
        raise ImageError(
            f"{label} is a tensor of torch that no array can be made of ({error}). Give uint8 in 0–255."
        ) from error
    if array.ndim >= 3 and array.shape[-3] == 3 and array.shape[-1] != 3:
        return np.moveaxis(array, -3, -1)
    return array


def eight_bits(image: npt.NDArray[np.generic], label: str) -> ByteArray:
    """Scale 0–65535 to 0–255.

    Raises:
        ImageError: no value is above 255, so the image would come out black.
    """
    highest = int(np.asarray(image, dtype=np.int64).max())
    if 0 < highest <= 255:
        raise ImageError(
            f"{label} has 16 bits a pixel, but no value above {highest} of 65,535. It looks like an 8-bit image in 16 "
            "bits, and would come out black. Convert it first: array.astype(np.uint8)."
        )
    scaled: ByteArray = np.round(image.astype(np.float32) / 257).astype(np.uint8)
    return scaled


def _over_black(pixels: ByteArray) -> ByteArray:
    """Make three channels of one, three, or three and alpha."""
    if pixels.shape[2] == 3:
        return pixels
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        over_black: ByteArray = ((pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
        return over_black
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _advice_on_shape(shape: tuple[int, ...]) -> str:
    is_image = "an image is (H, W), (H, W, 3) or (H, W, 4)."
    if len(shape) == 4:
        last = shape[3] in (1, 3, 4)
        turn = "" if last else ", with the channels last: array.transpose(0, 2, 3, 1)"
        return f"{is_image} It looks like a batch: give its images one by one, as list(array){turn}."
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return f"{is_image} Channels come last: use array.transpose(1, 2, 0)."
    return is_image


def _advice_on_values(image: npt.NDArray[np.generic]) -> str:
    """How to convert the array, as far as its values tell. Nothing is converted on a guess."""
    if image.dtype == np.bool_:
        return "It looks like a mask, not a picture. If it is black and white: array.astype(np.uint8) * 255."
    if image.dtype.kind not in "iuf":
        return "Build it from numbers: np.asarray(picture, dtype=np.uint8)."
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return "It holds NaN or infinity. Find out where they come from first."
    return _advice_on_range(low, high, is_whole=image.dtype.kind != "f")


def _advice_on_range(low: float, high: float, *, is_whole: bool) -> str:
    if low < 0:
        return f"Its values run from {low:.4g} to {high:.4g}: was it normalised? Give the pixels as they were before."
    if high <= 1 and not is_whole:
        return "Its values lie in 0–1: (array * 255).round().astype(np.uint8)."
    if high <= 255:
        return f"Its values lie in 0–255: {'array' if is_whole else 'array.round()'}.astype(np.uint8)."
    return f"Its values run up to {high:.6g}, whose range is unknown: scale them to 0–255 first."
