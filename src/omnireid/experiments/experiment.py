"""Runs what is missing of an experiment, and writes its table after every run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.data.collection import name_apart, refuse_repeated
from omnireid.data.datasets import load_dataset, load_splits
from omnireid.data.options import DataOptions
from omnireid.data.training_data import load_training_data
from omnireid.embedding.embedder import load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import MissingDependencyError, ModelError, OutputError, SettingError, WeightsError
from omnireid.evaluation.embedder_scores import EvaluatedSplits, evaluate_embedder
from omnireid.experiments.cost_curve import CURVE_NAME, draw_cost_curve
from omnireid.experiments.crop_times import measure_crop_times
from omnireid.experiments.options import RECORD_NAME, TABLE_NAME, ExperimentOptions
from omnireid.experiments.plan import PlannedRun, check_complete, drawn_people, plan_runs
from omnireid.experiments.results import (
    ExperimentRecord,
    QueryTable,
    RunRecord,
    RunScores,
    read_record,
    write_queries,
    write_record,
)
from omnireid.experiments.summary import RowSummary, summarise
from omnireid.experiments.table import ExperimentTable
from omnireid.experiments.texts import duration, markdown, plan_text, seconds_left, summary_json
from omnireid.files import atomic_output, sha256_of, sole_writer
from omnireid.synthetic.dataset import synthesize
from omnireid.training.distributed import barrier
from omnireid.training.loop import CHECKPOINT_NAME
from omnireid.training.options import RunOptions
from omnireid.training.precision import choose_precision
from omnireid.training.recipes import Recipe
from omnireid.training.run import FAILURES_OF_ONE_RUN, Session, start_session, train_in_session
from omnireid.training.run_checkpoint import RunIdentity, check_identity
from omnireid.types import Dataset
from omnireid.weights.fetch import resolve_weights

_FAILURES_OF_ONE_ROW = (*FAILURES_OF_ONE_RUN, ModelError, SettingError, WeightsError)
"""Errors after which the other rows go on: rows differ in network and recipe, so those may be what is wrong."""


@dataclass(frozen=True)
class Experiment:
    """An experiment after some or all of its runs.

    Attributes:
        table: The rows, as they were asked for.
        recipe: The recipe that they share.
        record: The runs.
        rows: What each row came to.
    """

    table: ExperimentTable
    recipe: Recipe
    record: ExperimentRecord
    rows: tuple[RowSummary, ...]

    @property
    def failures(self) -> dict[str, str]:
        """Why runs failed, by the name of their folder."""
        return {f"{run.row}/seed-{run.seed}": run.failure for run in self.record.runs if run.failure is not None}

    def markdown(self) -> str:
        """The table, as it is written to the experiment's folder."""
        return markdown(self.table, self.recipe, self.record, self.rows)

    def json(self) -> dict[str, Any]:
        """Runs and table as plain values, as they are written to the experiment's folder."""
        return {**self.record.json(), "summary": summary_json(self.table, self.recipe, self.record, self.rows)}


def describe_plan(table: ExperimentTable, base: Recipe, options: ExperimentOptions) -> str:
    """What the experiment would run and what it would cost, in words. Nothing is trained, drawn or written.

    Raises:
        SettingError: A row, a seed or the recipe cannot be used.
        DataError: The data set cannot be read.
        ResumeError: The output folder holds another table, another version of it, or one with another recipe.
    """
    runs, path = plan_runs(table, base, options), options.output / RECORD_NAME
    record = None
    if path.exists():
        record = read_record(path, table)
        recipe = base.json()
        if base.precision == "auto":  # which the device decides
            recipe["precision"] = record.identity.recipe.get("precision")
        check_identity(record.identity, replace(record.identity, recipe=recipe), options.output)
    return plan_text(table, table.select(options.rows), base, runs, record)


def run_experiment(table: ExperimentTable, base: Recipe, options: ExperimentOptions) -> Experiment:
    """Run every chosen row of a table with every seed, unless it is finished, and write the table.

    The folder ``options.output`` gets a folder for each run, with everything that `omnireid.train` leaves, and after
    every run ``experiment.json`` and ``experiment.md``. A table that compares costs ends with a measurement of all of
    its networks, and ``cost-curve.svg``. Calling this again goes on with what is missing: a run that was
    interrupted continues from its last checkpoint, and one that failed is tried again. Rows and seeds may be
    added later. The last weights of a run are scored.

    Args:
        table: The rows.
        base: The recipe that the rows share.
        options: Which rows and seeds, on which data, and how.

    Returns:
        The table and its runs; `Experiment.failures` says which runs failed.

    Raises:
        SettingError: A row, a seed or the recipe cannot be used, or data that the table needs are missing.
        DataError: The data set cannot be read.
        ResumeError: The folder holds another table, another version of it, or one with another recipe or other data.
        OutputError: The folder cannot be written, holds something else or is in use.
        StoppedError: SIGINT or SIGTERM arrived; the run was saved.
    """
    runs, rows = plan_runs(table, base, options), table.select(options.rows)
    check_complete(table, rows, options)
    if not runs:
        raise SettingError("None of these rows is trained: the table has their cost alone, which --dry-run shows.")
    with start_session(_run_options(runs[0], options)) as session:
        base = replace(base, precision=choose_precision(base.precision, session.device))
        runs = [replace(run, recipe=replace(run.recipe, precision=base.precision)) for run in runs]
        path, is_first = options.output / RECORD_NAME, session.ranks.rank == 0
        identity = _find_identity(base, options, session)  # before the folder is made, so that an error leaves none
        with sole_writer(path) if is_first else nullcontext():
            record = _begin(path, table, base, options, identity, session)
            if is_first and options.progress:
                print(plan_text(table, rows, base, runs, record), flush=True)
            for number, run in enumerate(runs, start=1):
                known = record.find(run.row.name, run.seed)
                if known is not None and known.is_finished:
                    continue
                if is_first and options.progress:
                    print(_announcement(number, run, runs, record), flush=True)
                done = _carry_out(run, options, session)
                record = record.with_run(done)
                if is_first:
                    _write(table, base, record, options.output)
                    _report(number, len(runs), done, options)
            if is_first and table.compares_costs:
                record = _compare_costs(table, base, record, options.output)
            barrier(session.ranks)
            if not is_first:
                record = read_record(path, table)
            experiment = Experiment(table, base, record, tuple(summarise(table, record, options.output)))
            if is_first:
                _write(table, base, record, options.output)
            return experiment


def _find_identity(base: Recipe, options: ExperimentOptions, session: Session) -> RunIdentity:
    """What an experiment that is continued must agree in."""
    start = None if options.weights is None else sha256_of(resolve_weights(options.weights))
    return RunIdentity(base.json(), _data_facts(options), start, session.ranks.world_size)


def _begin(
    path: Path,
    table: ExperimentTable,
    base: Recipe,
    options: ExperimentOptions,
    identity: RunIdentity,
    session: Session,
) -> ExperimentRecord:
    """Read the record of an experiment that is continued, or begin one. All ranks read before rank 0 writes."""
    record = ExperimentRecord(table.name, table.version, identity, session.threads)
    if path.exists():
        record = read_record(path, table)
        check_identity(record.identity, identity, options.output)
    elif any((options.output / name).exists() for name in ("run.json", "splits.json")):
        raise OutputError(f"{options.output} already holds a training run. Choose another --output.")
    barrier(session.ranks)
    if session.ranks.rank == 0:
        _write(table, base, record, options.output)
    return record


def _data_facts(options: ExperimentOptions) -> dict[str, Any]:
    """What is learned from and scored on, in words and digests. Reads all of it, before any run takes its hours."""
    facts: dict[str, Any] = {}
    if options.data is None:
        facts["drawn people"] = f"{options.people} for each cue"
    else:
        data = load_training_data([options.data], layout=options.layout)
        facts = {"names": " + ".join(data.names), "crops": len(data), "files": data.fingerprint}
    if options.evaluate_on:
        others = [load_splits(root) for root in options.evaluate_on]
        own = [] if options.data is None else [load_dataset(options.data, options.layout)]
        refuse_repeated([*own, *(splits[0] for splits in others)], "every run is scored on its own data set anyway.")
        names = name_apart([splits[0] for splits in others])
        facts["also scored on"] = ", ".join(
            f"{name} ({len(splits)} splits, {len(splits[0].query)} queries, {len(splits[0].gallery)} gallery crops)"
            for name, splits in zip(names, others, strict=True)
        )
    return facts


def _run_options(run: PlannedRun, options: ExperimentOptions) -> RunOptions:
    folder = options.output / run.folder
    return RunOptions(
        () if run.data is None else (run.data,),
        folder,
        weights=options.weights if run.row.starts_from_weights else None,
        layout=_layout(run, options),
        resume=(folder / CHECKPOINT_NAME).is_file(),
        device=options.device,
        threads=options.threads,
        checkpoint_every=options.checkpoint_every,
        pixel_cache_folder=options.pixel_cache_folder,
        progress=options.progress,
    )


def _layout(run: PlannedRun, options: ExperimentOptions) -> str:
    return options.layout if run.row.cue is None else "auto"  # which is that of drawn people


def _carry_out(run: PlannedRun, options: ExperimentOptions, session: Session) -> RunRecord:
    """Train and score one run. Rank 0 scores; the others return a record without scores."""
    record = RunRecord(run.row.name, run.seed, run.multiply_adds)
    try:
        if run.row.cue is not None:
            _draw_people(run, options, session)
        result = train_in_session(run.recipe, _run_options(run, options), session)
        if session.ranks.rank != 0:
            return record
        embedder = load_embedder(
            result.weights, RuntimeOptions(runtime="torch", precision="fp32", device=session.device.type)
        )
        evaluated = {
            name: (splits, evaluate_embedder(embedder, splits, progress=options.progress))
            for name, splits in _scored_sets(run, options).items()
        }
    except _FAILURES_OF_ONE_ROW as error:
        if session.ranks.world_size > 1:
            raise
        return replace(record, failure=str(error))
    write_queries(options.output / run.folder, _query_tables(evaluated))
    return replace(
        record,
        weights_sha256=embedder.weights_sha256,
        seconds=result.seconds,
        scores=tuple(RunScores.of(name, one) for name, (_, one) in evaluated.items()),
    )


def _draw_people(run: PlannedRun, options: ExperimentOptions, session: Session) -> None:
    """Draw the people of a row's cue, unless an earlier run did; rank 0 draws while the others wait."""
    assert run.data is not None
    if session.ranks.rank == 0:
        plan = drawn_people(run.row, options)
        synthesize(run.data, identities=plan.identities, cue=plan.cue, progress=options.progress)
    barrier(session.ranks)


def _scored_sets(run: PlannedRun, options: ExperimentOptions) -> dict[str, list[Dataset]]:
    """The data sets a run is scored on, by name: the people it left out first, then the further ones.

    The first has the same name in every experiment; the others are told apart from it and from one another.
    """
    assert run.data is not None
    own = load_splits(run.data, DataOptions(layout=_layout(run, options), split_index=0, seed=run.seed))
    (name,), others = name_apart(own[:1]), [load_splits(root) for root in options.evaluate_on]
    _, *names = name_apart([own[0], *(splits[0] for splits in others)])
    return {name: own, **dict(zip(names, others, strict=True))}


def _query_tables(evaluated: Mapping[str, tuple[list[Dataset], EvaluatedSplits]]) -> dict[str, QueryTable]:
    """The scores of the counted queries of all splits of each data set.

    Left out are data sets whose galleries are drawn at random: their queries have no single rank.
    """
    tables = {}
    for name, (datasets, one) in evaluated.items():
        if one.scores.repeats > 1:
            continue
        people, values = [], []
        for dataset, split in zip(datasets, one.splits, strict=True):
            scores = split.query_scores
            counted = scores.is_counted
            people.append(dataset.query.person_ids[counted])
            values.append(np.stack([scores.first_rank[counted] == 1, scores.average_precision[counted]], axis=1))
        tables[name] = QueryTable(np.concatenate(people), np.concatenate(values).astype(np.float64))
    return tables


def _write(table: ExperimentTable, base: Recipe, record: ExperimentRecord, output: Path) -> None:
    """Write the record with its table, and the table as Markdown."""
    rows = summarise(table, record, output)
    write_record(output / RECORD_NAME, record, summary_json(table, base, record, rows))
    with atomic_output(output / TABLE_NAME) as temporary:
        temporary.write_text(markdown(table, base, record, rows), encoding="utf-8")


def _compare_costs(table: ExperimentTable, base: Recipe, record: ExperimentRecord, output: Path) -> ExperimentRecord:
    """Measure the time of a crop for every row, and draw accuracy against cost."""
    record = replace(record, times=measure_crop_times(table, base))
    _write(table, base, record, output)
    assert record.times is not None
    try:
        draw_cost_curve(table, base, summarise(table, record, output), record.times, output / CURVE_NAME)
    except MissingDependencyError as error:
        print(error, file=sys.stderr)
    return record


def _announcement(number: int, run: PlannedRun, runs: Sequence[PlannedRun], record: ExperimentRecord) -> str:
    """Which run begins, and how long it and the ones after it will take, judged by those that are finished."""
    line = f"run {number} of {len(runs)}: {run.row.name}, seed {run.seed}"
    left = seconds_left(runs, record)
    return line if left is None else f"{line}; about {duration(left)} left for all"


def _report(number: int, count: int, run: RunRecord, options: ExperimentOptions) -> None:
    """Say what a run came to; a failure is said even without progress."""
    label = f"run {number} of {count}"
    if run.failure is not None:
        print(f"{label} failed: {run.row}, seed {run.seed}: {run.failure}", file=sys.stderr)
    elif options.progress:
        for one in run.scores:
            scores = f"rank-1 {one.rank1:.4f}, mAP {one.mean_average_precision:.4f}"
            print(f"{label}: {run.row}, seed {run.seed}, on {one.dataset}: {scores}", flush=True)
