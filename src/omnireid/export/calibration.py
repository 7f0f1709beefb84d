"""The crops an int8 graph takes the ranges of its activations from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnireid.errors import ExportError
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import ImageSource, RgbArray
from omnireid.images.preprocess import Preprocessing

FEWEST_CROPS = 32
"""With fewer crops, the ranges describe these few people and not the cameras."""

MOST_CROPS = 512
"""More crops take longer and change little."""


def read_calibration(images: Sequence[ImageSource] | RgbArray, preprocessing: Preprocessing) -> RgbArray:
    """Decode and resize up to `MOST_CROPS` images, spread evenly over all.

    Args:
        images: Paths, bytes, PIL images or (H, W, 3) RGB uint8 arrays, of any sizes; or one (N, H, W, 3) array.
        preprocessing: Input size of the network.

    Returns:
        (N, H, W, 3) uint8 at the input size.

    Raises:
        ExportError: There are no images.
        ImageError: An image cannot be decoded.
    """
    if not len(images):
        raise ExportError("Calibration needs images, at least one; got none.")
    chosen = np.linspace(0, len(images) - 1, min(len(images), MOST_CROPS)).astype(int)
    batches = iterate_batches([images[index] for index in chosen], preprocessing)
    return np.concatenate([batch.pixels for batch in batches])


def check_calibration(pixels: RgbArray) -> None:
    """Refuse too few crops to calibrate int8 with.

    Raises:
        ExportError: There are fewer than `FEWEST_CROPS`.
    """
    if len(pixels) < FEWEST_CROPS:
        raise ExportError(
            f"{len(pixels)} crops are too few to calibrate int8 with: give at least {FEWEST_CROPS}, better a few "
            "hundred from the cameras it will see."
        )
