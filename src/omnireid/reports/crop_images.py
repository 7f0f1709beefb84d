"""Small pictures of crops for reports."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from omnireid.errors import ImageError
from omnireid.images.decode import RgbArray, open_rgb
from omnireid.reports.parts import CropImage, Mark

_CROP_SIZE = (76, 140)


def make_crop_image(path: Path | None, caption: str, mark: Mark) -> CropImage:
    """A crop for a strip; an empty frame where there is no path, or no picture that can be read."""
    if path is None:
        return CropImage(None, caption, mark)
    try:
        return _shrink(open_rgb(path), caption, mark)
    except ImageError:
        return CropImage(None, f"{caption}\nnot readable", mark)


def crop_image_of_pixels(pixels: RgbArray, caption: str, mark: Mark) -> CropImage:
    """A crop for a strip, from its (H, W, 3) pixels."""
    return _shrink(Image.fromarray(pixels), caption, mark)


def _shrink(picture: Image.Image, caption: str, mark: Mark) -> CropImage:
    crop = picture.resize(_CROP_SIZE, Image.Resampling.LANCZOS)
    content = io.BytesIO()
    crop.save(content, format="JPEG", quality=82)
    return CropImage(content.getvalue(), caption, mark)
