"""From a file, bytes, a PIL image or an array to RGB uint8."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,  # noqa: F401 - imported here, once: Pillow would import it in whichever thread decodes first
    Image,
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401 - many phones' .jpg files
    PngImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from omnireid.errors import ImageError, ImageTooLargeError

RgbArray = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, red first."""

ImageSource = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.generic]
"""What a caller may hand in as one image."""

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
"""Lower-case endings of the files that are looked at as crops."""

MAX_PIXELS = 64_000_000
"""No crop of a person, and hardly a photograph, has more: a larger image is refused unread."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
)
_ORIENTATION_TAG = 0x0112
_TURN_OF_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: ImageSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> RgbArray:
    """Decode one image to RGB.

    JPEG, PNG, WebP and BMP; greyscale, palette, 16-bit (scaled to 8), CMYK and
    alpha (laid over black, as background-removed crops are); turned upright as
    its EXIF orientation says.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array: (H, W),
            (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16. The order of
            the channels cannot be told from an array: OpenCV's BGR must be turned
            first (``frame[..., ::-1]``).
        name: what to call the image in an error; its path by default.
        max_pixels: height × width above which the image is refused before it is decoded.

    Returns:
        (H, W, 3) uint8, its own memory.

    Raises:
        ImageError: no such file, not an image, truncated, or an array of another kind.
        ImageTooLargeError: more than `max_pixels`.
    """
    if isinstance(source, np.ndarray):
        return _rgb_of_array(source, name or "the array", max_pixels)
    return np.array(open_rgb(source, name=name, max_pixels=max_pixels))


def open_rgb(source: ImageSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one image as `read_image` does, and give it as a PIL image of mode RGB."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(_rgb_of_array(source, name or "the array", max_pixels))
    label = name or _name_of(source)
    try:
        if isinstance(source, Image.Image):
            _check_size(source, label, max_pixels)
            return _rgb(source, label)
        opened = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
        if isinstance(source, bytes) and not source:
            raise ImageError(f"{label} is empty (0 bytes), so it is no image.")
        with Image.open(opened, formats=_FORMATS) as image:
            _check_size(image, label, max_pixels)
            return _rgb(image, label)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(label, max_pixels) from error
    except FileNotFoundError:
        raise ImageError(f"No such image: {label}. Check the path, or the list it came from.") from None
    except IsADirectoryError:
        raise ImageError(f"{label} is a folder, not an image.") from None
    except PermissionError:
        raise ImageError(f"No permission to read {label}.") from None
    except _DECODER_ERRORS as error:
        raise ImageError(_reason(source, label, error)) from error


def _name_of(source: str | os.PathLike[str] | bytes | Image.Image) -> str:
    if isinstance(source, bytes):
        return f"the image in memory ({len(source):,} bytes)"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "the PIL image")
    return os.fspath(source)


def _reason(source: ImageSource, label: str, error: Exception) -> str:
    """Why a file did not decode, told apart by what a user would do about it."""
    size = None
    if isinstance(source, (str, os.PathLike)):
        size = Path(source).stat().st_size
    if size == 0:
        return f"{label} is empty (0 bytes), so it is no image. Copy it again, or take it out of the list."
    if isinstance(error, UnidentifiedImageError):
        return (
            f"{label} is not a JPEG, PNG, WebP or BMP image, whatever its name says. "
            "Take it out of the list, or convert it."
        )
    return f"{label} is damaged or truncated and cannot be decoded ({error}). Copy it again, or leave it out."


def _too_large(label: str, max_pixels: int, size: tuple[int, int] | None = None) -> ImageTooLargeError:
    found = "" if size is None else f" ({size[0]:,} × {size[1]:,})"
    return ImageTooLargeError(
        f"{label} has more than {max_pixels:,} pixels{found}; it was not decoded. "
        "A crop of a person is far smaller: cut the person out of the picture first."
    )


def _check_size(image: Image.Image, label: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_large(label, max_pixels, image.size)


def _rgb(image: Image.Image, label: str) -> Image.Image:
    """Upright RGB pixels of any mode Pillow gives."""
    upright = _upright(image)
    if upright.mode == "RGB" and "transparency" not in upright.info:
        upright.load()
        return upright
    if upright.mode.startswith("I"):
        return _rgb_of_integers(upright, label)
    if upright.mode == "F":
        raise ImageError(f"{label} holds floating-point pixels, whose range is unknown. Convert it to 8 bits first.")
    if upright.has_transparency_data:
        over = upright.convert("RGBA")
        black = Image.new("RGBA", over.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, over).convert("RGB")
    return upright.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation means it; a damaged EXIF block turns nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_ERRORS:
        return image
    turn = _TURN_OF_ORIENTATION.get(orientation)
    return image if turn is None else image.transpose(turn)


def _rgb_of_integers(image: Image.Image, label: str) -> Image.Image:
    """16-bit grey (Pillow's modes I;16 and I) scaled to 8 bits; Pillow's own conversion would clip it."""
    return Image.fromarray(_rgb_of_array(np.asarray(image), label, MAX_PIXELS))


def _rgb_of_array(array: npt.NDArray[np.generic], label: str, max_pixels: int) -> RgbArray:
    """(H, W, 3) uint8 of a grey, RGB or RGBA array of 8 or 16 bits."""
    image = array[..., np.newaxis] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        channels_first = image.ndim == 3 and image.shape[0] in (1, 3, 4)
        hint = " Channels come last: use array.transpose(1, 2, 0)." if channels_first else ""
        raise ImageError(f"{label} has shape {array.shape}; an image is (H, W), (H, W, 3) or (H, W, 4).{hint}")
    if 0 in image.shape:
        raise ImageError(f"{label} has shape {array.shape}: there is no pixel in it. Was the box outside the frame?")
    if image.shape[0] * image.shape[1] > max_pixels:
        raise _too_large(label, max_pixels, (image.shape[1], image.shape[0]))
    pixels = _eight_bits(image, label)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        over_black: RgbArray = ((pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
        return over_black
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _eight_bits(image: npt.NDArray[np.generic], label: str) -> RgbArray:
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    # Pillow's mode I holds 16-bit grey in 32 bits.
    if image.dtype == np.uint16 or (image.dtype == np.int32 and image.min() >= 0 and image.max() <= 65535):
        scaled: RgbArray = np.round(image.astype(np.float32) / 257).astype(np.uint8)
        return scaled
    raise ImageError(
        f"{label} is of type {image.dtype}; pixels are uint8 in 0–255 (or uint16). For floats in 0–1: "
        "(array * 255).round().astype(np.uint8)."
    )
