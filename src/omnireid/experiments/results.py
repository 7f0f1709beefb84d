"""The record of an experiment on disk: its runs, what they scored, and what a continued experiment must agree in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.errors import ResumeError, newer_format
from omnireid.evaluation.embedder_scores import EvaluatedSplits
from omnireid.experiments.crop_times import CropTimes
from omnireid.experiments.table import ExperimentTable
from omnireid.files import write_json
from omnireid.training.run_checkpoint import RunIdentity
from omnireid.types import DoubleArray, IntArray

FORMAT_VERSION = 1
QUERIES_NAME = "queries.json"
"""Name, in a run's folder, of the scores of every query, from which differences between rows get their intervals."""

SCORES = ("rank1", "mean_average_precision")
"""The scores of a table, by their names in records."""


@dataclass(frozen=True)
class RunScores:
    """Scores of one run on one data set, as fractions in [0, 1].

    Attributes:
        dataset: Name of the data set.
        queries: Number of counted queries.
        gallery: Number of gallery crops searched.
        distance: How embeddings were compared.
        rank1: Fraction of queries whose nearest crop is a true match.
        mean_average_precision: Mean AP over the queries.
        intervals: 95 % interval of each of `SCORES`, by bootstrap over the identities of the queries.
    """

    dataset: str
    queries: int
    gallery: int
    distance: str
    rank1: float
    mean_average_precision: float
    intervals: Mapping[str, tuple[float, float]]

    @staticmethod
    def of(dataset: str, evaluated: EvaluatedSplits) -> RunScores:
        """The scores that are kept of an evaluation."""
        scores = evaluated.scores
        return RunScores(
            dataset,
            scores.queries,
            scores.gallery,
            scores.distance,
            scores.rank1,
            scores.mean_average_precision,
            {name: scores.intervals[name] for name in SCORES if name in scores.intervals},
        )


@dataclass(frozen=True)
class RunRecord:
    """What one run came to.

    Attributes:
        row: Name of its row.
        seed: Its seed.
        weights_sha256: SHA-256 of the weights that were scored; None before.
        seconds: Time of training and evaluations, over all sessions.
        multiply_adds: Multiply-adds of the forward passes over all training crops.
        scores: One entry for each data set; none before the run is finished.
        failure: Why the run failed at the last attempt; None if it did not.
    """

    row: str
    seed: int
    multiply_adds: int
    weights_sha256: str | None = None
    seconds: float = 0.0
    scores: tuple[RunScores, ...] = ()
    failure: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its weights were trained and scored."""
        return bool(self.scores)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> RunRecord:
        """Read back what ``asdict`` made."""
        scores = tuple(
            RunScores(**{**each, "intervals": {name: tuple(pair) for name, pair in each["intervals"].items()}})
            for each in values["scores"]
        )
        return RunRecord(**{**values, "scores": scores})


@dataclass(frozen=True)
class ExperimentRecord:
    """All runs of an experiment so far.

    Attributes:
        table: Name of the table.
        version: Version of its list of rows.
        identity: What a continued experiment must agree in: the recipe that the rows share, data and start.
        threads: Number of threads the runs compute with, which a continued experiment takes over.
        runs: Every run that was begun, in the order in which the runs were first asked for.
        times: How long each row's network takes for a crop, as last measured; None before, and in tables that do not
            compare costs.
    """

    table: str
    version: int
    identity: RunIdentity
    threads: int
    runs: tuple[RunRecord, ...] = ()
    times: CropTimes | None = None

    def find(self, row: str, seed: int) -> RunRecord | None:
        """The record of a run; None if it was not begun."""
        return next((run for run in self.runs if (run.row, run.seed) == (row, seed)), None)

    def with_run(self, run: RunRecord) -> ExperimentRecord:
        """The record with one run added or replaced."""
        if self.find(run.row, run.seed) is None:
            return replace(self, runs=(*self.runs, run))
        return replace(
            self, runs=tuple(run if (old.row, old.seed) == (run.row, run.seed) else old for old in self.runs)
        )

    def finished(self, row: str) -> list[RunRecord]:
        """The finished runs of a row, by their seeds."""
        return sorted((run for run in self.runs if run.row == row and run.is_finished), key=lambda run: run.seed)

    def estimate_seconds(self, row: str, multiply_adds: int) -> float | None:
        """How long a run will take, from those that are finished; None before the first one.

        A row that was run before with another seed takes as long again. For other rows, the mean time of a multiply-add
        is used, which is a rough guess: a network of many small layers takes more time for each.
        """
        same = self.finished(row)
        known = same or [run for run in self.runs if run.is_finished]
        work = sum(run.multiply_adds for run in known)
        return sum(run.seconds for run in known) / work * multiply_adds if work else None

    def json(self) -> dict[str, Any]:
        """The record as plain values; scores are fractions, not percentages."""
        return {
            "format_version": FORMAT_VERSION,
            "table": self.table,
            "table_version": self.version,
            "identity": vars(self.identity),
            "threads": self.threads,
            "runs": [asdict(run) for run in self.runs],
            "times": None if self.times is None else asdict(self.times),
        }


def write_record(path: Path, record: ExperimentRecord, summary: Mapping[str, Any]) -> None:
    """Write a record as JSON, atomically, together with the table that was made from it."""
    write_json(path, {**record.json(), "summary": summary})


def read_record(path: Path, table: ExperimentTable) -> ExperimentRecord:
    """Read the record of an experiment that is to be continued.

    Raises:
        ResumeError: The file is damaged, comes from a newer version, or belongs to another table or to another
            version of this one.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = int(values["format_version"])
        if version > FORMAT_VERSION:
            raise ResumeError(newer_format(path, version, FORMAT_VERSION))
        record = ExperimentRecord(
            table=values["table"],
            version=int(values["table_version"]),
            identity=RunIdentity(**values["identity"]),
            threads=int(values["threads"]),
            runs=tuple(RunRecord.from_json(run) for run in values["runs"]),
            times=CropTimes(**values["times"]) if values.get("times") else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResumeError(
            f"{path} is no complete record of an experiment ({error!r}). Move it away and run the same command again: "
            "finished runs are then scored again, but not trained again."
        ) from error
    if (record.table, record.version) != (table.name, table.version):
        raise ResumeError(
            f"{path.parent} holds version {record.version} of the table {record.table}, and asked for is version "
            f"{table.version} of {table.name}: their rows cannot stand in one table. Choose another --output."
        )
    return record


@dataclass(frozen=True, eq=False)
class QueryTable:
    """Scores of the Q counted queries of a run on one data set.

    Attributes:
        person_ids: (Q,) who is on each query.
        values: (Q, 2) whether the nearest crop is a true match, and the average precision, as in `SCORES`.
    """

    person_ids: IntArray
    values: DoubleArray


def write_queries(folder: Path, tables: Mapping[str, QueryTable]) -> None:
    """Write the scores of a run's queries on each data set, readable as JSON."""
    record = {
        name: {
            "person_ids": table.person_ids.tolist(),
            "rank1": table.values[:, 0].astype(int).tolist(),
            "average_precision": np.round(table.values[:, 1], 6).tolist(),
        }
        for name, table in tables.items()
    }
    write_json(folder / QUERIES_NAME, record, indent=None)


def read_queries(folder: Path, dataset: str) -> QueryTable | None:
    """The scores of a run's queries on a data set; None if they were not kept, or the file was removed or damaged."""
    try:
        kept = json.loads((folder / QUERIES_NAME).read_text(encoding="utf-8"))[dataset]
        columns = [kept[name] for name in ("rank1", "average_precision")]
        people = np.asarray(kept["person_ids"], dtype=np.int64)
        return QueryTable(people, np.asarray(columns, dtype=np.float64).T.reshape(len(people), 2))
    except (OSError, ValueError, KeyError, TypeError):
        return None
