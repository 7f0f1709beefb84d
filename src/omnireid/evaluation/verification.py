"""Verification: are two crops one person? Fits a calibration, and measures it on people it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from omnireid.data.capture_times import TIME_COLUMN, column_values, find_capture_times
from omnireid.data.numbering import number_together
from omnireid.embedding.tables import EmbeddingTable
from omnireid.errors import CalibrationError, LabelsError
from omnireid.evaluation.curves import LabelledDistances, adapt_calibration, fit_curve
from omnireid.evaluation.open_set import OpenSetError, measure_open_set
from omnireid.evaluation.options import CalibrationOptions
from omnireid.evaluation.pair_scores import PairScores, score_pairs
from omnireid.evaluation.pairs import KnownCrops, PairKind, draw_pairs
from omnireid.retrieval.calibration import Calibration
from omnireid.retrieval.distance import as_embeddings, pair_distances
from omnireid.terms import Distance
from omnireid.types import AnyArray, BoolArray, Crops, Dataset, IntArray, Labels
from omnireid.version import __version__

GAPS_S = (5.0, 60.0, 600.0)
SAME_PER_PERSON = 64
DIFFERENT_PAIRS = 200_000
TIMED_DIFFERENT_PAIRS = 50_000
DIFFERENT_PAIRS_PER_CROP = 100

_LEAST_PEOPLE = 30  # with pairs of one kind on either side, for a curve of their own
_LEAST_PAIRS = 100


@dataclass(frozen=True, eq=False)
class Verification:
    """A calibration, and how it does on people it was not fitted on.

    Attributes:
        calibration: The calibration.
        scores: Figures for each kind of pair, measured on the people held out; the first is for any pair.
        open_set: Search for people who may not be in the gallery.
        people_fitted: Number of people the curves were fitted on.
        people_held_out: Number of people the figures are of.
        crops: Number of crops of all these people.
        notes: What was left out, in sentences.
    """

    calibration: Calibration
    scores: tuple[PairScores, ...]
    open_set: tuple[OpenSetError, ...]
    people_fitted: int
    people_held_out: int
    crops: int
    notes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """Everything as plain values, ready for ``json.dumps``."""
        return {
            "calibration": self.calibration.json(),
            "people_fitted": self.people_fitted,
            "people_held_out": self.people_held_out,
            "crops": self.crops,
            "prior": self.calibration.prior,
            "scores": [one.json() for one in self.scores],
            "open_set": [one.json() for one in self.open_set],
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """The figures as text for a terminal."""
        from omnireid.evaluation.verification_text import describe_verification

        return describe_verification(self)


def people_to_calibrate(dataset: Dataset) -> Crops:
    """The crops of query and gallery that show people who are searched for.

    Distractors are nobody, and the training people look more alike to weights that
    have learned them than others will; both are left out.

    Raises:
        LabelsError: query and gallery have no person in common.
    """
    return _join_people(dataset.query, dataset.gallery, dataset.query.labels, dataset.gallery.labels)[0]


def join_people(query: EmbeddingTable, gallery: EmbeddingTable) -> EmbeddingTable:
    """The rows of two tables that show people who are searched for, as `people_to_calibrate` chooses them.

    Raises:
        EmbeddingError: the tables were made by different weights.
        LabelsError: a table has no person ids, or they have no person in common.
    """
    query.check_comparable(gallery)
    labels = number_together(query.crops, gallery.crops)
    crops, kept = _join_people(query.crops, gallery.crops, *labels)
    return EmbeddingTable(crops, np.concatenate([query.embeddings, gallery.embeddings[kept]]), query.provenance)


def _join_people(query: Crops, gallery: Crops, asked: Labels, there: Labels) -> tuple[Crops, IntArray]:
    """The joined crops, and the rows of the gallery that are among them."""
    paths = set(query.paths)
    is_new = np.array([path not in paths for path in gallery.paths], dtype=bool)
    kept = np.flatnonzero(np.isin(there.person_ids, asked.person_ids) & is_new)
    if not len(kept):
        raise LabelsError(
            "No person of the query is in the gallery, so there is no pair of one person to calibrate with."
        )
    cameras = None
    if asked.camera_ids is not None and there.camera_ids is not None:
        cameras = np.concatenate([asked.camera_ids, there.camera_ids[kept]])
    others = gallery.select(kept)
    columns = {}
    if TIME_COLUMN in query.columns and TIME_COLUMN in others.columns:
        columns[TIME_COLUMN] = [*column_values(query, TIME_COLUMN), *column_values(others, TIME_COLUMN)]
    people = np.concatenate([asked.person_ids, there.person_ids[kept]])
    return Crops(query.paths + others.paths, people, cameras, columns), kept


def calibrate(
    table: EmbeddingTable,
    options: CalibrationOptions = CalibrationOptions(),
    *,
    data: str = "unknown",
    seed: int = 0,
) -> Verification:
    """Fit a calibration on some of the people, and measure it on the others.

    Args:
        table: Crops of known people with their embeddings. Use people whom the weights were not trained on, and leave
            distractors out; `people_to_calibrate` chooses them from a data set.
        options: How it is fitted.
        data: What the crops are, in words, for the record.
        seed: Seed for the draws of people and pairs.

    Raises:
        LabelsError: the people are not known.
        CalibrationError: too few people or pairs.
        DataError: a time that cannot be read.
        MissingDependencyError: scipy is not installed.
    """
    crops, embeddings, distance = _known_crops(table, options)
    fitted, held_out = _split_people(crops, options.hold_out, seed)
    kinds = list(crops.kinds(GAPS_S))
    curves = []
    for number, kind in enumerate(kinds):
        pairs = _label_pairs(embeddings, crops, fitted, kind, distance, seed + number)
        if number == 0 or are_enough(pairs):
            curves.append(fit_curve(pairs, kind, seed=seed))
    calibration = Calibration(
        weights_sha256=table.provenance.weights_sha256,
        model=table.provenance.model,
        preprocessing=table.provenance.preprocessing,
        distance=distance,
        curves=tuple(curves),
        prior=options.prior,
        costs=options.costs,
        data=data,
        omnireid_version=__version__,
    )
    lacking = len(kinds) - len(curves)
    notes = (f"{lacking} kinds of pairs have too few pairs or people for a curve of their own.",) if lacking else ()
    counts = [int(np.unique(crops.person_ids[part]).size) for part in (fitted, held_out)]
    return _verify_part(calibration, embeddings, crops, held_out, seed, people_fitted=counts[0], notes=notes)


def verify(
    table: EmbeddingTable, calibration: Calibration, *, frame_rate: float | None = None, seed: int = 0
) -> Verification:
    """Measure a calibration on other data than it was fitted on; nothing is fitted.

    Args:
        table: Crops of known people with their embeddings.
        calibration: The calibration. Its prior and distance are used.
        frame_rate: As in `CalibrationOptions`.
        seed: Seed for the draw of pairs.

    Raises:
        CalibrationError: the calibration is for other weights, or there are too few pairs.
        LabelsError: the people are not known.
    """
    crops, embeddings = _crops_for(table, calibration, frame_rate)
    return _verify_part(calibration, embeddings, crops, np.ones(len(crops), dtype=bool), seed)


def adapt(
    table: EmbeddingTable,
    calibration: Calibration,
    pairs: int,
    options: CalibrationOptions = CalibrationOptions(),
    *,
    data: str = "unknown",
    seed: int = 0,
) -> tuple[Verification, Verification]:
    """Fit a calibration to other data by a few labelled pairs, half of them of one person; see `adapt_calibration`.

    Args:
        table: Crops of known people with their embeddings.
        calibration: The calibration to begin with.
        pairs: Number of labelled pairs, drawn from the people who are not held out.
        options: Prior, costs, share of the people held out, and frame rate.
        data: What the crops are, in words.
        seed: Seed for the draws of people and pairs.

    Returns:
        The calibration as it was, and the adapted one, both measured on the same people held out.

    Raises:
        CalibrationError: the calibration is for other weights, or there are too few pairs.
        LabelsError: the people are not known.
    """
    before = replace(calibration, prior=options.prior, costs=options.costs)
    crops, embeddings = _crops_for(table, before, options.frame_rate)
    fitted, held_out = _split_people(crops, options.hold_out, seed)
    rows = np.flatnonzero(fitted)
    chosen = crops.select(rows)
    drawn = draw_pairs(chosen, PairKind("any"), same_per_person=SAME_PER_PERSON, different=10 * pairs, seed=seed)
    rng = np.random.default_rng(seed)
    halves = [np.flatnonzero(drawn.is_same), np.flatnonzero(~drawn.is_same)]
    kept = np.concatenate([rng.permutation(half)[: pairs // 2] for half in halves])
    first, second = drawn.first[kept], drawn.second[kept]
    after = adapt_calibration(
        before,
        pair_distances(embeddings, rows[first], rows[second], before.distance).astype(np.float64),
        drawn.is_same[kept],
        same_camera=None if chosen.camera_ids is None else chosen.camera_ids[first] == chosen.camera_ids[second],
        gap_s=None if chosen.times is None else chosen.times.gaps(first, second),
        data=data,
    )
    count = int(np.unique(chosen.person_ids).size)
    return (
        _verify_part(before, embeddings, crops, held_out, seed),
        _verify_part(after, embeddings, crops, held_out, seed, people_fitted=count),
    )


def _crops_for(
    table: EmbeddingTable, calibration: Calibration, frame_rate: float | None
) -> tuple[KnownCrops, AnyArray]:
    made = table.provenance
    calibration.check_weights(made.weights_sha256, made.preprocessing, calibration.distance)
    options = CalibrationOptions(distance=calibration.distance, frame_rate=frame_rate)
    crops, embeddings, _ = _known_crops(table, options)
    return crops, embeddings


def _verify_part(
    calibration: Calibration,
    embeddings: AnyArray,
    crops: KnownCrops,
    part: BoolArray,
    seed: int,
    *,
    people_fitted: int = 0,
    notes: tuple[str, ...] = (),
) -> Verification:
    """Measure a calibration on a part of the crops, and write the main figures into it."""
    rows = np.flatnonzero(part)
    people = int(np.unique(crops.person_ids[rows]).size)
    scores = _score_kinds(calibration, embeddings, crops, part, seed)
    if not scores:
        raise CalibrationError(
            f"The {people:,} people to measure the calibration on give no pair of one person, or none of two. Give "
            "more labelled crops."
        )
    figures = {
        "people": float(people),
        "expected_calibration_error": scores[0].calibration_error.value,
        "equal_error_rate": scores[0].equal_error_rate.value,
    }
    return Verification(
        calibration=replace(calibration, held_out=figures) if people_fitted else calibration,
        scores=scores,
        open_set=measure_open_set(embeddings[rows], crops.select(rows), calibration.distance, seed=seed),
        people_fitted=people_fitted,
        people_held_out=people,
        crops=len(crops),
        notes=notes,
    )


def _known_crops(table: EmbeddingTable, options: CalibrationOptions) -> tuple[KnownCrops, AnyArray, Distance]:
    if table.labels is None:
        raise LabelsError(
            "A calibration needs person ids: pairs of one person and of two are compared. Label the crops."
        )
    _, people = np.unique(table.labels.person_ids, return_inverse=True)
    intended = table.provenance.distance
    known: dict[str, Distance] = {name: name for name in get_args(Distance)}
    distance = options.distance or known.get(intended, "euclidean")
    times = find_capture_times(table.crops, options.frame_rate)
    return KnownCrops(people, table.labels.camera_ids, times), as_embeddings(table.embeddings, "table"), distance


def _split_people(crops: KnownCrops, hold_out: float, seed: int) -> tuple[BoolArray, BoolArray]:
    """Which crops are fitted and which are held out; a person is on one side with all crops."""
    count = int(crops.person_ids.max(initial=-1)) + 1
    held_out = np.random.default_rng(seed).permutation(count) < round(hold_out * count)
    is_held_out: BoolArray = held_out[crops.person_ids]
    return ~is_held_out, is_held_out


def _label_pairs(
    embeddings: AnyArray,
    crops: KnownCrops,
    part: BoolArray,
    kind: PairKind,
    distance: Distance,
    seed: int,
) -> LabelledDistances:
    rows: IntArray = np.flatnonzero(part)
    chosen = crops.select(rows)
    most = DIFFERENT_PAIRS if kind.least_gap_s is None else TIMED_DIFFERENT_PAIRS
    different = min(most, DIFFERENT_PAIRS_PER_CROP * len(rows))
    pairs = draw_pairs(chosen, kind, same_per_person=SAME_PER_PERSON, different=different, seed=seed)
    return LabelledDistances(
        distances=pair_distances(embeddings, rows[pairs.first], rows[pairs.second], distance).astype(np.float64),
        is_same=pairs.is_same,
        first_person=chosen.person_ids[pairs.first],
        second_person=chosen.person_ids[pairs.second],
    )


def are_enough(pairs: LabelledDistances) -> bool:
    """Whether the pairs are enough for a curve of their own."""
    different = len(pairs) - pairs.same_count
    is_enough = min(pairs.same_count, different) >= _LEAST_PAIRS and pairs.people >= _LEAST_PEOPLE
    return is_enough and bool(np.ptp(pairs.distances) > 0)


def _score_kinds(
    calibration: Calibration, embeddings: AnyArray, crops: KnownCrops, part: BoolArray, seed: int
) -> tuple[PairScores, ...]:
    """Figures for each kind of pair for which the calibration has a curve and these crops have pairs."""
    curves = {(one.relation, one.least_gap_s, one.gap_below_s): one for one in calibration.curves}
    scores = []
    for number, kind in enumerate(crops.kinds(GAPS_S)):
        curve = curves.get((kind.relation, kind.least_gap_s, kind.gap_below_s))
        if curve is None:
            continue
        pairs = _label_pairs(embeddings, crops, part, kind, calibration.distance, seed + 1000 + number)
        if pairs.same_count and pairs.same_count < len(pairs):
            scores.append(score_pairs(pairs, curve, calibration.prior, seed=seed))
    return tuple(scores)
