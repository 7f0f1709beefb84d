"""How good a crop is, measured before it is added. Bad crops fill galleries with false matches.

All thresholds stand here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from omnireid.errors import ImageError
from omnireid.images.decode import RgbArray, rgb_pixels
from omnireid.machine import usable_cores
from omnireid.types import DoubleArray

if TYPE_CHECKING:
    import pyarrow as pa

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
_MEASURED_TOGETHER = 64


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
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return float(min(_lost(grey), _lost(grey.T)))


def _lost(grey: DoubleArray) -> float:
    """Share of the differences along columns that a running mean along them takes away."""
    before = _BLUR_WINDOW // 2
    padded = np.pad(grey, ((before + 1, before), (0, 0)), mode="edge")
    sums = padded.cumsum(axis=0)
    blurred = (sums[_BLUR_WINDOW:] - sums[:-_BLUR_WINDOW]) / _BLUR_WINDOW
    differences = np.abs(np.diff(grey, axis=0))
    lost = np.maximum(differences - np.abs(np.diff(blurred, axis=0)), 0).sum()
    total = differences.sum()
    return float(lost / total) if total > 0 else 0.0


def measure_files(paths: Sequence[Path]) -> Iterator[Quality]:
    """Measure crops in threads, in their order. One that cannot be decoded has no problem here: embedding says so."""
    parts = [paths[start : start + _MEASURED_TOGETHER] for start in range(0, len(paths), _MEASURED_TOGETHER)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        for part in pool.map(lambda part: [_measure_file(path) for path in part], parts):
            yield from part


def _measure_file(path: Path) -> Quality:
    try:
        return measure_crop(rgb_pixels(path))
    except ImageError:
        return Quality(0.0)


def frame_problems(described: pa.Table) -> Mapping[int, str]:
    """What the boxes of N described crops show: crops cut off by the frame, and crops with two people.

    A box that touches the left or upper edge is cut off; the others are known where there are the columns
    ``frame_width`` and ``frame_height``. Two boxes of one frame overlap where there is a column ``frame``, or a time,
    and the camera is the same.

    Returns:
        Row to problem.
    """
    boxes = described.column("box_xyxy").to_pylist()
    names = set(described.column_names)
    sizes = [
        described.column(name).to_pylist() if name in names else [None] * len(boxes)
        for name in ("frame_width", "frame_height")
    ]
    frames: dict[tuple[object, ...], list[int]] = {}
    when = described.column("frame" if "frame" in names else "time").to_pylist()
    for row, (moment, camera) in enumerate(zip(when, described.column("camera").to_pylist(), strict=True)):
        if boxes[row] is not None and moment is not None:
            frames.setdefault((moment, camera), []).append(row)
    problems = {}
    for row, box in enumerate(boxes):
        if box is not None and _is_cut_off(box, sizes[0][row], sizes[1][row]):
            problems[row] = f"cut off by the frame: its box is {', '.join(f'{edge:g}' for edge in box)}"
    for rows in frames.values():
        for row in rows:
            covered = max((_covered(boxes[row], boxes[other]) for other in rows if other != row), default=0.0)
            if covered > MOST_COVERED:
                problems.setdefault(
                    row, f"two people: another box of the frame covers {100 * covered:.0f} % of its box"
                )
    return problems


def _is_cut_off(box: Sequence[float], width: object, height: object) -> bool:
    right, bottom = (float(size) if isinstance(size, (int, float)) else np.inf for size in (width, height))
    left_or_top = min(box[0], box[1]) <= _EDGE_PIXELS
    return left_or_top or box[2] >= right - _EDGE_PIXELS or box[3] >= bottom - _EDGE_PIXELS


def _covered(box: Sequence[float], other: Sequence[float]) -> float:
    """Share of a box that another one covers."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(width, 0.0) * max(height, 0.0) / area
