"""How fast people move, in body heights a second, and how fast somebody would have had to move.

Body heights stand for metres, because a box is as high as a person at any
distance from the camera. A person walks about 0.8 of them a second and sprints 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnireid.tracking.tracklets import Tracklet
from omnireid.types import AnyArray, DoubleArray

SLOWEST_BOUND, FASTEST_BOUND = 1.0, 4.0
"""Body heights a second: a bound that is learned lies between a brisk walk and a sprint."""

BOX_ERROR = 0.5
"""Body heights by which the boxes of both ends may be misplaced together, half hidden people included."""

_STEP_S = 0.5
_LIVELY_SHARE = 0.95


def learn_fastest(tracklets: Sequence[Tracklet]) -> float:
    """A bound on the speed of people: twice what the quickest twentieth of all steps of half a second shows.

    Returns:
        Body heights a second, between `SLOWEST_BOUND` and `FASTEST_BOUND`.
    """
    speeds = np.concatenate([np.empty(0), *(_own_speeds(tracklet) for tracklet in tracklets)])
    if not speeds.size:
        return FASTEST_BOUND
    return float(np.clip(2 * np.quantile(speeds, _LIVELY_SHARE), SLOWEST_BOUND, FASTEST_BOUND))


def needed_speed(earlier: Tracklet, later: Tracklet) -> float:
    """Body heights a second from the last box of one tracklet to the first of a later one, `BOX_ERROR` allowed for.

    The greater height of both boxes is the measure, because a box of somebody half hidden is too low.
    """
    last, first = earlier.boxes[-1].astype(np.float64), later.boxes[0].astype(np.float64)
    height = float(max(last[3] - last[1], first[3] - first[1]))
    way = float(np.hypot(*(feet_of(last[None])[0] - feet_of(first[None])[0]))) / height
    return max(way - BOX_ERROR, 0.0) / (later.start - earlier.end)


def _own_speeds(tracklet: Tracklet) -> DoubleArray:
    """Speeds of a tracklet over steps of at least half a second."""
    feet, heights = feet_of(tracklet.boxes), tracklet.boxes[:, 3] - tracklet.boxes[:, 1]
    after = np.searchsorted(tracklet.times, tracklet.times + _STEP_S)
    here = np.flatnonzero(after < len(feet))
    there = after[here]
    ways = np.linalg.norm(feet[there] - feet[here], axis=1) / heights[here]
    speeds: DoubleArray = ways / (tracklet.times[there] - tracklet.times[here])
    return speeds


def feet_of(boxes: AnyArray) -> DoubleArray:
    """Where people stand: the middle of the lower edge of each box."""
    feet: DoubleArray = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1).astype(np.float64)
    return feet
