from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from omnireid.cli import main
from omnireid.experiments.experiment import Experiment
from omnireid.experiments.options import ExperimentOptions
from omnireid.experiments.results import ExperimentRecord, RunRecord
from omnireid.experiments.tables import EXPERIMENT_RECIPE, TABLES
from omnireid.training.run_checkpoint import RunIdentity


def test_list_names_every_table_and_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "--list"]) == 0
    printed = capsys.readouterr().out
    for table in TABLES.values():
        assert f"{table.name}: {table.question}" in printed
        assert f"rows: {', '.join(row.name for row in table.rows)}" in printed


def test_dry_run_shows_the_cost_of_every_row(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = tmp_path / "runs"
    assert main(["experiment", "ablation", "--dry-run", "--epochs", "3", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "osnet_x0_25_full_convolutions      128x64     485,864" in printed
    assert "11 of 11 runs are to be done" in printed
    assert not output.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ablations"], "Did you mean ablation?"),
        (["ablation", "--rows", "one-streams"], "Did you mean one-stream?"),
        (["ablation", "--seeds", "1", "1"], "--seeds must name each seed once"),
        (["ablation"], "give --data FOLDER"),
        (["cues", "--data", "people"], "leave out --data"),
    ],
)
def test_what_cannot_be_run_leaves_with_a_message(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", *words, "--output", str(tmp_path / "runs"), "--threads", "1"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_failed_row_makes_the_command_fail_and_recipe_flags_reach_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []

    def note(table: Any, recipe: Any, options: ExperimentOptions) -> Experiment:
        given.extend([recipe, options])
        run = RunRecord("one-stream", 1, 10, failure="no luck")
        record = ExperimentRecord(table.name, table.version, RunIdentity({}, {}, None, 1), 1, (run,))
        return Experiment(table, recipe, record, ())

    monkeypatch.setattr("omnireid.experiments.experiment.run_experiment", note)
    words = ["--data", "people", "--output", str(tmp_path), "--seeds", "0", "1", "--rows", "one-stream", "addition"]
    assert main(["experiment", "ablation", *words, "--epochs", "4", "--batch-size", "32", "--threads", "1"]) == 2
    recipe, options = given
    assert (recipe.epochs, recipe.batch_size, recipe.model) == (4, 32, EXPERIMENT_RECIPE.model)
    assert (options.seeds, options.rows, options.data) == ((0, 1), ("one-stream", "addition"), Path("people"))
    assert "1 of 1 runs failed: one-stream/seed-1." in capsys.readouterr().err
