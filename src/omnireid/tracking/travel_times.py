"""How long people take from one camera to another, and how much that speaks for one person.

The time between two cameras is the time from leaving the view of one to coming
into the view of the other, and 0 where both see a person at once. For each pair of
cameras there is a histogram of it: learned from pairs that look alike beyond
doubt, or stated by the user. What counts is how much more often people are
that long on the way than two strangers are that far apart.

Source: the idea of a histogram for each pair of cameras is that of Wang et al., "Spatial-Temporal Person
Re-identification", AAAI 2019, which learns it from labels.

Shapes: N people seen by one camera each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.errors import DataNotFoundError, SettingError, TrackingError
from omnireid.files import write_json
from omnireid.retrieval.decision import is_number
from omnireid.types import BoolArray, DoubleArray, IntArray

EDGES_S = (0.0, 2.0, 4.0, 7.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 86400.0)
"""Seconds between which learned travel times are counted."""

STATED_WEIGHT = 400.0
"""Pairs that a stated travel time counts as, against the 20 of the doubt that `_DOUBT` is."""

_DOUBT = 20.0
"""Pairs that are imagined to be spread like strangers, so that few pairs prove little and nothing is excluded."""

_GLOBAL_PAIRS = 10.0  # of strangers in all cameras, added to those of one pair of cameras


@dataclass(frozen=True)
class TravelTime:
    """One bar of a histogram.

    Attributes:
        start: Name of the camera that is left.
        end: Name of the camera that is reached.
        least_s: Shortest time in seconds. With `most_s` also 0 it stands for being seen by both at once.
        most_s: Longest time in seconds, excluded.
        weight: Number of pairs of one person that were found to take this time.

    Raises:
        SettingError: The cameras are one, a time is negative or not a number, or the weight is not positive.
    """

    start: str
    end: str
    least_s: float
    most_s: float
    weight: float = STATED_WEIGHT

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise SettingError(f"A travel time leads from one camera to another; both are {self.start!r}.")
        if not (is_number(self.least_s) and is_number(self.most_s) and 0 <= self.least_s <= self.most_s):
            raise SettingError(
                f"A travel time from {self.start} to {self.end} needs seconds with 0 <= least_s <= most_s; got "
                f"{self.least_s!r} and {self.most_s!r}."
            )
        if not (is_number(self.weight) and self.weight > 0):
            raise SettingError(f"The weight of a travel time must be a positive number; got {self.weight!r}.")

    def covers(self, gaps: DoubleArray) -> BoolArray:
        """Which signed gaps in seconds it stands for; a gap is positive where `end` is reached after `start`."""
        if self.most_s == 0:
            at_once: BoolArray = gaps == 0
            return at_once
        inside: BoolArray = (gaps > 0) & (gaps >= self.least_s) & (gaps < self.most_s)
        return inside


@dataclass(frozen=True)
class TravelTimes:
    """Histograms for pairs of cameras.

    Attributes:
        times: The bars of all histograms. Pairs of cameras without any say nothing.
    """

    times: tuple[TravelTime, ...] = ()

    def log_ratios(self, gaps: DoubleArray, cameras: IntArray, names: Sequence[str]) -> DoubleArray:
        """(N, N) logarithms of how much more often one person than two people is that long on the way.

        Args:
            gaps: (N, N) signed seconds from row to column; 0 at once, NaN where it is not known.
            cameras: (N,) numbers of the cameras.
            names: Names of the cameras by number.
        """
        result = np.zeros_like(gaps)
        everywhere = gaps[(cameras[:, None] != cameras[None]) & np.isfinite(gaps)]
        for first, second in combinations(range(len(names)), 2):
            bars = [bar for bar in self.times if {bar.start, bar.end} == {names[first], names[second]}]
            grid = np.ix_(cameras == first, cameras == second)
            if bars and gaps[grid].size:
                ratios = _ratios_of_pair(bars, names[first], gaps[grid], everywhere)
                result[grid] = ratios
                result[grid[1].T, grid[0].T] = ratios.T
        return result

    def json(self) -> dict[str, Any]:
        """Plain values, as `read_travel_times` reads them."""
        renamed = [{"from": bar.start, "to": bar.end, **_without_cameras(bar)} for bar in self.times]
        return {"times": renamed}


def learn_travel_times(gaps: DoubleArray, same: BoolArray, cameras: IntArray, names: Sequence[str]) -> TravelTimes:
    """Count the times between cameras of pairs that are one person.

    Args:
        gaps: (N, N) signed seconds from row to column; 0 at once, NaN where it is not known.
        same: (N, N) whether two are one person beyond doubt, symmetric.
        cameras: (N,) numbers of the cameras.
        names: Names of the cameras by number.
    """
    bars = []
    for first in range(len(names)):
        for second in range(len(names)):
            grid = np.ix_(cameras == first, cameras == second)
            found = gaps[grid][same[grid]]
            if first == second or not found.size:
                continue
            at_once = int(np.count_nonzero(found == 0))
            if at_once and first < second:
                bars.append(TravelTime(names[first], names[second], 0.0, 0.0, float(at_once)))
            counts, _ = np.histogram(found[found > 0], EDGES_S)
            bars += [
                TravelTime(names[first], names[second], least, most, float(count))
                for (least, most), count in zip(pairwise(EDGES_S), counts.tolist(), strict=True)
                if count
            ]
    return TravelTimes(tuple(bars))


def write_travel_times(times: TravelTimes, path: Path) -> None:
    """Write travel times as JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    write_json(path, times.json())


def read_travel_times(path: Path) -> TravelTimes:
    """Read ``{"times": [{"from": "door", "to": "yard", "least_s": 5, "most_s": 40}]}``; ``weight`` may be left out.

    Raises:
        DataNotFoundError: There is no such file.
        TrackingError: It holds no travel times; the message says what is wrong.
    """
    wanted = 'Write {"times": [{"from": "door", "to": "yard", "least_s": 5, "most_s": 40}]}.'
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataNotFoundError(f"There is no file {path}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise TrackingError(f"{path} is no JSON file with travel times ({error}). {wanted}") from error
    if not isinstance(values, Mapping) or not isinstance(values.get("times"), list):
        raise TrackingError(f"{path} holds no travel times. {wanted}")
    bars = []
    for number, row in enumerate(values["times"], start=1):
        try:
            known = {"start": row["from"], "end": row["to"], "least_s": row["least_s"], "most_s": row["most_s"]}
            bars.append(TravelTime(**known, weight=row.get("weight", STATED_WEIGHT)))
        except (KeyError, TypeError, AttributeError) as error:
            raise TrackingError(f"Travel time {number} of {path} lacks a value ({error!r}). {wanted}") from error
        except SettingError as error:
            raise TrackingError(f"Travel time {number} of {path}: {error}") from error
    return TravelTimes(tuple(bars))


def _without_cameras(bar: TravelTime) -> dict[str, float]:
    return {name: value for name, value in asdict(bar).items() if name not in ("start", "end")}


def _ratios_of_pair(bars: Sequence[TravelTime], first: str, gaps: DoubleArray, everywhere: DoubleArray) -> DoubleArray:
    """Log ratios of one pair of cameras. Gaps that no bar covers are one more bar, which nobody was seen to take."""
    total = sum(bar.weight for bar in bars)
    trust = total / (total + _DOUBT)
    result = np.full(gaps.shape, math.log(1 - trust))
    for bar in bars:
        forward = bar.start == first
        covered = bar.covers(gaps if forward else -gaps)
        usual = bar.covers(everywhere).mean() if everywhere.size else 0.0
        known = np.isfinite(gaps).sum()
        strangers = (covered.sum() + _GLOBAL_PAIRS * usual) / (known + _GLOBAL_PAIRS)
        ratio = trust * (bar.weight / total) / max(float(strangers), 1e-9) + (1 - trust)
        result[covered] = math.log(ratio)
    result[~np.isfinite(gaps)] = 0.0
    return result
