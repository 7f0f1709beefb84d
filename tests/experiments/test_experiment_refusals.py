"""An experiment whose table, options or inputs cannot be used: refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.conftest import TABLE

from omnireid.errors import DataNotFoundError, SettingError, WeightsNotFoundError
from omnireid.experiments.experiment import run_experiment
from omnireid.experiments.options import ExperimentOptions
from omnireid.experiments.tables import CROSS_DOMAIN, CUE_STREAMS, PRETRAINING
from omnireid.training.recipes import Recipe


@pytest.mark.parametrize(
    ("table", "changes", "recipe_changes", "message"),
    [
        (TABLE, {"rows": ("for",)}, {}, "no row 'for'. Did you mean four?"),
        (TABLE, {"rows": ("one", "one")}, {}, "names a row twice"),
        (TABLE, {"rows": ("cost",)}, {}, "None of these rows is trained"),
        (TABLE, {"data": None}, {}, "needs a data set to learn from: give --data FOLDER"),
        (TABLE, {"weights": "w"}, {}, "starts from random weights: leave out --weights"),
        (TABLE, {}, {"model": "osnet_ain_x0_25"}, "--model osnet_ain_x0_25 is no plain OSNet"),
        (TABLE, {}, {"seed": 1}, "--seed 1 has no effect here"),
        (TABLE, {}, {"teacher_weight": 1.0}, "has no teacher"),
        (CUE_STREAMS, {}, {}, "draws the people that it learns from: leave out --data"),
        (CROSS_DOMAIN, {"evaluate_on": ()}, {}, "name them with --evaluate-on"),
        (PRETRAINING, {}, {}, "train some with 'omnireid train classify"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    options: ExperimentOptions,
    recipe: Recipe,
    tmp_path: Path,
    table: Any,
    changes: dict[str, Any],
    recipe_changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(SettingError, match=message):
        run_experiment(table, replace(recipe, **recipe_changes), replace(options, output=tmp_path / "new", **changes))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("table", "changes", "error"),
    [
        (PRETRAINING, {"weights": "absent.safetensors"}, WeightsNotFoundError),
        (CROSS_DOMAIN, {"evaluate_on": (Path("absent"),)}, DataNotFoundError),
    ],
)
def test_inputs_that_are_not_there_leave_no_folder(
    options: ExperimentOptions, recipe: Recipe, tmp_path: Path, table: Any, changes: dict[str, Any], error: Any
) -> None:
    with pytest.raises(error, match="absent"):
        run_experiment(table, recipe, replace(options, output=tmp_path / "new", **changes))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (0, 1, 0)}, "name each seed once, and at least one; got 0 1 0"),
        ({"seeds": ()}, "got none"),
        ({"seeds": (-1,)}, "must be 0 or above"),
        ({"people": 3}, "--people must be at least 4"),
        ({"threads": 0}, "--threads must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ExperimentOptions(**changes)
