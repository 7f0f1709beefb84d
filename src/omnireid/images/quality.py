"""How good a crop of a person is, by its pixels and by its box in the frame.

All thresholds stand here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from omnireid.images.decode import RgbArray
from omnireid.types import DoubleArray, FloatArray

LEAST_HEIGHT, LEAST_WIDTH = 48, 20
"""Pixels. A network sees 128 × 64 or more; a crop that is enlarged more than threefold has no detail left."""

LEAST_ASPECT = 1.2
"""Height by width. A standing person is two to three times as high as wide."""

LEAST_SHARPNESS = 0.35
"""See `sharpness_of`. Of 300 crops each of Market-1501, CUHK03, VIPeR and 3DPeS, the least sharp has 0.38. Blurred by a
Gaussian of 2 pixels at a height of 128, half of them fall below 0.33; of 3 pixels, 99 % below 0.32."""

MOST_COVERED = 0.4
"""Share of a crop's box that the box of another crop in the same frame may cover."""

_EDGE_PIXELS = 1.0
_BLUR_WINDOW = 9
_MEASURED_HEIGHT = 128
_GREY = np.array([299, 587, 114], dtype=np.float32)
"""Weights of red, green and blue in a thousandth of a grey value, so that grey values are whole numbers."""


@dataclass(frozen=True)
class Quality:
    """What was measured of a crop.

    Attributes:
        sharpness: From 0, blurred, to 1; see `sharpness_of`.
        problem: Why the crop should be left out; None where it is good enough.
    """

    sharpness: float
    problem: str | None = None


def measure_crop(image: RgbArray) -> Quality:
    """Measure what the pixels of a crop show: size, shape and sharpness."""
    height, width = image.shape[:2]
    if height < LEAST_HEIGHT or width < LEAST_WIDTH:
        return Quality(0.0, f"too small: {width} × {height} pixels, at least {LEAST_WIDTH} × {LEAST_HEIGHT} are needed")
    sharpness = sharpness_of(image)
    if height < LEAST_ASPECT * width:
        return Quality(sharpness, f"not upright: {width} × {height} pixels, the height must be {LEAST_ASPECT} widths")
    if sharpness < LEAST_SHARPNESS:
        return Quality(sharpness, f"too blurred: sharpness {sharpness:.2f}, at least {LEAST_SHARPNESS} is needed")
    return Quality(sharpness)


def sharpness_of(image: RgbArray) -> float:
    """How much detail a blur takes away, from 0, where there is none to lose, to 1.

    Pictures of 256 pixels in height or more are made smaller first, to 128 pixels at least, so that it is the detail
    for a network that counts. The differences between neighbouring pixels are compared before and after a running
    mean of nine pixels; the direction that loses less counts. A constant picture has sharpness 0.

    Source: Crete, Dolmiere, Ladret and Nicolas, "The blur effect", SPIE 2007; this is one minus their measure.
    """
    factor = max(1, image.shape[0] // _MEASURED_HEIGHT)
    if factor > 1:
        image = np.asarray(Image.fromarray(image).reduce(factor))
    grey = image.astype(np.float32) @ _GREY
    return min(_lost(grey), _lost(np.ascontiguousarray(grey.T)))


def _lost(grey: FloatArray) -> float:
    """Share of the differences along columns that a running mean along them takes away.

    Two means of neighbouring windows differ by the two pixels that they do not share, divided by the window. All values
    are whole numbers below 2²⁴, so float32 computes them exactly.
    """
    before = _BLUR_WINDOW // 2
    rows = np.arange(len(grey) - 1)
    entering, leaving = np.minimum(rows + 1 + before, len(grey) - 1), np.maximum(rows - before, 0)
    differences = np.abs(np.diff(grey, axis=0))
    differences *= _BLUR_WINDOW
    lost = differences - np.abs(grey[entering] - grey[leaving])
    total = differences.sum(dtype=np.float64)
    return float(np.maximum(lost, 0).sum(dtype=np.float64) / total) if total > 0 else 0.0


def problems_of_boxes(boxes: DoubleArray, widths: DoubleArray, heights: DoubleArray) -> dict[int, str]:
    """Find the boxes of one frame that are cut off by it, and those that hold two people.

    Args:
        boxes: (N, 4) left, top, right, bottom in pixels, each with an area.
        widths: (N,) width of the frame, which may be infinite where it is not known.
        heights: (N,) height of the frame, which may be infinite too.

    Returns:
        Row to problem, for the boxes that have one.
    """
    left_top = boxes[:, :2].min(axis=1, initial=np.inf) <= _EDGE_PIXELS
    cut_off = left_top | (boxes[:, 2] >= widths - _EDGE_PIXELS) | (boxes[:, 3] >= heights - _EDGE_PIXELS)
    covered = covered_shares(boxes)
    problems = {}
    for row in range(len(boxes)):
        if cut_off[row]:
            problems[row] = f"cut off by the frame: its box is {', '.join(f'{edge:g}' for edge in boxes[row])}"
        elif covered[row] > MOST_COVERED:
            problems[row] = f"two people: another box of the frame covers {100 * covered[row]:.0f} % of its box"
    return problems


def covered_shares(boxes: DoubleArray) -> DoubleArray:
    """For each box, the largest share of its area that one other box covers."""
    if not len(boxes):
        return np.empty(0)
    width = np.minimum(boxes[:, None, 2], boxes[:, 2]) - np.maximum(boxes[:, None, 0], boxes[:, 0])
    height = np.minimum(boxes[:, None, 3], boxes[:, 3]) - np.maximum(boxes[:, None, 1], boxes[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area = np.diagonal(shared).copy()
    np.fill_diagonal(shared, 0)
    shares: DoubleArray = shared.max(axis=1) / area
    return shares
