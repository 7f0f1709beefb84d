"""The boxes in which a detector saw people, frame by frame.

Shapes: N boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnireid.errors import TrackingError
from omnireid.types import DoubleArray, FloatArray, check_whole_number


@dataclass(frozen=True)
class FrameDetections:
    """The boxes of one frame.

    Attributes:
        frame: Number of the frame, counted from 0.
        boxes: (N, 4) left, top, right, bottom in pixels of the frame; right and bottom are excluded. A box may reach
            beyond the frame.
        scores: (N,) confidence of each box, in [0, 1].

    Raises:
        TrackingError: A box is not finite or has no area, or a score lies outside [0, 1].
    """

    frame: int
    boxes: FloatArray
    scores: FloatArray

    def __post_init__(self) -> None:
        check_whole_number(self.frame, "frame", least=0)
        boxes = np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4)
        scores = np.asarray(self.scores, dtype=np.float32).reshape(-1)
        if len(boxes) != len(scores):
            raise TrackingError(f"Frame {self.frame} has {len(boxes)} boxes and {len(scores)} scores.")
        check_boxes(boxes, f"frame {self.frame}")
        if not np.all((scores >= 0) & (scores <= 1)):
            raise TrackingError(f"Frame {self.frame} has a score outside [0, 1]. Scale the detector's scores.")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.boxes)


def check_boxes(boxes: FloatArray, where: str) -> None:
    """Check that boxes can be boxes.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        where: What the boxes belong to, for the message.

    Raises:
        TrackingError: A box is not finite, or its right or bottom does not lie beyond its left or top.
    """
    if not np.isfinite(boxes).all():
        row = int(np.flatnonzero(~np.isfinite(boxes).all(axis=1))[0])
        raise TrackingError(f"Box {row} of {where} is not finite: {boxes[row].tolist()}.")
    flat = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    if flat.any():
        row = int(np.flatnonzero(flat)[0])
        raise TrackingError(
            f"Box {row} of {where} has no area: {boxes[row].tolist()}. A box is left, top, right, bottom; boxes given "
            "as left, top, width, height must be converted."
        )


def box_overlaps(first: DoubleArray, second: DoubleArray) -> DoubleArray:
    """(N, M) intersection over union of N and M boxes, each left, top, right, bottom."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    common = sides[..., 0] * sides[..., 1]
    area_first, area_second = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second))
    overlaps: DoubleArray = common / (area_first[:, None] + area_second[None] - common)
    return overlaps
