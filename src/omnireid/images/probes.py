"""Drawn crops to try a network with, where no real ones are at hand."""

from __future__ import annotations

import numpy as np
from PIL import Image

from omnireid.images.decode import RgbArray


def probe_crops(count: int, height: int, width: int, *, seed: int = 0) -> RgbArray:
    """Draw soft patches of colour with some noise, (count, height, width, 3) uint8.

    White noise would not do: it looks like no crop, and drives a network's activations where no crop does.
    """
    generator = np.random.default_rng(seed)
    crops = np.empty((count, height, width, 3), dtype=np.uint8)
    for crop in crops:
        patches = generator.integers(0, 256, (8, 4, 3), dtype=np.uint8)
        soft = np.asarray(Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        crop[:] = np.clip(soft + generator.integers(-12, 13, soft.shape), 0, 255)
    return crops
