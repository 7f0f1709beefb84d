"""What the boxes of crops say of their quality before they are added. Bad crops fill galleries with false matches.

The rules and thresholds stand in `images/quality.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from omnireid.images.quality import problems_of_boxes

if TYPE_CHECKING:
    import pyarrow as pa


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
