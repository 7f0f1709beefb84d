"""The runs of an experiment, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from omnireid.data.training_data import load_training_data
from omnireid.errors import SettingError
from omnireid.experiments.options import ExperimentOptions
from omnireid.experiments.table import ExperimentTable, Row
from omnireid.models.zoo import find_architecture
from omnireid.synthetic.plan import Plan, count_splits, planned_crops
from omnireid.training.recipes import Recipe

DRAWN_FOLDER = "drawn"
"""Name, in an experiment's folder, of the folder with the drawn people, one data set for each cue."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: a row of the table with one seed.

    Attributes:
        row: The row.
        seed: Seed of the run.
        recipe: The run's whole recipe.
        data: Folder or manifest to learn from; it need not exist yet if it is drawn. None if no data was given.
        crops: Number of crops to learn from; None without data.
    """

    row: Row
    seed: int
    recipe: Recipe
    data: Path | None
    crops: int | None

    @property
    def folder(self) -> str:
        """The run's folder, relative to the experiment's."""
        return f"{self.row.name}/seed-{self.seed}"

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the forward passes over all training crops; without data, over one crop in each epoch.

        Training computes about three times as many, since each step also goes backwards.
        """
        sizes = [self.recipe.timetable.resolution_at(epoch) for epoch in range(self.recipe.epochs)]
        crop = sum(count_network_multiply_adds(self.recipe.model, size.height, size.width) for size in sizes)
        return crop * (1 if self.crops is None else self.crops)


def plan_runs(table: ExperimentTable, base: Recipe, options: ExperimentOptions) -> list[PlannedRun]:
    """List the runs of the chosen rows, all rows with one seed before any with the next.

    Raises:
        SettingError: Data or weights that the table needs are missing, or some are given that it does not use.
        DataError: The data set cannot be read.
    """
    rows = table.select(options.rows)
    _check_inputs(table, rows, base, options)
    count = None
    if options.data is not None:
        count = len(load_training_data([options.data], layout=options.layout))
    runs = []
    for seed in options.seeds:
        for row in rows:
            if not row.is_trained:
                continue
            data, crops = options.data, count
            if row.cue is not None:
                data = options.output / DRAWN_FOLDER / row.cue
                crops = count_splits(planned_crops(drawn_people(row, options)))["train"]
            runs.append(PlannedRun(row, seed, row.recipe_from(base, seed), data, crops))
    return runs


def drawn_people(row: Row, options: ExperimentOptions) -> Plan:
    """The people that a row with a cue learns from and is scored on."""
    assert row.cue is not None
    return Plan(identities=options.people, cue=row.cue)


def row_size(row: Row, base: Recipe) -> tuple[int, int]:
    """Height and width of the last input size of a row, in pixels; its costs are counted there."""
    last = row.recipe_from(base, 0).timetable.resolutions[-1]
    return last.height, last.width


@cache
def count_network_multiply_adds(name: str, height: int, width: int) -> int:
    """Count the multiply-adds of a network for one image of any size; see `omnireid.models.complexity`."""
    architecture = find_architecture(name)
    if (height, width) == (256, 128):
        return architecture.multiply_adds
    from omnireid.models.complexity import count_multiply_adds

    return count_multiply_adds(architecture.build(None, None), height, width)


def _check_inputs(table: ExperimentTable, rows: Sequence[Row], base: Recipe, options: ExperimentOptions) -> None:
    if base.seed:
        raise SettingError(f"--seed {base.seed} has no effect here: name the seeds of an experiment with --seeds.")
    if base.task != "reidentify":
        raise SettingError(f"--task {base.task} is not what an experiment learns: leave it out.")
    if base.needs_teacher:
        raise SettingError("An experiment has no teacher: leave --teacher-weight and --graph-weight at 0.")
    if table.draws_people and options.data is not None:
        raise SettingError(f"The table {table.name} draws the people that it learns from: leave out --data.")
    if options.weights is not None and not table.starts_from_weights:
        raise SettingError(f"Every row of the table {table.name} starts from random weights: leave out --weights.")
    for row in rows:
        find_architecture(row.recipe_from(base, 0).model)


def check_complete(table: ExperimentTable, rows: Sequence[Row], options: ExperimentOptions) -> None:
    """Check that there is everything that the runs need, which a plan of their costs does not.

    Raises:
        SettingError: The data, the further data sets or the starting weights are missing.
    """
    if options.data is None and not table.draws_people:
        raise SettingError(f"The table {table.name} needs a data set to learn from: give --data FOLDER.")
    if table.needs_other_data and not options.evaluate_on:
        raise SettingError(
            f"The rows of the table {table.name} are scored on data sets that they did not learn from: name them with "
            "--evaluate-on FOLDER, and several with --evaluate-on ONE OTHER."
        )
    if options.weights is None and any(row.starts_from_weights for row in rows):
        raise SettingError(
            f"The table {table.name} starts a row from trained weights: train some with 'omnireid train classify "
            "--data IMAGES --output CLASSIFIER', and give --weights CLASSIFIER/last.safetensors."
        )
