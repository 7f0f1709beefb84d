"""From a file, bytes, a PIL image or an array to RGB uint8."""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from omnireid.addresses import Address
from omnireid.errors import ImageError
from omnireid.images.arrays import array_of_tensor, eight_bits, rgb_of_array, too_large
from omnireid.images.fetching import FetchedImage, read_fetched
from omnireid.images.formats import FORMAT_NAMES, FORMATS, SUFFIXES
from omnireid.images.jpeg import decode_plain_jpeg, is_plain_jpeg
from omnireid.types import ByteArray

RgbArray = ByteArray
"""(H, W, 3) uint8, red first."""

ImageSource = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.generic]
"""What a caller may hand in as one image. A uint8 tensor of torch, (3, H, W) or (H, W, 3), is taken too."""

IMAGE_SUFFIXES = SUFFIXES
"""Lower-case suffixes of the files that are taken for crops: those of the formats that Pillow reads here."""

MAX_PIXELS = 64_000_000
"""A larger image is refused before it is decoded. No crop of a person, and hardly any photograph, has more pixels."""

_READ = 65_536
_MOST_READS = 1024  # 64 MiB. Pillow reads a larger file piece by piece.
# Without O_NONBLOCK, opening a named pipe waits until somebody writes to it. Windows has neither.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
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

    Reads JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 and PPM, and HEIC where
    the plugin pillow-heif is installed. Of several frames the first is taken.
    Greyscale, palette, CMYK and 16-bit images are converted to 8-bit RGB, alpha is
    laid over black, as in crops whose background was removed, and the image is
    turned upright according to its EXIF orientation.

    Args:
        source: A path or an `Address`, the bytes of a file, a PIL image, or an array: (H, W),
            (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16. An array does
            not tell the order of its channels, so turn OpenCV's BGR into RGB first
            (``frame[..., ::-1]``).
        name: Name of the image in an error; by default its path.
        max_pixels: Most pixels (height × width) that an image may have.

    Returns:
        (H, W, 3) uint8, in memory of its own.

    Raises:
        ImageError: there is no such file, it is no image or is truncated, or the
            array is of another shape or type.
        ImageTooLargeError: the image has more than `max_pixels`. It was not decoded.
    """
    pixels = rgb_pixels(source, name=name, max_pixels=max_pixels)
    is_own = pixels.flags.writeable and not isinstance(source, np.ndarray)
    return pixels if is_own else np.array(pixels)


def rgb_pixels(source: ImageSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> RgbArray:
    """Decode one image as `read_image` does, but do not write to it: it may be read-only, or the caller's own array."""
    if isinstance(source, (Address, FetchedImage)):
        return rgb_pixels(read_fetched(source), name=name or os.fspath(source), max_pixels=max_pixels)
    if isinstance(source, np.ndarray):
        return rgb_of_array(source, name or "the array", max_pixels)
    content = source if isinstance(source, bytes) else _jpeg_file(source, max_pixels)
    pixels = None if content is None else decode_plain_jpeg(content, max_pixels)
    # Anything damaged or unusual is left to Pillow, which reads it from the beginning and has errors that are known.
    return np.asarray(open_rgb(source, name=name, max_pixels=max_pixels)) if pixels is None else pixels


def open_rgb(source: ImageSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one image as `read_image` does, and return it as a PIL image of mode RGB."""
    if isinstance(source, (Address, FetchedImage)):
        return open_rgb(read_fetched(source), name=name or os.fspath(source), max_pixels=max_pixels)
    if isinstance(source, np.ndarray):
        return Image.fromarray(rgb_of_array(source, name or "the array", max_pixels))
    if not isinstance(source, (str, os.PathLike, bytes, Image.Image)):
        tensor = array_of_tensor(source, name or "the tensor")
        if tensor is None:
            raise ImageError(_not_a_source(source, name or "the image"))
        return Image.fromarray(rgb_of_array(tensor, name or "the tensor", max_pixels))
    label = name or _name_of(source)
    if isinstance(source, Image.Image):
        return _rgb_of_pil(source, label, max_pixels)
    try:
        if isinstance(source, bytes):
            if not source:
                raise ImageError(f"{label} is empty (0 bytes), so it is no image.")
            opened: io.BytesIO | Path = io.BytesIO(source)
        else:
            opened = Path(source)
            check_regular_file(opened, label)
        with Image.open(opened, formats=FORMATS) as image:
            _check_size(image, label, max_pixels)
            return _rgb(image, label)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large(label, max_pixels) from error
    except FileNotFoundError:
        raise ImageError(f"No such image: {label}. Check the path, or the list it came from.") from None
    except PermissionError:
        raise ImageError(f"No permission to read {label}.") from None
    except _DECODER_ERRORS as error:
        raise ImageError(_reason(source, label, error)) from error


def check_regular_file(path: Path, label: str) -> None:
    """Check that `path` is a file with content of its own. Reading a named pipe or a device could block for ever.

    Raises:
        ImageError: it is a folder, a named pipe, a device or a socket; `label` names it.
        OSError: there is no such file, or no permission.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ImageError(f"{label} is a folder, not an image.")
    kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise ImageError(f"{label} is {kind}, not a file, so it is not read. Take it out of the list.")


def _rgb_of_pil(image: Image.Image, label: str, max_pixels: int) -> Image.Image:
    try:
        _check_size(image, label, max_pixels)
        return _rgb(image, label)
    except (*_DECODER_ERRORS, AssertionError, AttributeError) as error:
        # Pillow has several errors for a file that was closed before its pixels were read, none of which says so.
        is_closed = not isinstance(error, OSError) and getattr(image, "fp", None) is None
        if not is_closed:
            raise ImageError(_reason(image, label, error)) from error
        raise ImageError(
            f"{label} was closed before its pixels were read, such as by the end of a with block. Give the path, or "
            "call image.load() while the file is open."
        ) from error


def _jpeg_file(source: object, max_pixels: int) -> bytes | None:
    """The bytes of a plain JPEG file, or None. Of any other file only the beginning is read."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        file = os.open(source, _OPEN_FLAGS)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        # One read takes in nearly every crop. Python's file objects take twice as long.
        parts = [os.read(file, _READ)]
        if len(parts[0]) == _READ and is_plain_jpeg(parts[0], max_pixels):
            while part := os.read(file, _READ):
                parts.append(part)
                if len(parts) > _MOST_READS:
                    return None
    except OSError:
        return None
    finally:
        os.close(file)
    return b"".join(parts)


def _not_a_source(source: object, label: str) -> str:
    kind = f"{type(source).__module__}.{type(source).__qualname__}".removeprefix("builtins.")
    hint = ""
    if hasattr(source, "__array__"):
        hint = " Convert it with np.asarray(image), to uint8 in 0–255 with the channels last."
    elif isinstance(source, (bytearray, memoryview)):
        hint = " Convert it with bytes(image)."
    return f"{label} is of type {kind}; an image is a path, bytes, a PIL image or a NumPy array.{hint}"


def _name_of(source: str | os.PathLike[str] | bytes | Image.Image) -> str:
    if isinstance(source, bytes):
        return f"the image in memory ({len(source):,} bytes)"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "the PIL image")
    return os.fspath(source)


def _reason(source: ImageSource, label: str, error: Exception) -> str:
    """Why an image did not decode. The cases differ in what a user would do about them."""
    if isinstance(source, (str, os.PathLike)) and "\0" in os.fspath(source):
        return f"{label!r} is no name of a file: it has a NUL character in it. Correct the list it came from."
    if isinstance(source, (str, os.PathLike)) and Path(source).stat().st_size == 0:
        return f"{label} is empty (0 bytes), so it is no image. Copy it again, or take it out of the list."
    if isinstance(error, UnidentifiedImageError):
        return f"{label} is not a {FORMAT_NAMES} image, whatever its name says. Take it out of the list, or convert it."
    return f"{label} is damaged or truncated and cannot be decoded ({error}). Copy it again, or leave it out."


def _check_size(image: Image.Image, label: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise too_large(label, max_pixels, image.size)


def _rgb(image: Image.Image, label: str) -> Image.Image:
    """Turn an image of any mode upright and into RGB."""
    upright = _upright(image)
    if upright.mode == "RGB" and "transparency" not in upright.info:
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
    """Turn the image as its EXIF orientation says. A damaged EXIF block is ignored."""
    image.load()  # a TIFF file turns itself while it is loaded, and then has no orientation left
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_ERRORS:
        return image
    turn = _TURN_OF_ORIENTATION.get(orientation)
    return image if turn is None else image.transpose(turn)


def _rgb_of_integers(image: Image.Image, label: str) -> Image.Image:
    """Scale 16-bit grey (Pillow's modes I;16 and I) to 8 bits. Pillow's own conversion would clip it."""
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
        raise ImageError(f"{label} holds integers outside 0–65535, whose range is unknown. Scale it to 8 bits first.")
    return Image.fromarray(eight_bits(grey, label)).convert("RGB")
