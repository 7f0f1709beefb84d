"""``omnireid experiment``: many training runs, and the table that they make."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import tyro

from omnireid.commands.options import prepare_process, settle_threads
from omnireid.errors import TrainingError
from omnireid.experiments.options import RECORD_NAME, TABLE_NAME, ExperimentOptions
from omnireid.experiments.tables import EXPERIMENT_RECIPE, TABLES, find_table
from omnireid.training.recipes import Recipe

_DEFAULTS = ExperimentOptions()


def experiment(
    name: tyro.conf.Positional[str] = "",
    *,
    run: ExperimentOptions = _DEFAULTS,
    recipe: Recipe = EXPERIMENT_RECIPE,
    list_tables: Annotated[bool, tyro.conf.arg(name="list")] = False,
    dry_run: bool = False,
) -> None:
    """Make a table of many training runs: the paper's ablation, its baselines, its widths and resolutions, and others.

    Every row is trained and scored once with each seed. The same command goes on with what is missing, also after a
    kill. The output folder gets the table as experiment.md and experiment.json, with parameters, multiply-adds, rank-1
    and mAP with 95 % intervals, seconds, and the values that the paper reports.

    Example: omnireid experiment ablation --data Market-1501-v15.09.15 --output runs/ablation --seeds 0 1

    Example: omnireid experiment cues --output runs/cues --dry-run

    Args:
        name: Name of the table; --list shows all.
        run: What is run, and how.
        recipe: The recipe that all rows share. A row changes some of its values, and takes only the width of --model
            or, in baselines and width-resolution, a network of its own.
        list_tables: Show all tables and their rows, and run nothing.
        dry_run: Show the runs and their cost, and run nothing.
    """
    if list_tables:
        print(_list_tables())
        return
    table = find_table(name)
    from omnireid.embedding.torch_runtime import require_torch

    prepare_process()
    require_torch()
    from omnireid.experiments.experiment import describe_plan, run_experiment

    if dry_run:
        print(describe_plan(table, recipe, run))
        return
    run = replace(run, threads=settle_threads(run.threads, run.device, run.output / RECORD_NAME, resume=True))
    done = run_experiment(table, recipe, run)
    from omnireid.training.distributed import find_ranks

    if find_ranks().rank != 0:
        return
    print(done.markdown())
    print(f"The table is in {run.output / TABLE_NAME}, and with all runs in {run.output / RECORD_NAME}.")
    if done.failures:
        raise TrainingError(
            f"{len(done.failures)} of {len(done.record.runs)} runs failed: {', '.join(done.failures)}. Their reasons "
            "are in the table. The same command tries them again."
        )


def _list_tables() -> str:
    """Every table with its question and its rows."""
    return "\n\n".join(
        f"{table.name}: {table.question}\n  rows: {', '.join(row.name for row in table.rows)}"
        for table in TABLES.values()
    )
