"""From the runs of an experiment to the numbers of its table: means, intervals, and differences between rows.

Two things make a score uncertain. Another choice of people to be tested on would give another score: that is the
interval over identities, by bootstrap. Another seed would give other weights: that is the interval over seeds. Two
seeds alone say little about their own spread, so the variance between seeds is pooled over all rows that are compared
with one another; this assumes that it is alike in them. The interval is Student's, with as many degrees of freedom as
there are runs beyond the first of each row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Any, Literal

import numpy as np

from omnireid.evaluation.intervals import bootstrap_intervals
from omnireid.experiments.results import SCORES, ExperimentRecord, QueryTable, RunRecord, read_queries
from omnireid.experiments.table import ExperimentTable, Row

Order = Literal["higher", "lower", "undecided"]
Interval = tuple[float, float]

SAMPLES = 1000
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""The 97.5 % quantile of Student's t with 1 to 30 degrees of freedom."""


@dataclass(frozen=True)
class SeedSpread:
    """The standard deviation between seeds, pooled over the rows of one comparison.

    Attributes:
        deviation: Standard deviation of a single run, a fraction.
        degrees: Degrees of freedom: runs less rows, over the rows with two seeds or more.
    """

    deviation: float
    degrees: int

    def half_width(self, *counts: int) -> float:
        """Half the 95 % interval of a mean over so many seeds, or of the difference of two such means."""
        quantile = _STUDENT[min(self.degrees, len(_STUDENT)) - 1]
        return quantile * self.deviation * math.sqrt(sum(1 / count for count in counts))


@dataclass(frozen=True)
class Estimate:
    """A score of a row, or the difference of two rows, as fractions.

    Attributes:
        value: Mean over the seeds.
        over_identities: 95 % interval over the people of the queries; None if it was not computed. For the score of a
            row it is the mean of its runs' bounds; for a difference, queries and people are paired.
        over_seeds: 95 % interval over seeds; None before any row of the comparison has two seeds.
    """

    value: float
    over_identities: Interval | None
    over_seeds: Interval | None

    @property
    def order(self) -> Order:
        """Whether a difference is above or below 0 by both intervals. Otherwise no order is claimed."""
        intervals = (self.over_identities, self.over_seeds)
        if all(interval is not None and interval[0] > 0 for interval in intervals):
            return "higher"
        if all(interval is not None and interval[1] < 0 for interval in intervals):
            return "lower"
        return "undecided"


@dataclass(frozen=True)
class RowScores:
    """Scores of a row on one data set.

    Attributes:
        dataset: Name of the data set.
        scores: Each of `SCORES`, by name.
        differences: Each score less that of the row it is compared with; empty for a row that others are compared with.
    """

    dataset: str
    scores: dict[str, Estimate]
    differences: dict[str, Estimate]

    def json(self) -> dict[str, Any]:
        """The scores as plain values, with the order that is claimed."""
        orders = {name: one.order for name, one in self.differences.items()}
        return {**asdict(self), "orders": orders}


@dataclass(frozen=True)
class RowSummary:
    """A line of the finished table.

    Attributes:
        row: The row.
        seeds: The seeds of its finished runs.
        seconds: Mean time of a finished run; None without one.
        scores: Its scores on each data set.
        failures: Why runs failed, by their seed.
    """

    row: Row
    seeds: tuple[int, ...]
    seconds: float | None
    scores: tuple[RowScores, ...]
    failures: dict[int, str]


def summarise(table: ExperimentTable, record: ExperimentRecord, output: Path) -> list[RowSummary]:
    """Summarise every row of a table, run or not, in the table's order.

    Args:
        table: The rows.
        record: The runs so far.
        output: The experiment's folder, where the runs keep the scores of their queries.
    """
    return [_summarise_row(table, row, record, output) for row in table.rows]


def _summarise_row(table: ExperimentTable, row: Row, record: ExperimentRecord, output: Path) -> RowSummary:
    runs, reference = record.finished(row.name), table.reference_of(row)
    alike = [record.finished(other.name) for other in table.rows if table.reference_of(other) is reference]
    scores = []
    for index in range(len(runs[0].scores) if runs else 0):
        dataset = runs[0].scores[index].dataset
        spreads = {
            name: pool_seeds([[_value(run, index, name) for run in group] for group in alike]) for name in SCORES
        }
        estimates = {name: _estimate(runs, index, name, spreads[name]) for name in SCORES}
        others = record.finished(reference.name)
        differences: dict[str, Estimate] = {}
        if row is not reference and others:
            paired = _pair(output, runs, others, dataset)
            for column, name in enumerate(SCORES):
                value = fmean(_value(run, index, name) for run in runs)
                value -= fmean(_value(run, index, name) for run in others)
                seeds = _around(value, spreads[name], len(runs), len(others))
                people = None if paired is None else (float(paired[column, 0]), float(paired[column, 1]))
                differences[name] = Estimate(value, people, seeds)
        scores.append(RowScores(dataset, estimates, differences))
    failed = [run for run in record.runs if run.row == row.name and run.failure is not None]
    return RowSummary(
        row,
        tuple(run.seed for run in runs),
        fmean(run.seconds for run in runs) if runs else None,
        tuple(scores),
        {run.seed: run.failure for run in failed if run.failure is not None},
    )


def pool_seeds(groups: Sequence[Sequence[float]]) -> SeedSpread | None:
    """Pool the variance within groups of scores, each those of one row; None if no row has two seeds."""
    several = [group for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in several)
    if not degrees:
        return None
    squares = sum(variance(group) * (len(group) - 1) for group in several)
    return SeedSpread(math.sqrt(squares / degrees), degrees)


def _estimate(runs: Sequence[RunRecord], index: int, name: str, spread: SeedSpread | None) -> Estimate:
    value = fmean(_value(run, index, name) for run in runs)
    bounds = [run.scores[index].intervals[name] for run in runs if name in run.scores[index].intervals]
    people = (fmean(low for low, _ in bounds), fmean(high for _, high in bounds)) if bounds else None
    return Estimate(value, people, _around(value, spread, len(runs)))


def _around(value: float, spread: SeedSpread | None, *counts: int) -> Interval | None:
    if spread is None:
        return None
    half = spread.half_width(*counts)
    return value - half, value + half


def _value(run: RunRecord, index: int, name: str) -> float:
    return float(getattr(run.scores[index], name))


def _pair(output: Path, runs: Sequence[RunRecord], others: Sequence[RunRecord], dataset: str) -> Any:
    """(2, 2) bounds of the difference of both rows in each score, by bootstrap over the same people in both.

    None where a run did not keep the scores of its queries, or the two rows were scored on different queries.
    """
    sides = [[read_queries(output / run_folder(run), dataset) for run in side] for side in (runs, others)]
    tables = [table for side in sides for table in side if table is not None]
    if len(tables) < len(runs) + len(others) or any(
        not np.array_equal(table.person_ids, tables[0].person_ids) for table in tables
    ):
        return None
    mean, other = (_mean([table for table in side if table is not None]) for side in sides)
    return bootstrap_intervals(mean - other, tables[0].person_ids, SAMPLES, seed=0)


def _mean(tables: Sequence[QueryTable]) -> Any:
    return np.mean([table.values for table in tables], axis=0)


def run_folder(run: RunRecord) -> Path:
    """The folder of a run, relative to the experiment's."""
    return Path(run.row, f"seed-{run.seed}")
