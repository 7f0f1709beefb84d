"""Several data sets scored with one network: a row for each, and their mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from omnireid.data.collection import name_apart, refuse_repeated
from omnireid.embedding.embedder import Embedder
from omnireid.errors import DataError, OmnireidError, list_briefly
from omnireid.evaluation.embedder_scores import EvaluatedSplits, check_splits, evaluate_embedder
from omnireid.evaluation.evaluation import DEPTH
from omnireid.evaluation.protocols import protocol_among_several
from omnireid.evaluation.scores import SCORE_NAMES, TITLES, RankingScores, describe_reordering
from omnireid.retrieval.options import RankingOptions
from omnireid.types import Dataset

_SHOWN = ("rank1", "rank5", "mean_average_precision", "mean_inverse_negative_penalty")


@dataclass(frozen=True, eq=False)
class EvaluatedDataset:
    """One of several data sets, with its scores or the reason why it has none.

    Attributes:
        name: Name in the table, different from that of the other data sets.
        dataset: The data set, in the first of its splits.
        evaluated: Scores averaged over its splits; None where it could not be scored.
        error: Reason why it could not be scored, else None.
    """

    name: str
    dataset: Dataset
    evaluated: EvaluatedSplits | None = None
    error: OmnireidError | None = None

    def json(self) -> dict[str, Any]:
        """The scores, or the error, as plain values, and what data set they belong to."""
        dataset = self.dataset
        result = {"error": str(self.error)} if self.evaluated is None else self.evaluated.json()
        return {
            "dataset": self.name,
            "layout": dataset.layout,
            "root": str(dataset.root),
            "licence": dataset.licence,
            "notes": list(dataset.notes),
            **result,
        }


@dataclass(frozen=True)
class MeanScores:
    """Scores averaged over data sets, each with the same weight. All scores are fractions in [0, 1].

    Attributes:
        scores: Mean of each of `omnireid.evaluation.scores.SCORE_NAMES`.
        intervals: 95 % confidence interval of each mean: how much it would vary with other people before the cameras
            of these data sets. It says nothing about other cameras.
    """

    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The scores as plain values; fractions, not percentages."""
        return {**self.scores, "intervals": {name: list(bounds) for name, bounds in self.intervals.items()}}


def average_datasets(scores: Sequence[RankingScores]) -> MeanScores:
    """Average the scores of different data sets; each has the same weight, however many queries it has.

    The data sets show different people, so their errors are independent: the distances from each score to its bound
    add up as a root of squares.

    Source: Zou and Donner, "Construction of confidence limits about effect measures: A general approach", Statistics
    in Medicine 27, 2008, for a sum of independent estimates.

    >>> bounds = {name: (0.4, 0.6) for name in SCORE_NAMES}
    >>> one = RankingScores((0.5,) * 20, 0.5, 0.5, 9, 0, 9, "euclidean", "single-query", intervals=bounds)
    >>> low, high = average_datasets([one] * 4).intervals["rank1"]
    >>> round(low, 3), round(high, 3)
    (0.45, 0.55)
    """
    means = {name: fmean(getattr(one, name) for one in scores) for name in SCORE_NAMES}
    intervals = {}
    for name, mean in means.items():
        if all(name in one.intervals for one in scores):
            below, above = (
                math.hypot(*(abs(getattr(one, name) - one.intervals[name][side]) for one in scores)) / len(scores)
                for side in (0, 1)
            )
            intervals[name] = (max(0.0, mean - below), min(1.0, mean + above))
    return MeanScores(means, intervals)


@dataclass(frozen=True, eq=False)
class EvaluatedDatasets:
    """Several data sets scored with one network.

    Attributes:
        datasets: Each data set with its scores, or with the error that left it without.
    """

    datasets: tuple[EvaluatedDataset, ...]

    @property
    def failed(self) -> tuple[EvaluatedDataset, ...]:
        """The data sets that could not be scored."""
        return tuple(one for one in self.datasets if one.evaluated is None)

    @property
    def mean(self) -> MeanScores | None:
        """The mean over all data sets; None if one of them has no scores, since a mean of the rest compares to none."""
        scores = [one.evaluated.scores for one in self.datasets if one.evaluated is not None]
        return average_datasets(scores) if len(scores) == len(self.datasets) else None

    def json(self) -> dict[str, Any]:
        """All scores as plain values, ready for ``json.dumps``; fractions, not percentages."""
        mean = self.mean
        return {"datasets": [one.json() for one in self.datasets], "mean": None if mean is None else mean.json()}

    def table(self) -> str:
        """A row for each data set in percent, and their mean, as text for a terminal; with warnings first."""
        scored = [(one.name, one.evaluated.scores) for one in self.datasets if one.evaluated is not None]
        lines = [f"WARNING: {name}: {warning}" for name, scores in scored for warning in scores.warnings]
        if scored:
            lines += [f"distance {scored[0][1].distance}; %, with 95 % intervals", *describe_reordering(scored[0][1])]
        titles = ["data set", "protocol", "queries", "gallery", *(TITLES[name] for name in _SHOWN)]
        rows = [titles, *map(_row, self.datasets)]
        mean = self.mean
        if mean is not None:
            rows.append(["mean", "", "", "", *_cells(mean.scores, mean.intervals)])
        lines += ["", *_align(rows), ""]
        for one in self.datasets:
            lines += [f"{one.name}: {remark}" for remark in _remarks(one)]
        if self.failed:
            lines.append(f"No mean: {len(self.failed)} of {len(self.datasets)} data sets could not be scored.")
        return "\n".join(lines).strip("\n")


def _row(one: EvaluatedDataset) -> list[str]:
    if one.evaluated is None:
        return [one.name, "not scored", *["–"] * (2 + len(_SHOWN))]
    scores = one.evaluated.scores
    values = {name: getattr(scores, name) for name in _SHOWN}
    return [one.name, scores.protocol, f"{scores.queries:,}", f"{scores.gallery:,}", *_cells(values, scores.intervals)]


def _cells(values: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> list[str]:
    """The shown scores in percent, such as ``45.6 (40.1–51.2)``."""
    cells = []
    for name in _SHOWN:
        bounds = intervals.get(name)
        interval = "" if bounds is None else f" ({100 * bounds[0]:.1f}–{100 * bounds[1]:.1f})"
        cells.append(f"{100 * values[name]:.1f}{interval}")
    return cells


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of equal columns: the two of text to the left, the numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _remarks(one: EvaluatedDataset) -> list[str]:
    """What a reader of a row should know."""
    if one.evaluated is None:
        return [f"not scored: {one.error}"]
    scores, skipped = one.evaluated.scores, one.evaluated.splits[0].crops.skipped
    remarks = [f"{number:,} queries left out: {reason}" for reason, number in scores.left_out.items()]
    if scores.splits > 1:
        remarks.append(f"averaged over {scores.splits} splits, whose queries and gallery crops are counted together")
    if scores.repeats > 1:
        cameras = "" if one.dataset.query.camera_ids is not None else "no cameras are known, so "
        remarks.append(
            f"{cameras}one crop a person was to be found, drawn at random; {scores.repeats} draws were averaged"
        )
    if skipped:
        remarks.append(f"{len(skipped):,} unreadable crops left out (the first: {skipped[0][0]})")
    return remarks


def evaluate_datasets(
    embedder: Embedder,
    datasets: Sequence[Sequence[Dataset]],
    ranking: RankingOptions = RankingOptions(),
    *,
    depth: int = DEPTH,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = False,
    on_result: Callable[[EvaluatedDataset], None] | None = None,
) -> EvaluatedDatasets:
    """Embed and score several data sets, one after the other.

    Each is scored under the protocol it is published with. A data set without cameras
    is scored with one crop a person to find (``single-gallery-shot``), unlike in
    `omnireid.evaluate_embedder`, so that it can stand beside the others.

    All data sets are checked before the first crop is embedded. A data set that fails
    after that, such as by an unreadable crop, keeps its error, and the others are
    scored all the same; there is no mean then.

    Args:
        embedder: The network.
        datasets: For each data set, its published splits (`omnireid.load_splits`), or a list of one.
        ranking: How the galleries are ranked. A protocol that is given here holds for all data sets.
        depth: Number of crops of each query's ranking to keep.
        batch_size: Crops per step of the network; by default the number that suits it.
        skip_unreadable: Leave out crops that cannot be decoded, instead of failing the data set.
        progress: Show bars on standard error.
        on_result: Called with each data set as soon as it is scored or has failed.

    Raises:
        DataError: there is no data set, or one twice.
        NoTrueMatchError: no query of a data set has anything to be found; this and the next name the data set.
        LabelsError: the protocol needs camera ids and a data set has none.
        SettingError: re-ranking or query expansion under a protocol without one gallery.
    """
    if not datasets or any(isinstance(splits, Dataset) or not splits for splits in datasets):
        raise DataError(
            "datasets must hold one data set or more, each as a list of its splits, such as [load_splits(a), "
            f"load_splits(b)]; got {list_briefly([type(splits).__name__ for splits in datasets]) or 'none'}."
        )
    first = [splits[0] for splits in datasets]
    refuse_repeated(first, "its scores would count twice in the mean.")
    names = name_apart(first)
    rankings = [replace(ranking, protocol=ranking.protocol or protocol_among_several(one)) for one in first]
    for name, splits, chosen in zip(names, datasets, rankings, strict=True):
        try:
            check_splits(splits, chosen)
        except OmnireidError as error:
            raise type(error)(f"{name}: {error}") from error
    results = []
    for name, splits, chosen in zip(names, datasets, rankings, strict=True):
        evaluated, failure = None, None
        try:
            evaluated = evaluate_embedder(
                embedder,
                splits,
                chosen,
                depth=depth,
                batch_size=batch_size,
                skip_unreadable=skip_unreadable,
                progress=progress,
                label=f"embed {name}",
            )
        except OmnireidError as error:
            failure = error.with_traceback(None)  # its frames hold the embeddings
        results.append(EvaluatedDataset(name, splits[0], evaluated, failure))
        if on_result is not None:
            on_result(results[-1])
    return EvaluatedDatasets(tuple(results))
