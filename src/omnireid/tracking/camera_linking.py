"""One identity over cameras: the stays of people in single cameras become people over all of them.

Two stays are compared by looks (`camera_appearance`, or a calibration with labels)
and by the time from one camera to the other (`travel_times`). Stays at two places at
one time stay apart. Groups are then merged as long as the mean log odds over their pairs
speak for one person (`agglomeration`). People who were decided before keep their
numbers and are never merged with each other.

Shapes: N stays with crops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from omnireid.errors import TrackingError
from omnireid.retrieval.calibration import Calibration
from omnireid.tracking.agglomeration import group_members
from omnireid.tracking.appearance import AppearanceScale, learn_appearance
from omnireid.tracking.camera_appearance import NearestMixture, learn_mixture, normalise_distances
from omnireid.tracking.camera_clocks import check_clocks
from omnireid.tracking.camera_linking_options import CameraLinkingOptions
from omnireid.tracking.stays import (
    Stay,
    clock_offsets,
    collect_stays,
    compare_times,
    mean_distances,
    number_cameras,
    stays_apart,
)
from omnireid.tracking.track_table import TrackTable
from omnireid.tracking.travel_times import TravelTimes, learn_travel_times
from omnireid.types import BoolArray, DoubleArray, IntArray

SURE = 0.9
"""Probability by looks from which a pair is taken for one person when travel times are learned."""

_NEAR_SHARE = 0.2
"""Both halves of a stay must usually be nearer than this share of all pairs, or the embeddings tell nobody apart."""

_TIME_ROUNDS = 2
"""The first round learns travel times from pairs that looks alone put together, the second with their help."""


_FRAMES_APART = 2**40

_FEW = (
    "Too few people are seen by several cameras to learn how much the same person differs between them, so what was "
    "learned within each camera is used, and only those who look very much alike are linked."
)
_NOTHING = (
    "Nobody was linked across cameras: too few people are seen by several cameras to learn from, or these embeddings "
    "do not tell them apart. Give more footage, or a calibration (--calibration)."
)


@dataclass(frozen=True, eq=False)
class LinkedCameras:
    """People over all cameras.

    Attributes:
        table: All tracklets, each with its person.
        probabilities: (camera, number) of a tracklet to the probability that it shows its person.
        new_people: Number of people who were not there before.
        new_tracks: (camera, number) of the tracklets that were not there before.
        mixture: What was learned about looks; None where a calibration was given, or nothing could be learned.
        times: Travel times, learned or given.
        notes: What the user should know, in sentences.
    """

    table: TrackTable
    probabilities: Mapping[tuple[str, int], float]
    new_people: int
    new_tracks: frozenset[tuple[str, int]]
    mixture: NearestMixture | None
    times: TravelTimes
    notes: tuple[str, ...]


def link_cameras(
    table: TrackTable,
    options: CameraLinkingOptions = CameraLinkingOptions(),
    *,
    before: TrackTable | None = None,
    times: TravelTimes | None = None,
    calibration: Calibration | None = None,
) -> LinkedCameras:
    """Link the people of several cameras.

    Args:
        table: Tracklets of all cameras. People in it are people of their own camera: whom `omnireid.tracking.linking`
            linked within a camera stays one person.
        options: How people are linked.
        before: Tracklets with people over all cameras from an earlier call. They keep their people; the tracklets of
            `table` join them or found new ones. No tracklet may be in both.
        times: Travel times between cameras. By default they are learned.
        calibration: What a distance between crops is worth, learned from labels. By default it is learned from the
            tracklets themselves.

    Raises:
        TrackingError: `overlap` names a camera that is not there.
        CalibrationError: The calibration is for other weights.
    """
    before = before or TrackTable(())
    everything = _join(before, table)
    _check_overlap(options, everything)
    stays = (*collect_stays(before, decided=True), *collect_stays(table, decided=False))
    compared = [stay for stay in stays if stay.has_crops]
    offsets = clock_offsets(everything)
    cameras, names = number_cameras(compared)
    stay_times = compare_times(compared, offsets)
    apart = stays_apart(cameras, names, stay_times, options.overlapping)
    looks, mixture, notes = _compare_looks(compared, cameras, everything, calibration)
    starts = _start_groups(compared)
    threshold = math.log(options.probability / (1 - options.probability))
    known_times = times or TravelTimes()
    groups, log_odds = starts, looks
    for _ in range(_TIME_ROUNDS if times is None and options.learn_times else 1):
        log_odds = looks + known_times.log_ratios(stay_times.gaps, cameras, names)
        groups = group_members(log_odds, apart, starts, threshold)
        if times is None and options.learn_times:
            sure = _sure_pairs(looks, groups, apart)
            known_times = learn_travel_times(stay_times.gaps, sure, cameras, names)
    notes += check_clocks(stay_times, cameras, names, _alike_pairs(looks), offsets, everything, times)
    numbers = _number_people(stays, compared, groups)
    people = {key: number for stay, number in zip(stays, numbers, strict=True) for key in stay.keys}
    sureness = _probabilities(log_odds, groups, apart)
    probabilities = {key: float(sure) for stay, sure in zip(compared, sureness, strict=True) for key in stay.keys}
    new = len(set(numbers) - set(before.people.values()))
    fresh = frozenset((one.camera, one.number) for one in table.tracklets)
    joined = replace(everything, people=people)
    return LinkedCameras(joined, probabilities, new, fresh, mixture, known_times, notes)


def _join(before: TrackTable, table: TrackTable) -> TrackTable:
    """Both tables as one, without people."""
    made = table if table.weights_sha256 is not None else before
    return TrackTable(
        before.tracklets + table.tracklets,
        {},
        {**before.recordings, **table.recordings},
        made.weights_sha256,
        made.preprocessing,
    )


def _check_overlap(options: CameraLinkingOptions, table: TrackTable) -> None:
    known = {tracklet.camera for tracklet in table.tracklets} | set(table.recordings)
    missing = sorted({name for pair in options.overlapping for name in pair} - known)
    if missing and known:
        raise TrackingError(
            f"There is no camera {missing[0]} whose view could overlap. Known: {', '.join(sorted(known))}."
        )


def _compare_looks(
    stays: list[Stay], cameras: IntArray, table: TrackTable, calibration: Calibration | None
) -> tuple[DoubleArray, NearestMixture | None, tuple[str, ...]]:
    """(N, N) log odds by looks, what was learned, and what is to be said about it."""
    count = len(stays)
    if count < 2:
        return np.zeros((count, count)), None, ()
    distances = mean_distances(stays)
    if calibration is not None:
        calibration.check_weights(table.weights_sha256 or "", table.preprocessing, "cosine")
        same_camera = cameras[:, None] == cameras[None]
        ratios = calibration.log_likelihood_ratios(distances, same_camera=same_camera)
        return ratios - math.log(count), None, ()
    tells_apart = _tell_apart(stays, distances)
    normalised = normalise_distances(distances, cameras)
    mixture = learn_mixture(normalised, cameras) if tells_apart else None
    if mixture is not None:
        return mixture.log_odds(normalised), mixture, ()
    several = bool(cameras.any())  # people of a single camera need no note
    scale = _learn_within_cameras(stays) if tells_apart else None
    if scale is not None:
        ratios = scale.log_likelihood_ratios(distances) - math.log(count)
        return ratios, None, (_FEW,) if several else ()
    return np.full((count, count), -np.inf), None, (_NOTHING,) if several else ()


def _learn_within_cameras(stays: Sequence[Stay]) -> AppearanceScale | None:
    """What a distance is worth within single cameras, from the tracklets of all of them."""
    numbers, _ = number_cameras(stays)
    tracklets = [
        replace(one, frames=one.frames + camera * _FRAMES_APART)  # two cameras have no frame in common
        for stay, camera in zip(stays, numbers.tolist(), strict=True)
        for one in stay.tracklets
    ]
    return learn_appearance(tracklets)


def _tell_apart(stays: list[Stay], distances: DoubleArray) -> bool:
    """Whether both halves of a stay are nearer to each other than most people are, as far as stays have two halves."""
    halves = [within for stay in stays if (within := stay.distance_within()) is not None]
    others = distances[np.triu_indices(len(stays), 1)]
    return not halves or float(np.median(halves)) < float(np.quantile(others, _NEAR_SHARE))


def _start_groups(stays: list[Stay]) -> IntArray:
    """A group for each person who was decided before, and for each other stay."""
    found: dict[tuple[str, int], int] = {}
    keys = [("person", stay.person) if stay.person is not None else ("stay", row) for row, stay in enumerate(stays)]
    return np.array([found.setdefault(key, len(found)) for key in keys], dtype=np.int64)


def _alike_pairs(looks: DoubleArray) -> BoolArray:
    """(N, N) pairs that look like one person beyond doubt, whatever times say."""
    alike: BoolArray = looks >= math.log(SURE / (1 - SURE))
    np.fill_diagonal(alike, False)
    return alike


def _sure_pairs(looks: DoubleArray, groups: IntArray, apart: BoolArray) -> BoolArray:
    """(N, N) pairs of one group that look like one person beyond doubt."""
    sure: BoolArray = _alike_pairs(looks) & (groups[:, None] == groups[None]) & ~apart
    return sure


def _number_people(stays: tuple[Stay, ...], compared: list[Stay], groups: IntArray) -> list[int]:
    """A person for each stay: those who were there keep their numbers, new ones follow in the order of appearance."""
    decided = {int(group): stay.person for stay, group in zip(compared, groups, strict=True) if stay.person is not None}
    group_of = {stay.keys[0]: int(group) for stay, group in zip(compared, groups, strict=True)}
    free = 1 + max((stay.person for stay in stays if stay.person is not None), default=0)
    numbers = []
    for stay in stays:
        group = group_of.get(stay.keys[0])
        number = stay.person if stay.person is not None else None if group is None else decided.get(group)
        if number is None:
            number, free = free, free + 1
            if group is not None:
                decided[group] = number
        numbers.append(number)
    return numbers


def _probabilities(log_odds: DoubleArray, groups: IntArray, apart: BoolArray) -> DoubleArray:
    """(N,) probability that each stay shows its person.

    It follows from the mean log odds with the other stays of the person. A person with one stay is who they are where
    no other person is likely to be the same.
    """
    count = len(groups)
    members = np.eye(int(groups.max(initial=-1)) + 1)[groups]
    others = members.sum(axis=0) - members
    with np.errstate(invalid="ignore"):
        finite = np.where(np.isfinite(log_odds), log_odds, -50.0)
    np.fill_diagonal(finite, 0.0)
    means = (finite @ members) / np.maximum(others, 1)
    blocked = (apart.astype(np.float64) @ members) > 0
    rows = np.arange(count)
    own = means[rows, groups]
    rivals = np.where(blocked, -50.0, means)
    rivals[rows, groups] = -50.0
    best_rival = rivals.max(axis=1, initial=-50.0)
    alone = others[rows, groups] == 0
    odds = np.where(alone, -best_rival, own)
    probabilities: DoubleArray = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
    return probabilities
