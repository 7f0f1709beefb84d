"""Whether a camera stands still, as far as the boxes of people tell.

Under a moving camera the way between two boxes is no straight line, so boxes must not be interpolated over it.
Shapes: N boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnireid.tracking.detections import box_overlaps
from omnireid.tracking.tracklets import Tracklet
from omnireid.types import BoolArray

LEAST_SHARE = 5 / 6
"""Share of known boxes that must be found again between their neighbours in time. Over two seconds it was 0.87 to 0.92
in three public recordings by still cameras, and 0 to 0.78 in five by moving ones."""

_SAME_BOX = 0.5
"""Intersection over union from which two boxes count as the same, as in the scores."""


def can_be_interpolated(tracklets: Sequence[Tracklet], gap_s: float) -> bool:
    """Whether boxes may be interpolated over gaps of `gap_s` seconds: whether the camera stands still, in effect."""
    return found_again(tracklets, gap_s) >= LEAST_SHARE


def found_again(tracklets: Sequence[Tracklet], gap_s: float) -> float:
    """Share, from 0 to 1, of the boxes halfway between two boxes `gap_s` seconds apart that interpolation finds.

    This is tried on the tracklets themselves, where the box in the middle is known. Where all of them are shorter
    than the gap, the longest gap is taken for which some are known; where no box is known between two others, the
    share is 0.

    Args:
        tracklets: Tracklets of one camera.
        gap_s: Length of the gap in seconds.
    """
    steps = [np.diff(one.times) / np.diff(one.frames) for one in tracklets if len(one.times) > 1]
    if not steps:
        return 0.0
    wanted = max(2, round(gap_s / float(np.median(np.concatenate(steps)))))
    longest = max(_unbroken(one) for one in tracklets)
    gap = min(wanted, longest)
    if gap < 2:
        return 0.0
    return float(np.concatenate([_is_found_again(one, gap) for one in tracklets]).mean())


def _unbroken(tracklet: Tracklet) -> int:
    """Frames between the ends of the longest stretch of a tracklet that has a box in every frame."""
    breaks = np.flatnonzero(np.diff(tracklet.frames) != 1)
    edges = np.concatenate([[-1], breaks, [len(tracklet.frames) - 1]])
    return int(np.diff(edges).max()) - 1


def _is_found_again(tracklet: Tracklet, gap: int) -> BoolArray:
    """(N,) whether each box is found again halfway between those around it, `gap` frames apart."""
    frames, boxes = tracklet.frames, tracklet.boxes.astype(np.float64)
    first = np.flatnonzero(frames[gap:] - frames[:-gap] == gap) if len(frames) > gap else np.empty(0, np.int64)
    half = gap // 2
    between = boxes[first] + (boxes[first + gap] - boxes[first]) * (half / gap)
    overlaps = [
        box_overlaps(one[None], other[None])[0, 0] for one, other in zip(between, boxes[first + half], strict=True)
    ]
    return np.array(overlaps) >= _SAME_BOX
