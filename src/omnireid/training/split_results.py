"""Results over all published splits of a data set: one record for each run, and their averages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from omnireid.errors import ResumeError, newer_format
from omnireid.evaluation.scores import RankingScores
from omnireid.files import write_json
from omnireid.training.run_checkpoint import RunIdentity

FORMAT_VERSION = 1
TITLES: Mapping[str, str] = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
    "rank20": "rank-20",
    "mean_average_precision": "mAP",
}
"""The scores that are averaged, and their titles in the table."""


@dataclass(frozen=True)
class SplitScores:
    """Scores of one published split, as fractions in [0, 1].

    Attributes:
        split_index: Number of the split, counted from 0.
        queries: Number of counted queries.
        gallery: Number of gallery crops searched.
        distance: How embeddings were compared.
        rank1: Fraction of queries whose nearest crop is a true match.
        rank5: Fraction of queries with a true match among the first 5.
        rank10: Fraction of queries with a true match among the first 10.
        rank20: Fraction of queries with a true match among the first 20.
        mean_average_precision: Mean AP over the queries.
    """

    split_index: int
    queries: int
    gallery: int
    distance: str
    rank1: float
    rank5: float
    rank10: float
    rank20: float
    mean_average_precision: float

    @staticmethod
    def of(split_index: int, scores: RankingScores) -> SplitScores:
        """The scores of a split that are kept of an evaluation."""
        values = {name: float(getattr(scores, name)) for name in TITLES}
        return SplitScores(split_index, scores.queries, scores.gallery, scores.distance, **values)


@dataclass(frozen=True)
class SplitRun:
    """One training run, and the splits that its weights are scored on.

    Attributes:
        folder: Name of the run's folder.
        split_indices: The splits whose training half the run learns from, counted from 0.
        weights_sha256: SHA-256 of the weights that were scored; None before.
        seconds: Time of training and evaluations, over all sessions.
        scores: One entry for each of `split_indices`; none before the run is finished.
        failure: Why the run failed at the last attempt; None if it did not.
    """

    folder: str
    split_indices: tuple[int, ...]
    weights_sha256: str | None = None
    seconds: float = 0.0
    scores: tuple[SplitScores, ...] = ()
    failure: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its weights were trained and scored."""
        return bool(self.scores)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> SplitRun:
        """Read back what ``asdict`` made."""
        scores = tuple(SplitScores(**each) for each in values["scores"])
        return SplitRun(**{**values, "split_indices": tuple(values["split_indices"]), "scores": scores})


@dataclass(frozen=True)
class SplitResults:
    """What the runs over all published splits of a data set came to.

    Attributes:
        dataset: Name of the data set.
        start: Where every run starts, in words.
        runs: All runs, finished or not, in the order of their first splits.
        identity: What a resumed command must agree in.
        threads: Number of threads the runs compute with, which a resumed command takes over.
    """

    dataset: str
    start: str
    runs: tuple[SplitRun, ...]
    identity: RunIdentity
    threads: int

    @property
    def scores(self) -> tuple[SplitScores, ...]:
        """The scores of all splits that are finished, in the order of the splits."""
        return tuple(sorted((one for run in self.runs for one in run.scores), key=lambda one: one.split_index))

    @property
    def split_count(self) -> int:
        """Number of splits, scored or not."""
        return sum(len(run.split_indices) for run in self.runs)

    @property
    def failures(self) -> dict[str, str]:
        """Why runs failed, by the name of their folder."""
        return {run.folder: run.failure for run in self.runs if run.failure is not None}

    @property
    def means(self) -> dict[str, float]:
        """The mean of each score over the finished splits, each with the same weight; empty before the first one."""
        return {name: fmean(getattr(one, name) for one in self.scores) for name in TITLES if self.scores}

    @property
    def standard_deviations(self) -> dict[str, float]:
        """The sample standard deviation (n - 1) of each score over the finished splits; empty for fewer than two.

        Splits that share a training half share their weights, as VIPeR's two directions do, so they are not
        independent of each other.
        """
        return {name: stdev(getattr(one, name) for one in self.scores) for name in TITLES if len(self.scores) > 1}

    def with_run(self, run: SplitRun) -> SplitResults:
        """The results with one run replaced by `run`, which has the same folder."""
        return replace(self, runs=tuple(run if each.folder == run.folder else each for each in self.runs))

    def json(self) -> dict[str, Any]:
        """The results as plain values; scores are fractions, not percentages."""
        return {
            "format_version": FORMAT_VERSION,
            "dataset": self.dataset,
            "start": self.start,
            "splits": self.split_count,
            "splits_scored": len(self.scores),
            "means": self.means,
            "standard_deviations": self.standard_deviations,
            "runs": [asdict(run) for run in self.runs],
            "identity": vars(self.identity),
            "threads": self.threads,
        }

    def table(self) -> str:
        """The scores of every split in percent, their mean and standard deviation, and the runs that failed."""
        scored, total = len(self.scores), self.split_count
        lines = [f"{self.dataset}: {total} splits, {len(self.runs)} training runs, each from {self.start}"]
        if scored < total:
            lines.append(f"INCOMPLETE: {scored} of {total} splits are scored, and the means are over these alone.")
        lines += [f"{folder} FAILED: {reason}" for folder, reason in self.failures.items()]
        if scored:
            lines.append(f"distance {', '.join(sorted({one.distance for one in self.scores}))}")
        lines += ["", _row("split", TITLES.values())]
        lines += [_row(str(one.split_index), (_percent(getattr(one, name)) for name in TITLES)) for one in self.scores]
        if scored:
            lines.append(_row("mean", map(_percent, self.means.values())))
        if scored > 1:
            lines.append(_row("± std", map(_percent, self.standard_deviations.values())))
            lines.append(f"std: sample standard deviation (n - 1) over {scored} splits")
        return "\n".join(lines)


def write_split_results(path: Path, results: SplitResults) -> None:
    """Write the results as JSON, atomically."""
    write_json(path, results.json())


def read_split_results(path: Path) -> SplitResults:
    """Read what `write_split_results` wrote.

    Raises:
        ResumeError: The file is damaged, or comes from a newer version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = int(record["format_version"])
        if version > FORMAT_VERSION:
            raise ResumeError(newer_format(path, version, FORMAT_VERSION))
        return SplitResults(
            dataset=record["dataset"],
            start=record["start"],
            runs=tuple(SplitRun.from_json(run) for run in record["runs"]),
            identity=RunIdentity(**record["identity"]),
            threads=int(record["threads"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResumeError(
            f"{path} is no complete record of runs over splits ({error!r}). Move it away and resume again: finished "
            "runs are then scored again, but not trained again."
        ) from error


def _row(title: str, cells: Iterable[str]) -> str:
    return f"{title:>7}" + "".join(f"{cell:>9}" for cell in cells)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
