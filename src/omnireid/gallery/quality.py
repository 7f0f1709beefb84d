"""How good crops are, measured before they are added. Bad crops fill galleries with false matches.

What is measured, and the thresholds, stand in `images/quality.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnireid.errors import ImageError
from omnireid.images.decode import rgb_pixels
from omnireid.images.quality import Quality, measure_crop, problems_of_boxes
from omnireid.machine import usable_cores

if TYPE_CHECKING:
    import pyarrow as pa

_MEASURED_TOGETHER = 64


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
        if boxes[row] is not None:
            frame = (row,) if moment is None else (moment, camera)
            frames.setdefault(frame, []).append(row)
    problems: dict[int, str] = {}
    for rows in frames.values():
        widths, heights = (np.array([_known(size[row]) for row in rows]) for size in sizes)
        found = problems_of_boxes(np.array([boxes[row] for row in rows], dtype=np.float64), widths, heights)
        problems |= {rows[row]: problem for row, problem in found.items()}
    return problems


def _known(size: object) -> float:
    """The size of a frame, or infinity where it is not known."""
    return float(size) if isinstance(size, (int, float)) else np.inf
