"""A calibration from tracks, without labels: crops of one track are one person, boxes of one frame are different ones.

Tracks show people within one camera, and for seconds or minutes. Whether two crops
of two cameras, or of two days, show one person, they cannot say. Where people
were linked across cameras (`omnireid link`), pairs of one linked person in two
cameras give a curve for two cameras; it is as right as the links.

Shapes: C embedded crops, P pairs of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from omnireid.errors import CalibrationError
from omnireid.evaluation.curves import LabelledDistances, fit_curve
from omnireid.evaluation.options import CalibrationOptions
from omnireid.evaluation.pair_scores import PairScores, score_pairs
from omnireid.evaluation.pairs import PairKind
from omnireid.evaluation.verification import GAPS_S, SAME_PER_PERSON, Verification, are_enough
from omnireid.retrieval.calibration import Calibration, CalibrationCurve
from omnireid.retrieval.distance import pair_distances
from omnireid.tracking.track_table import TrackTable
from omnireid.tracking.tracklets import Tracklet
from omnireid.types import BoolArray, DoubleArray, FloatArray, IntArray
from omnireid.version import __version__

DIFFERENT_PER_PAIR = 16
"""Most pairs of crops of two tracks that were seen in one frame, so that long meetings do not outweigh short ones."""

DIFFERENT_ACROSS = 50_000
"""Most pairs of two people in two cameras."""


@dataclass(frozen=True, eq=False)
class TrackPairs:
    """P pairs of crops about which tracks say whether they show one person.

    Attributes:
        first: (P,) row of one crop.
        second: (P,) row of the other.
        is_same: (P,) whether both show one person.
        same_camera: (P,) whether one camera took both.
    """

    first: IntArray
    second: IntArray
    is_same: BoolArray
    same_camera: BoolArray


@dataclass(frozen=True, eq=False)
class TrackCrops:
    """C embedded crops of a table of tracks.

    Attributes:
        embeddings: (C, D) embeddings.
        people: (C,) person of each, where people were linked across cameras, or else its track; numbered from 0.
        tracks: (C,) track of each, numbered from 0.
        cameras: (C,) camera of each, numbered from 0.
        seconds: (C,) time since the start of the camera's recording.
    """

    embeddings: FloatArray
    people: IntArray
    tracks: IntArray
    cameras: IntArray
    seconds: DoubleArray


def calibrate_tracks(
    table: TrackTable,
    options: CalibrationOptions = CalibrationOptions(),
    *,
    data: str = "tracks",
    seed: int = 0,
) -> Verification:
    """Fit a calibration on some of the tracks, and measure it on the others. No label is used.

    The people of the result are tracks, or linked people. Its figures say how well the curves fit what tracks know,
    so they say nothing about crops that lie further apart in time or place than these.

    Args:
        table: Tracks of one camera or several. People in it are taken for one person in several cameras only where
            they were linked, so that one number stands for one person.
        options: How it is fitted. `frame_rate` is not used: tracks have times.
        data: What the tracks are from, in words, for the record.
        seed: Seed for the draws.

    Raises:
        CalibrationError: There are too few pairs.
        MissingDependencyError: ``scipy`` is not installed.
    """
    crops = collect_crops(table)
    distance = options.distance or "cosine"
    count = int(crops.people.max()) + 1
    held_out = np.random.default_rng(seed).permutation(count) < round(options.hold_out * count)
    kinds, curves, scores = _fit_kinds(table, crops, held_out, replace(options, distance=distance), seed)
    if not scores:
        raise CalibrationError("The tracks that are held out give no pairs to measure on. Give more tracks.")
    figures = {"tracks": float(held_out.sum()), "expected_calibration_error": scores[0].calibration_error.value}
    calibration = Calibration(
        weights_sha256=table.weights_sha256 or "",
        model="unknown",
        preprocessing=table.preprocessing,
        distance=distance,
        curves=tuple(curves),
        prior=options.prior,
        costs=options.costs,
        data=f"{data}, without labels",
        held_out=figures,
        omnireid_version=__version__,
    )
    return Verification(
        calibration=calibration,
        scores=tuple(scores),
        open_set=(),
        people_fitted=int((~held_out).sum()),
        people_held_out=int(held_out.sum()),
        crops=len(crops.people),
        notes=_notes(kinds, curves),
    )


def _fit_kinds(
    table: TrackTable, crops: TrackCrops, held_out: BoolArray, options: CalibrationOptions, seed: int
) -> tuple[list[PairKind], list[CalibrationCurve], list[PairScores]]:
    """The kinds of pairs, a curve for each that has enough of them, and its figures on the people held out."""
    pairs = draw_track_pairs(table, crops, seed=seed)
    assert options.distance is not None
    distances = pair_distances(crops.embeddings, pairs.first, pairs.second, options.distance).astype(np.float64)
    gaps = np.abs(crops.seconds[pairs.first] - crops.seconds[pairs.second])
    labelled = LabelledDistances(distances, pairs.is_same, crops.people[pairs.first], crops.people[pairs.second])
    is_out = held_out[labelled.first_person], held_out[labelled.second_person]
    kinds = list(_kinds(bool((~pairs.same_camera).any())))
    curves, scores = list[CalibrationCurve](), list[PairScores]()
    for number, kind in enumerate(kinds):
        chosen = _of_kind(kind, pairs.same_camera, gaps)
        part = labelled.select(chosen & ~is_out[0] & ~is_out[1])
        if number == 0 or are_enough(part):
            curves.append(fit_curve(part, kind, seed=seed))
            measured = labelled.select(chosen & is_out[0] & is_out[1])
            scores += _scores(measured, curves[-1], options.prior, seed)
    return kinds, curves, scores


def collect_crops(table: TrackTable) -> TrackCrops:
    """The embedded crops of all tracks.

    Raises:
        CalibrationError: No crop was embedded.
    """
    known = [one for one in table.tracklets if len(one.embedded)]
    if not known:
        raise CalibrationError("No crop of these tracks was embedded, so there is nothing to calibrate with.")
    counts = [len(one.embedded) for one in known]
    owners = _owners(table, known)
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    names = {camera: number for number, camera in enumerate(dict.fromkeys(one.camera for one in known))}
    return TrackCrops(
        np.concatenate([one.embeddings for one in known]),
        np.repeat([numbers[owner] for owner in owners], counts),
        np.repeat(np.arange(len(known)), counts),
        np.repeat([names[one.camera] for one in known], counts),
        np.concatenate([one.times[one.embedded] for one in known]),
    )


def draw_track_pairs(table: TrackTable, crops: TrackCrops, *, seed: int = 0) -> TrackPairs:
    """Draw pairs of crops about which tracks know the answer.

    Args:
        table: The tracks.
        crops: Their embedded crops.
        seed: Seed for the draw.
    """
    rng = np.random.default_rng(seed)
    known = [one for one in table.tracklets if len(one.embedded)]
    starts = np.searchsorted(crops.tracks, np.arange(len(known) + 1))
    parts = [np.empty((0, 4), np.int64)]
    for track in range(len(known)):
        first, second = np.triu_indices(int(starts[track + 1] - starts[track]), 1)
        parts.append(_sample(first + starts[track], second + starts[track], SAME_PER_PERSON, (1, 1), rng))
    for one, other in combinations(range(len(known)), 2):
        if _in_one_frame(known[one], known[other]):
            first, second = (
                grid.ravel() for grid in np.meshgrid(*(np.arange(*starts[track : track + 2]) for track in (one, other)))
            )
            parts.append(_sample(first, second, DIFFERENT_PER_PAIR, (0, 1), rng))
    parts += _across_cameras(crops, rng)
    rows = np.concatenate(parts)
    return TrackPairs(rows[:, 0], rows[:, 1], rows[:, 2] == 1, rows[:, 3] == 1)


def _across_cameras(crops: TrackCrops, rng: np.random.Generator) -> Iterator[IntArray]:
    """Pairs of one linked person, and of two, in two cameras; none where nobody was linked across cameras."""
    found = 0
    order = np.argsort(crops.people, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(crops.people[order])) + 1):
        first, second = (own[side] for side in np.triu_indices(len(own), 1))
        apart = crops.cameras[first] != crops.cameras[second]
        found += int(apart.sum())
        yield _sample(first[apart], second[apart], SAME_PER_PERSON, (1, 0), rng)
    if found:
        first, second = rng.integers(len(crops.people), size=(2, DIFFERENT_ACROSS))
        kept = (crops.cameras[first] != crops.cameras[second]) & (crops.people[first] != crops.people[second])
        yield _sample(first[kept], second[kept], DIFFERENT_ACROSS, (0, 0), rng)


def _owners(table: TrackTable, known: list[Tracklet]) -> list[tuple[object, ...]]:
    """Who each track shows: a person over all cameras, where one person is in several cameras, or else the track."""
    cameras: dict[int, set[str]] = {}
    for (camera, _), person in table.people.items():
        cameras.setdefault(person, set()).add(camera)
    linked = any(len(seen) > 1 for seen in cameras.values())
    owners: list[tuple[object, ...]] = []
    for one in known:
        owner = table.people.get((one.camera, one.number)) if linked else None
        owners.append(("track", one.camera, one.number) if owner is None else ("person", owner))
    return owners


def _sample(
    first: IntArray, second: IntArray, most: int, answer: tuple[int, int], rng: np.random.Generator
) -> IntArray:
    """(P, 4) first, second, whether they are one person, and whether one camera took both."""
    if len(first) > most:
        chosen = rng.choice(len(first), most, replace=False)
        first, second = first[chosen], second[chosen]
    return np.column_stack([first, second, np.full(len(first), answer[0]), np.full(len(first), answer[1])])


def _in_one_frame(one: Tracklet, other: Tracklet) -> bool:
    if one.camera != other.camera or one.end < other.start or other.end < one.start:
        return False
    return bool(np.intersect1d(one.frames, other.frames, assume_unique=True).size)


def _kinds(across: bool) -> Iterator[PairKind]:
    """Kinds of pairs that tracks can say something about: crops of one camera by time, and of two cameras."""
    yield PairKind("any")
    yield PairKind("same-camera")
    for least, below in zip((0.0, *GAPS_S), (*GAPS_S, None), strict=True):
        yield PairKind("same-camera", least, below)
    if across:
        yield PairKind("other-cameras")


def _of_kind(kind: PairKind, same_camera: BoolArray, gaps: DoubleArray) -> BoolArray:
    chosen: BoolArray = np.ones(len(gaps), dtype=bool)
    if kind.relation != "any":
        chosen &= same_camera == (kind.relation == "same-camera")
    if kind.least_gap_s is not None:
        chosen &= (gaps >= kind.least_gap_s) & (gaps < (kind.gap_below_s or np.inf))
    return chosen


def _scores(pairs: LabelledDistances, curve: CalibrationCurve, prior: float, seed: int) -> list[PairScores]:
    if not 0 < pairs.same_count < len(pairs):
        return []
    return [score_pairs(pairs, curve, prior, seed=seed)]


def _notes(kinds: list[PairKind], curves: list[CalibrationCurve]) -> tuple[str, ...]:
    notes = ["People are tracks here, told apart without labels, and the figures are of what tracks know."]
    if not any(curve.relation == "other-cameras" for curve in curves):
        notes.append(
            "Nothing is known of pairs from two cameras, where one person looks less alike: their probabilities come "
            "out too low. Link the tracks first (omnireid link), and calibrate from the table of people."
        )
    if len(kinds) > len(curves):
        notes.append(f"{len(kinds) - len(curves)} kinds of pairs have too few pairs for a curve of their own.")
    return tuple(notes)
