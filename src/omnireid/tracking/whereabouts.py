"""How much place and time speak for two tracklets being one person.

Somebody who is lost for a moment comes back about where the motion before and
after leads; somebody else begins anywhere. How far people stray from where their
motion leads, and how wide the places are at which tracklets begin and end, is
learned from the tracklets themselves. After a long time a person may be anywhere,
and the evidence fades by itself.

Lengths are in body heights, as in `reach`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from omnireid.tracking.reach import feet_of
from omnireid.tracking.tracklets import Tracklet
from omnireid.types import DoubleArray

SPAN_S = 1.0
"""Seconds at either end of a tracklet from which its velocity and height are taken."""

KEEPS_ON_S = 1.0
"""Time after which people have lost most of their direction: a velocity leads no further than it does in this time."""

BOX_SPREAD = 0.2
"""Standard deviation in body heights that the boxes of half hidden people add to where a tracklet begins or ends."""

STRAY_SHARE = 0.05
"""Share of people who come back anywhere, however well the motion of others is known."""

LEAST_GROWTH = 0.25
"""Body heights a second by which people stray further, beyond the times that were learned."""

_GAPS_S = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
_LEAST_SAMPLES, _SAMPLES_OF_TRACKLET, _MOST_TRACKLETS = 20, 20, 200
_LEAST_BOXES, _LEAST_TIME_S = 3, 0.2
_RAYLEIGH_MEDIAN = 1.1774
"""Median distance from the middle of a normal distribution in two dimensions, in standard deviations."""


@dataclass(frozen=True, eq=False)
class Whereabouts:
    """Where somebody is at one end of a tracklet.

    Attributes:
        time: Seconds since the recording's start.
        feet: (2,) where the person stands, in pixels.
        velocity: (2,) pixels a second; zeros where there are too few boxes.
        height: Height of the person in pixels.
    """

    time: float
    feet: DoubleArray
    velocity: DoubleArray
    height: float


@dataclass(frozen=True)
class PlaceScale:
    """What a place is worth, learned from the tracklets of one recording.

    Attributes:
        gaps_s: Times for which it was learned how far people stray, rising.
        spreads: Standard deviations of their places after these times, never falling.
        area: Square body heights over which tracklets begin and end.
    """

    gaps_s: tuple[float, ...]
    spreads: tuple[float, ...]
    area: float

    def log_likelihood_ratio(self, last: Whereabouts, first: Whereabouts) -> float:
        """Above 0, the place of a new tracklet speaks for the person whose tracklet ended, below for another."""
        gap = first.time - last.time
        way = (last.velocity + first.velocity) / 2 * KEEPS_ON_S * (1 - math.exp(-gap / KEEPS_ON_S))
        off = (first.feet - last.feet - way) * 2 / (last.height + first.height)
        variance = self._spread(gap) ** 2 + BOX_SPREAD**2
        density = math.exp(-float(off @ off) / (2 * variance)) / (2 * math.pi * variance)
        return math.log((1 - STRAY_SHARE) * density * self.area + STRAY_SHARE)

    def _spread(self, gap: float) -> float:
        beyond = max(gap - self.gaps_s[-1], 0.0)
        return float(np.interp(gap, self.gaps_s, self.spreads)) + LEAST_GROWTH * beyond


def whereabouts(tracklet: Tracklet, *, at_end: bool) -> Whereabouts:
    """Where somebody is at the end or the start of a tracklet."""
    times = tracklet.times
    if at_end:
        rows = slice(int(np.searchsorted(times, times[-1] - SPAN_S)), None)
    else:
        rows = slice(None, int(np.searchsorted(times, times[0] + SPAN_S, side="right")))
    feet, boxes = feet_of(tracklet.boxes[rows]), tracklet.boxes[rows]
    place = -1 if at_end else 0
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    return Whereabouts(float(times[place]), feet[place], _velocity(times[rows], feet), height)


def last_second(tracklet: Tracklet) -> Tracklet:
    """What `whereabouts` needs of a tracklet's end, as a tracklet without crops."""
    rows = slice(int(np.searchsorted(tracklet.times, tracklet.times[-1] - SPAN_S)), None)
    return replace(
        tracklet,
        frames=tracklet.frames[rows],
        times=tracklet.times[rows],
        boxes=tracklet.boxes[rows],
        scores=tracklet.scores[rows],
        embedded=tracklet.embedded[:0],
        embeddings=tracklet.embeddings[:0],
        qualities=tracklet.qualities[:0],
    )


def learn_places(tracklets: Sequence[Tracklet]) -> PlaceScale:
    """Learn what a place is worth from the tracklets of one camera.

    Each tracklet is followed over gaps as if it had been lost there. Of more than 200 tracklets, 200 are looked at.
    """
    step = max(1, len(tracklets) // _MOST_TRACKLETS)
    off: dict[float, list[float]] = {gap: [] for gap in _GAPS_S}
    for tracklet in tracklets[::step]:
        feet = feet_of(tracklet.boxes)
        height = float(np.median(tracklet.boxes[:, 3] - tracklet.boxes[:, 1]))
        for gap in _GAPS_S:
            off[gap] += _strays(tracklet.times, feet / height, gap)
    gaps, spreads = [0.0], [0.0]
    for gap in _GAPS_S:
        if len(off[gap]) < _LEAST_SAMPLES:
            break
        gaps.append(gap)
        spreads.append(max(float(np.median(off[gap])) / _RAYLEIGH_MEDIAN, spreads[-1]))
    ends = [whereabouts(tracklet, at_end=at_end) for tracklet in tracklets for at_end in (True, False)]
    places = np.array([end.feet / end.height for end in ends]).reshape(-1, 2)
    deviations = np.maximum(places.std(axis=0), 1.0) if len(places) else np.ones(2)
    return PlaceScale(tuple(gaps), tuple(spreads), float(4 * math.pi * deviations.prod()))


def _strays(times: DoubleArray, feet: DoubleArray, gap: float) -> list[float]:
    """How far a person is from where the motion leads over a gap, at several places of a tracklet."""
    strays = []
    step = max(1, len(times) // _SAMPLES_OF_TRACKLET)
    for here in range(_LEAST_BOXES, len(times) - _LEAST_BOXES, step):
        there = int(np.searchsorted(times, times[here] + gap))
        if there >= len(times) - _LEAST_BOXES:
            break
        since = int(np.searchsorted(times, times[here] - SPAN_S))
        until = int(np.searchsorted(times, times[there] + SPAN_S, side="right"))
        before = _velocity(times[since : here + 1], feet[since : here + 1])
        after = _velocity(times[there:until], feet[there:until])
        way = (before + after) / 2 * KEEPS_ON_S * (1 - math.exp(-(times[there] - times[here]) / KEEPS_ON_S))
        strays.append(float(np.linalg.norm(feet[there] - feet[here] - way)))
    return strays


def _velocity(times: DoubleArray, feet: DoubleArray) -> DoubleArray:
    """(2,) slope of a straight line through the places."""
    if len(times) < _LEAST_BOXES or times[-1] - times[0] < _LEAST_TIME_S:
        return np.zeros(2)
    since = times - times.mean()
    slope: DoubleArray = since @ (feet - feet.mean(axis=0)) / (since @ since)
    return slope
