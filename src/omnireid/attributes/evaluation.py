"""Scoring a head on embeddings with known attributes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from omnireid.attributes.head import AttributedEmbeddings, AttributeHead, find_shared_names
from omnireid.attributes.scores import TITLES, AttributeScore, AttributeScores, Bounds, OverallScores, TaskScore
from omnireid.data.attributes import tasks_of
from omnireid.errors import DataError, list_briefly
from omnireid.evaluation.intervals import percentile_bounds, resample_totals
from omnireid.types import BoolArray, DoubleArray, FloatArray, IntArray

SAMPLES = 1000
"""Bootstrap samples of the intervals."""


def evaluate_attribute_head(head: AttributeHead, data: AttributedEmbeddings, *, seed: int = 0) -> AttributeScores:
    """Score a head, beside the majority baseline, with intervals over people.

    Only attributes that both the head and the data have are scored; the warnings name the others. An attribute in
    which all crops agree has no mean accuracy, and mA is the mean over the others.

    Args:
        head: The head.
        data: Embeddings and attributes to score it on.
        seed: Seed for the bootstrap.

    Raises:
        EmbeddingError: The embeddings were made by other weights than the head was trained on.
        DataError: Head and data have no attribute in common, or all crops agree in every attribute.
    """
    scores = head.score(data.table)
    names = find_shared_names(head, data.names, data.data)
    of_head = np.array([head.names.index(name) for name in names])
    of_data = np.array([data.names.index(name) for name in names])
    truth = data.values[:, of_data]
    constant = [name for k, name in enumerate(names) if truth[:, k].all() or not truth[:, k].any()]
    if len(constant) == len(names):
        raise DataError(
            f"All {len(data):,} crops of {data.data} agree in every attribute, so there is nothing to tell."
        )
    shares = np.broadcast_to(head.positive_shares[of_head], truth.shape)
    crops = data.table.crops
    people = np.arange(len(data)) if crops.person_ids is None else crops.person_ids
    return replace(
        _summarise(names, truth, scores[:, of_head], shares, people, seed),
        people=None if crops.person_ids is None else len(np.unique(people)),
        warnings=tuple(_warnings(head, data, constant)),
    )


def _warnings(head: AttributeHead, data: AttributedEmbeddings, constant: list[str]) -> list[str]:
    unknown = [name for name in data.names if name not in head.names]
    absent = [name for name in head.names if name not in data.names]
    said = (
        (constant, "All crops agree in {}, which therefore {} no mean accuracy"),
        (unknown, "The head does not know {}, which {} not scored"),
        (absent, "The data does not have {}, which {} not scored"),
    )
    verbs = ("has", "have"), ("is", "are"), ("is", "are")
    return [
        sentence.format(list_briefly(names, 6), verb[len(names) > 1]) + "."
        for (names, sentence), verb in zip(said, verbs, strict=True)
        if names
    ]


def _summarise(
    names: tuple[str, ...],
    truth: BoolArray,
    scores: FloatArray,
    shares: FloatArray,
    people: IntArray,
    seed: int,
) -> AttributeScores:
    """The scores of predictions and of the majority, without a word on the people.

    Args:
        names: Names of the K attributes.
        truth: (N, K) true attributes.
        scores: (N, K) predicted scores in [0, 1].
        shares: (N, K) share of the training crops with each attribute, the same in each row.
        people: (N,) ids of the people.
        seed: Seed for the bootstrap.
    """
    tasks = tasks_of(names)
    columns = list(tasks.values())
    tally = _tally(truth, scores, columns)
    found = _ratios(tally.sum(axis=0, keepdims=True), len(names))
    majority = _ratios(_tally(truth, shares, columns).sum(axis=0, keepdims=True), len(names))
    samples = _ratios(resample_totals(tally, people, SAMPLES, seed), len(names))
    counted = tally[:, -len(columns) :].sum(axis=0)
    attributes = tuple(
        AttributeScore(
            name=name,
            positive_share=float(truth[:, k].mean()),
            mean_accuracy=_known(found.balanced[0, k]),
            recall=_known(found.recall[0, k]),
            specificity=_known(found.specificity[0, k]),
            precision=_known(found.precision[0, k]),
            accuracy=float(found.right[0, k]),
            majority_accuracy=float(majority.right[0, k]),
            interval=_bounds(samples.balanced[:, k], found.balanced[0, k]),
        )
        for k, name in enumerate(names)
    )
    return AttributeScores(
        overall=OverallScores(*map(_known, found.overall[0])),
        majority=OverallScores(*map(_known, majority.overall[0])),
        intervals={
            name: bounds
            for index, name in enumerate(TITLES)
            if (bounds := _bounds(samples.overall[:, index], found.overall[0, index])) is not None
        },
        attributes=attributes,
        tasks=tuple(
            TaskScore(
                name=task,
                choices=len(tasks[task]),
                crops=int(counted[t]),
                accuracy=_known(found.tasks[0, t]),
                majority_accuracy=_known(majority.tasks[0, t]),
                interval=_bounds(samples.tasks[:, t], found.tasks[0, t]),
            )
            for t, task in enumerate(tasks)
        ),
        crops=len(truth),
        people=None,
    )


def _tally(truth: BoolArray, scores: FloatArray, tasks: list[tuple[int, ...]]) -> DoubleArray:
    """(N, 5K + 6 + 2T) what each crop adds to the counts of which scores are ratios, see `_ratios`."""
    predicted = scores > 0.5
    both, either = truth & predicted, truth | predicted
    right, counted = [], []
    for columns in tasks:
        own = truth[:, columns]
        if len(columns) == 1:
            right.append(predicted[:, columns[0]] == own[:, 0])
            counted.append(np.ones(len(truth), dtype=bool))
        else:
            counted.append(own.sum(axis=1) == 1)
            right.append(counted[-1] & (scores[:, columns].argmax(axis=1) == own.argmax(axis=1)))
    shares = []
    for part, whole in ((both, either), (both, predicted), (both, truth)):
        size = whole.sum(axis=1)
        shares += [part.sum(axis=1) / np.maximum(size, 1), size > 0]
    single = [np.asarray(values, dtype=np.float64)[:, None] for values in (*shares, *right, *counted)]
    return np.concatenate([both, truth, ~either, ~truth, predicted, *single], axis=1, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Ratios:
    """Scores of S samples; NaN where nothing counts. Shapes: (S, K) by attribute, (S, 5) overall, (S, T) by task."""

    balanced: DoubleArray
    recall: DoubleArray
    specificity: DoubleArray
    precision: DoubleArray
    right: DoubleArray
    overall: DoubleArray
    tasks: DoubleArray


def _ratios(totals: DoubleArray, attributes: int) -> _Ratios:
    """The scores of (S, 5K + 6 + 2T) summed tallies."""
    found, positive, rejected, negative, predicted = (
        totals[:, k * attributes : (k + 1) * attributes] for k in range(5)
    )
    shares = totals[:, 5 * attributes : 5 * attributes + 6]
    right_tasks, counted_tasks = np.split(totals[:, 5 * attributes + 6 :], 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, specificity = found / positive, rejected / negative
        balanced = (recall + specificity) / 2
        accuracy, precision_of_crops, recall_of_crops = (shares[:, ::2] / shares[:, 1::2]).T
        both = precision_of_crops + recall_of_crops
        f1 = np.where(both == 0, 0, 2 * precision_of_crops * recall_of_crops / both)  # NaN where either is not known
        mean = np.where(np.isnan(balanced), 0, balanced).sum(axis=1) / (~np.isnan(balanced)).sum(axis=1)
        return _Ratios(
            balanced=balanced,
            recall=recall,
            specificity=specificity,
            precision=found / predicted,
            right=(found + rejected) / (positive + negative),
            overall=np.stack([mean, accuracy, precision_of_crops, recall_of_crops, f1], axis=1),
            tasks=right_tasks / counted_tasks,
        )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _bounds(samples: DoubleArray, value: float) -> Bounds | None:
    """The 95 % interval of a score; None where there is no score."""
    if np.isnan(value):
        return None
    low, high = percentile_bounds(samples[:, None])[0].tolist()
    return low, high
