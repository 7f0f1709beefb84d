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

from omnireid.errors import ImageError
from omnireid.images.arrays import eight_bits, rgb_of_array, too_large
from omnireid.images.jpeg import decode_plain_jpeg, is_plain_jpeg

RgbArray = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, red first."""

ImageSource = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.generic]
"""What a caller may hand in as one image."""

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
"""Lower-case endings of the files that are looked at as crops."""

MAX_PIXELS = 64_000_000
"""No crop of a person, and hardly a photograph, has more: a larger image is refused unread."""

_READ = 65_536
_MOST_READS = 1024  # 64 MiB: a larger file is left on the disk, for Pillow to take what it needs of it
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
    pixels = rgb_pixels(source, name=name, max_pixels=max_pixels)
    is_own = pixels.flags.writeable and not isinstance(source, np.ndarray)
    return pixels if is_own else np.array(pixels)


def rgb_pixels(source: ImageSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> RgbArray:
    """Decode one image as `read_image` does, to be looked at only: it may be read-only, or the caller's own array."""
    if isinstance(source, np.ndarray):
        return rgb_of_array(source, name or "the array", max_pixels)
    content = source if isinstance(source, bytes) else _jpeg_file(source, max_pixels)
    pixels = None if content is None else decode_plain_jpeg(content, max_pixels)
    # Whatever is wrong or unusual: Pillow reads it from its beginning, and its errors are the ones that are known.
    return np.asarray(open_rgb(source, name=name, max_pixels=max_pixels)) if pixels is None else pixels


def open_rgb(source: ImageSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one image as `read_image` does, and give it as a PIL image of mode RGB."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(rgb_of_array(source, name or "the array", max_pixels))
    if not isinstance(source, (str, os.PathLike, bytes, Image.Image)):
        raise ImageError(_not_a_source(source, name or "the image"))
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
        raise too_large(label, max_pixels) from error
    except FileNotFoundError:
        raise ImageError(f"No such image: {label}. Check the path, or the list it came from.") from None
    except IsADirectoryError:
        raise ImageError(f"{label} is a folder, not an image.") from None
    except PermissionError:
        raise ImageError(f"No permission to read {label}.") from None
    except _DECODER_ERRORS as error:
        raise ImageError(_reason(source, label, error)) from error


def _jpeg_file(source: object, max_pixels: int) -> bytes | None:
    """The bytes of a plain JPEG file; None for anything else, of which no more is read than tells."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        file = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return None
    try:
        # One read is the whole file of nearly every crop. Through Python's file objects it takes twice as long.
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
        hint = " Make it one: np.asarray(image), with the channels last and uint8 in 0–255."
    elif isinstance(source, (bytearray, memoryview)):
        hint = " Make it bytes: bytes(image)."
    return f"{label} is of type {kind}; an image is a path, bytes, a PIL image or a NumPy array.{hint}"


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


def _check_size(image: Image.Image, label: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise too_large(label, max_pixels, image.size)


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
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
        raise ImageError(f"{label} holds integers outside 0–65535, whose range is unknown. Scale it to 8 bits first.")
    return Image.fromarray(eight_bits(grey)).convert("RGB")
