"""People as single cameras saw them, and what times say about two of them being one.

A stay is everything that one camera's table shows of one person: the tracklets
that were linked within that camera, or a single one. Stays are what is linked
across cameras.

Shapes: N stays, T tracklets in all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from omnireid.tracking.appearance import mean_distance, unit_rows
from omnireid.tracking.seen_events import read_start
from omnireid.tracking.track_table import TrackTable
from omnireid.tracking.tracklets import Tracklet
from omnireid.types import BoolArray, DoubleArray, IntArray

LONGEST_MEETING_S = 0.5
"""Seconds for which cameras may show one person at once although their views do not overlap: clocks differ a bit."""


@dataclass(frozen=True)
class Stay:
    """The tracklets of one person in one camera.

    Attributes:
        tracklets: The tracklets in the order of time.
        person: Number of the person over all cameras, if that was decided before.
    """

    tracklets: tuple[Tracklet, ...]
    person: int | None = None

    @property
    def camera(self) -> str:
        """Name of the camera."""
        return self.tracklets[0].camera

    @property
    def keys(self) -> tuple[tuple[str, int], ...]:
        """Camera and number of each tracklet."""
        return tuple((one.camera, one.number) for one in self.tracklets)

    @property
    def has_crops(self) -> bool:
        """Whether a crop of it was embedded."""
        return any(len(one.embedded) for one in self.tracklets)

    def unit_rows(self) -> DoubleArray:
        """Embeddings of all its crops, each of length 1."""
        return np.concatenate([unit_rows(one.embeddings) for one in self.tracklets if len(one.embedded)])

    def distance_within(self) -> float | None:
        """Mean cosine distance between the earlier and the later half of its crops; None for a single crop."""
        rows = self.unit_rows()
        half = len(rows) // 2
        return mean_distance(rows[:half], rows[half:]) if half else None


@dataclass(frozen=True, eq=False)
class StayTimes:
    """When N stays were, pair by pair.

    Attributes:
        gaps: (N, N) seconds from the end of the row's stay to the beginning of the column's; negative where the
            column's came first, 0 where they overlap, NaN where two clocks cannot be compared. Of stays with several
            tracklets, the shortest gap.
        overlaps: (N, N) seconds for which both were seen at once.
    """

    gaps: DoubleArray
    overlaps: DoubleArray


def collect_stays(table: TrackTable, *, decided: bool) -> tuple[Stay, ...]:
    """The stays of a table, by their first box.

    Args:
        table: Tracklets, and who they show in their own camera.
        decided: Whether the people of the table are people over all cameras. Their numbers are then kept.
    """
    members: dict[tuple[str, int | str], list[Tracklet]] = {}
    for tracklet in sorted(table.tracklets, key=lambda one: (one.start, one.number)):
        key = (tracklet.camera, tracklet.number)
        members.setdefault((tracklet.camera, table.people.get(key, f"alone {tracklet.number}")), []).append(tracklet)
    return tuple(
        Stay(tuple(own), person if decided and isinstance(person, int) else None)
        for (_, person), own in members.items()
    )


def number_cameras(stays: Sequence[Stay]) -> tuple[IntArray, tuple[str, ...]]:
    """The number of each stay's camera, and the names by number."""
    names = tuple(sorted({stay.camera for stay in stays}))
    place = {name: number for number, name in enumerate(names)}
    return np.array([place[stay.camera] for stay in stays], dtype=np.int64), names


def mean_distances(stays: Sequence[Stay]) -> DoubleArray:
    """(N, N) mean cosine distances between the crops of stays that all have crops."""
    rows = np.stack([stay.unit_rows().mean(axis=0) for stay in stays])
    distances: DoubleArray = 1 - rows @ rows.T
    return distances


def clock_offsets(table: TrackTable) -> dict[str, float]:
    """Seconds from a common moment to the start of each camera's recording, for the cameras whose clock is known."""
    starts = {camera: read_start(recording) for camera, recording in table.recordings.items()}
    known = {camera: start.timestamp() for camera, start in starts.items() if start is not None}
    first = min(known.values(), default=0.0)
    return {camera: start - first for camera, start in known.items()}


def compare_times(stays: Sequence[Stay], offsets: dict[str, float]) -> StayTimes:
    """Compare the times of all stays."""
    count = len(stays)
    tracklets = [(row, one) for row, stay in enumerate(stays) for one in stay.tracklets]
    owners = np.array([row for row, _ in tracklets], dtype=np.int64)
    begins = np.array([one.start + offsets.get(one.camera, 0.0) for _, one in tracklets])
    ends = np.array([one.end + offsets.get(one.camera, 0.0) for _, one in tracklets])
    starts = np.searchsorted(owners, np.arange(count))

    def reduce(operation: np.ufunc, values: DoubleArray) -> DoubleArray:
        found: DoubleArray = operation.reduceat(operation.reduceat(values, starts, axis=0), starts, axis=1)
        return found

    until = begins[None, :] - ends[:, None]
    forward = reduce(np.minimum, np.where(until > 0, until, np.inf))
    common = np.minimum(ends[:, None], ends[None]) - np.maximum(begins[:, None], begins[None])
    overlaps = reduce(np.maximum, np.maximum(common, 0))
    meets = reduce(np.maximum, (common >= 0).astype(np.float64)) > 0
    gaps = np.where(forward <= forward.T, forward, -forward.T)
    gaps[meets] = 0.0
    cameras, names = number_cameras(stays)
    known = np.array([name in offsets for name in names], dtype=bool)[cameras] if count else np.zeros(0, dtype=bool)
    comparable = (cameras[:, None] == cameras[None]) | (known[:, None] & known[None])
    return StayTimes(np.where(comparable, gaps, np.nan), np.where(comparable, overlaps, 0.0))


def stays_apart(
    cameras: IntArray, names: Sequence[str], times: StayTimes, overlapping: Collection[frozenset[str]]
) -> BoolArray:
    """(N, N) which stays cannot be one person, because they are at two places at one time.

    Args:
        cameras: (N,) numbers of the cameras.
        names: Names of the cameras by number.
        times: When the stays were.
        overlapping: Pairs of cameras whose views overlap, so that one person can be in both.
    """
    same_camera = cameras[:, None] == cameras[None]
    apart: BoolArray = np.where(same_camera, times.overlaps > 0, times.overlaps > LONGEST_MEETING_S)
    numbers = {name: number for number, name in enumerate(names)}
    for pair in overlapping:
        first, second = (numbers.get(name, -1) for name in sorted(pair))
        for one, other in ((first, second), (second, first)):
            apart[np.ix_(cameras == one, cameras == other)] = False
    np.fill_diagonal(apart, False)
    return apart
