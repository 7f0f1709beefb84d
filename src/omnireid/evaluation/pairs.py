"""Pairs of crops of one person and of two, drawn at random in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omnireid.data.capture_times import CaptureTimes
from omnireid.retrieval.calibration import Relation
from omnireid.types import BoolArray, DoubleArray, IntArray

_LARGEST_PERSON = 300  # crops of one person whose pairs are all listed; of more crops, so many are drawn
_ROUNDS = 40  # draws of partners, of which those that make no pair of the kind are thrown away


@dataclass(frozen=True)
class PairKind:
    """Which pairs are meant.

    Attributes:
        relation: From one camera, from two, or any.
        least_gap_s: Smallest time between both crops, in seconds; None where time does not matter.
        gap_below_s: The time is shorter than this; None for no limit.
    """

    relation: Relation
    least_gap_s: float | None = None
    gap_below_s: float | None = None


@dataclass(frozen=True, eq=False)
class KnownCrops:
    """Crops of known people.

    Attributes:
        person_ids: (N,) who is on each crop.
        camera_ids: (N,) cameras; None where they are not known.
        times: When they were taken; None where that is not known.
    """

    person_ids: IntArray
    camera_ids: IntArray | None
    times: CaptureTimes | None

    def __len__(self) -> int:
        return len(self.person_ids)

    def select(self, rows: IntArray | BoolArray) -> KnownCrops:
        """The crops at `rows`, in that order."""
        times = self.times
        return KnownCrops(
            self.person_ids[rows],
            None if self.camera_ids is None else self.camera_ids[rows],
            None if times is None else CaptureTimes(times.clocks[rows], times.seconds[rows]),
        )

    def kinds(self, gaps_s: tuple[float, ...]) -> Iterator[PairKind]:
        """All kinds of pairs that can be told apart here; first any pair.

        Args:
            gaps_s: Limits between shorter and longer times, in seconds, ascending.
        """
        yield PairKind("any")
        relations: tuple[Relation, ...] = ("same-camera", "other-cameras")
        if self.camera_ids is None or len(np.unique(self.camera_ids)) < 2:
            relations = ("any",)
        else:
            for relation in relations:
                yield PairKind(relation)
        if self.times is not None:
            for relation in relations:
                for least, below in zip((0.0, *gaps_s), (*gaps_s, None), strict=True):
                    yield PairKind(relation, least, below)

    def matches(self, kind: PairKind, first: IntArray, second: IntArray) -> BoolArray:
        """Whether the pairs of crops `first` and `second` are of this kind."""
        matching: BoolArray = first != second
        if kind.relation != "any":
            assert self.camera_ids is not None
            is_one_camera = self.camera_ids[first] == self.camera_ids[second]
            matching &= is_one_camera == (kind.relation == "same-camera")
        if kind.least_gap_s is not None:
            assert self.times is not None
            gaps = self.times.gaps(first, second)
            matching &= (gaps >= kind.least_gap_s) & (gaps < _or_infinite(kind.gap_below_s))
        return matching


@dataclass(frozen=True, eq=False)
class CropPairs:
    """N pairs of crops, those of one person first.

    Attributes:
        first: (N,) row of one crop.
        second: (N,) row of the other.
        is_same: (N,) whether both show one person.
    """

    first: IntArray
    second: IntArray
    is_same: BoolArray

    def __len__(self) -> int:
        return len(self.first)


def draw_pairs(crops: KnownCrops, kind: PairKind, *, same_per_person: int, different: int, seed: int) -> CropPairs:
    """Draw pairs of one kind.

    Every person gives at most `same_per_person` pairs of themselves, so that people
    with many crops do not outweigh the others. Of the pairs of two people, every
    crop is the first one equally often; drawing is with replacement.

    Args:
        crops: The crops.
        kind: Which pairs to draw.
        same_per_person: Largest number of pairs of one person.
        different: Number of pairs of two people; fewer where the crops hardly have any.
        seed: Seed for the draw.
    """
    rng = np.random.default_rng(seed)
    same = list(_same_pairs(crops, kind, same_per_person, rng))
    others = _different_pairs(crops, kind, different, rng)
    first = np.concatenate([*(pairs[0] for pairs in same), others[0]])
    second = np.concatenate([*(pairs[1] for pairs in same), others[1]])
    is_same = np.arange(len(first)) < len(first) - len(others[0])
    return CropPairs(first, second, is_same)


def _same_pairs(
    crops: KnownCrops, kind: PairKind, per_person: int, rng: np.random.Generator
) -> Iterator[tuple[IntArray, IntArray]]:
    order = np.argsort(crops.person_ids, kind="stable")
    starts = np.flatnonzero(np.diff(crops.person_ids[order], prepend=crops.person_ids.min(initial=0) - 1))
    for own in np.split(order, starts[1:]):
        rows = rng.choice(own, _LARGEST_PERSON, replace=False) if len(own) > _LARGEST_PERSON else own
        upper, lower = np.triu_indices(len(rows), 1)
        first, second = rows[upper], rows[lower]
        fitting = np.flatnonzero(crops.matches(kind, first, second))
        if len(fitting) > per_person:
            fitting = rng.choice(fitting, per_person, replace=False)
        yield first[fitting], second[fitting]


def _different_pairs(
    crops: KnownCrops, kind: PairKind, count: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    order, begins, ends = _partners(crops, kind)
    widths = ends - begins
    anchors = np.flatnonzero(widths > 0)
    first, second = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    missing = count
    for _ in range(_ROUNDS if len(anchors) else 0):
        drawn = rng.choice(anchors, missing)
        partners = begins[drawn] + (rng.random(missing) * widths[drawn]).astype(np.int64)
        one, other = order[drawn], order[partners]
        kept = crops.matches(kind, one, other) & (crops.person_ids[one] != crops.person_ids[other])
        first.append(one[kept])
        second.append(other[kept])
        missing -= int(kept.sum())
        if not missing:
            break
    return np.concatenate(first), np.concatenate(second)


def _partners(crops: KnownCrops, kind: PairKind) -> tuple[IntArray, IntArray, IntArray]:
    """The crops in an order in which the partners of each lie side by side.

    Returns:
        (N,) rows in that order; and for each place of it where its partners begin and end. Where time matters, the
        partners are the later crops, so that each pair can be drawn in one way only.
    """
    count = len(crops)
    groups = np.zeros(count, dtype=np.int64)
    if kind.relation == "same-camera":
        assert crops.camera_ids is not None
        groups = np.unique(crops.camera_ids, return_inverse=True)[1]
    if kind.least_gap_s is None:
        order = np.argsort(groups, kind="stable")
        sorted_groups = groups[order]
        return (
            order,
            np.searchsorted(sorted_groups, sorted_groups),
            np.searchsorted(sorted_groups, sorted_groups, "right"),
        )
    assert crops.times is not None
    clocks = np.unique(crops.times.clocks, return_inverse=True)[1]
    groups = groups * (clocks.max(initial=0) + 1) + clocks
    seconds: DoubleArray = crops.times.seconds - crops.times.seconds.min(initial=0)
    spread = seconds.max(initial=0) + 1
    places = groups * 2 * spread + seconds  # groups lie further apart than any two times of one
    order = np.argsort(places, kind="stable")
    places = places[order]
    least, below = kind.least_gap_s, min(_or_infinite(kind.gap_below_s), spread)
    begins = np.maximum(np.searchsorted(places, places + least), np.arange(count) + 1)
    return order, begins, np.maximum(np.searchsorted(places, places + below), begins)


def _or_infinite(limit: float | None) -> float:
    return math.inf if limit is None else limit
