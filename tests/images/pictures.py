"""Pictures to measure: sharp ones, and ones that are blurred."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from omnireid.types import ByteArray


def drawn(height: int, width: int) -> ByteArray:
    """A sharp picture: rectangles of random colours and sizes."""
    rng = np.random.default_rng(3)
    picture = np.full((height, width, 3), 90, dtype=np.uint8)
    for _ in range(60):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom, right = top + rng.integers(2, height // 4), left + rng.integers(2, width // 3)
        picture[top:bottom, left:right] = rng.integers(0, 255, 3)
    return picture


def blurred(picture: ByteArray, radius: float) -> ByteArray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def drawn_frame(height: int = 240, width: int = 320) -> ByteArray:
    """A frame full of small rectangles, so that every part of it is sharp."""
    rng = np.random.default_rng(5)
    frame = np.full((height, width, 3), (40, 90, 140), dtype=np.uint8)
    for _ in range(height * width // 190):
        top, left = rng.integers(0, height), rng.integers(0, width)
        frame[top : top + rng.integers(2, 20), left : left + rng.integers(2, 14)] = rng.integers(0, 255, 3)
    return frame
