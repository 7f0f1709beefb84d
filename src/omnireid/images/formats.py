"""The image formats that are read: what Pillow can read here, without the formats that no crop comes in."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from PIL import (
    AvifImagePlugin,  # noqa: F401 - imported here, once: Pillow would import it in whichever thread decodes first
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    Jpeg2KImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401 - the .jpg files of many phones
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

# The plugin for HEIC is optional. One that cannot be imported, for whatever reason, is not there.
with suppress(Exception):
    import_module("pillow_heif").register_heif_opener()

# Pillow reads more, but EPS and PDF start other programs, TGA accepts any file, and the rest holds no photographs.
_NAMES = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "GIF": "GIF",
    "AVIF": "AVIF",
    "HEIF": "HEIC",
    "JPEG2000": "JPEG 2000",
    "PPM": "PPM",
}

FORMATS = tuple(name for name in _NAMES if name in Image.OPEN)
"""Pillow's names of the formats that are read, the usual ones first."""

SUFFIXES = frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in FORMATS)
"""Lower-case suffixes of the files that are taken for images."""

FORMAT_NAMES = ", ".join(_NAMES[name] for name in FORMATS[:-1]) + f" or {_NAMES[FORMATS[-1]]}"
"""The formats that are read, as an error names them."""
