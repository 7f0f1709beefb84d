"""Signs that the clocks of cameras disagree, so that travel times between them cannot be right.

Shapes: N people seen by one camera each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from omnireid.tracking.stays import LONGEST_MEETING_S, StayTimes
from omnireid.tracking.track_table import TrackTable
from omnireid.tracking.travel_times import TravelTimes
from omnireid.types import BoolArray, DoubleArray, IntArray

LEAST_PAIRS = 4
"""Pairs that look like one person, in two cameras, before anything is concluded from their times."""

LARGE_S = 60.0
"""Seconds by which clocks have to disagree before it is said."""

_IMPOSSIBLE_SHARE = 0.2


def check_clocks(
    times: StayTimes,
    cameras: IntArray,
    names: Sequence[str],
    alike: BoolArray,
    offsets: Mapping[str, float],
    table: TrackTable,
    stated: TravelTimes | None,
) -> tuple[str, ...]:
    """What does not fit the clocks of the cameras, in sentences for the user.

    Args:
        times: When people were seen.
        cameras: (N,) numbers of the cameras.
        names: Names of the cameras by number.
        alike: (N, N) which pairs look like one person beyond doubt.
        offsets: Seconds from a common moment to the start of each recording, for cameras whose clock is known.
        table: The tracklets, for the span of each recording.
        stated: Travel times that the user stated; None where they are learned.
    """
    notes = []
    unknown = [name for name in names if name not in offsets]
    if len(names) > 1 and unknown:
        notes.append(
            f"The clock of {', '.join(unknown)} is not known, so times say nothing about people seen there and by "
            "other cameras. State when the recording started (omnireid track --started TIME)."
        )
    spans = _spans(table, offsets)
    for first, second in combinations(range(len(names)), 2):
        pair = names[first], names[second]
        if not all(name in offsets for name in pair):
            continue
        grid = np.ix_(cameras == first, cameras == second)
        both, gaps, meetings = alike[grid], times.gaps[grid], times.overlaps[grid]
        found = (
            _apart_entirely(pair, spans, int(both.sum()))
            or _impossible(pair, meetings[both])
            or _one_way(pair, gaps[both])
        )
        found = found or (_unlike_stated(pair, gaps[both], stated) if stated is not None else None)
        if found is not None:
            notes.append(found)
    return tuple(notes)


def _spans(table: TrackTable, offsets: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """First and last moment with a person, for cameras whose clock is known."""
    spans: dict[str, tuple[float, float]] = {}
    for tracklet in table.tracklets:
        if tracklet.camera in offsets:
            begin, end = (offsets[tracklet.camera] + at for at in (tracklet.start, tracklet.end))
            low, high = spans.get(tracklet.camera, (begin, end))
            spans[tracklet.camera] = min(low, begin), max(high, end)
    return spans


def _apart_entirely(pair: tuple[str, str], spans: Mapping[str, tuple[float, float]], alike: int) -> str | None:
    if not all(name in spans for name in pair):
        return None
    first, second = (spans[name] for name in pair)
    pause = max(first[0], second[0]) - min(first[1], second[1])
    if pause < (0 if alike >= LEAST_PAIRS else LARGE_S):
        return None
    return (
        f"{pair[0]} and {pair[1]} have no moment in common: {pause:,.0f} s lie between what they saw. If they were "
        "recorded together, a clock is off, and the travel times between them cannot be right."
    )


def _impossible(pair: tuple[str, str], meetings: DoubleArray) -> str | None:
    at_once = int(np.count_nonzero(meetings > LONGEST_MEETING_S))
    if len(meetings) < LEAST_PAIRS or at_once < max(2, _IMPOSSIBLE_SHARE * len(meetings)):
        return None
    return (
        f"{at_once} of {len(meetings)} pairs that look like one person are in {pair[0]} and {pair[1]} at one time. "
        f"Either their views overlap (then say overlap {pair[0]}:{pair[1]}, --overlap), or their clocks disagree, and "
        "the travel times between them cannot be right."
    )


def _one_way(pair: tuple[str, str], gaps: DoubleArray) -> str | None:
    if len(gaps) < LEAST_PAIRS:
        return None
    low, middle, high = np.quantile(gaps, (0.1, 0.5, 0.9))
    if abs(middle) < LARGE_S or np.sign(low) != np.sign(high) or high - low > abs(middle):
        return None
    first, second = pair if middle > 0 else pair[::-1]
    shortest, longest = sorted((abs(float(low)), abs(float(high))))
    return (
        f"Whoever looks like one person in {first} and {second} comes to {second} {shortest:,.0f} to {longest:,.0f} s "
        "later, and never the other way. Unless everybody walks so, a clock is off by minutes, and the travel times "
        "between them cannot be right."
    )


def _unlike_stated(pair: tuple[str, str], gaps: DoubleArray, stated: TravelTimes) -> str | None:
    bars = [bar for bar in stated.times if {bar.start, bar.end} == set(pair)]
    if not bars or len(gaps) < LEAST_PAIRS:
        return None
    longest = max(bar.most_s for bar in bars)
    beyond = int(np.count_nonzero(np.abs(gaps) > longest + LARGE_S))
    if beyond <= len(gaps) / 2:
        return None
    return (
        f"{beyond} of {len(gaps)} pairs that look like one person take more than {longest + LARGE_S:,.0f} s between "
        f"{pair[0]} and {pair[1]}, but at most {longest:,.0f} s were stated. A clock is off by minutes, or the stated "
        "travel times are not right."
    )
