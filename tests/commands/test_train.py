from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omnireid.cli import main
from omnireid.training.augmentation import Augmentation
from omnireid.training.named_recipes import QUICK
from omnireid.training.options import RunOptions, RunResult
from omnireid.training.recipes import Recipe
from omnireid.training.run_checkpoint import RunIdentity
from omnireid.training.split_results import SplitResults, SplitRun


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, RunOptions]]:
    """The runs that the command starts; they do nothing."""
    runs: list[tuple[Recipe, RunOptions]] = []

    def note(recipe: Recipe, options: RunOptions) -> RunResult:
        runs.append((recipe, options))
        return RunResult(options.output / "last.safetensors", {}, 1.0)

    monkeypatch.setattr("omnireid.training.run.train", note)
    return runs


def command(*words: str) -> list[str]:
    return ["train", "quick", "--data", "people", "--output", "run", *words]


def test_the_number_of_epochs_alone_shortens_a_run(started: list[Any]) -> None:
    assert main(command("--epochs", "1")) == 0
    [(recipe, options)] = started
    assert recipe.timetable.resolution_at(0).height == 96
    assert recipe.timetable.warmup_epochs == 0.05
    assert options == RunOptions((Path("people"),), Path("run"), threads=options.threads)


def test_epochs_and_moments_that_are_given_are_taken_as_they_are(started: list[Any]) -> None:
    words = ("--resolutions", "64x32@0", "96x48@5", "--milestones", "3", "5/10", "--warmup-epochs", "1.5")
    assert main(command("--epochs", "8", *words, "--frozen-epochs", "2")) == 0
    timetable = started[0][0].timetable
    assert [size.first_epoch for size in timetable.resolutions] == [0, 5]
    assert timetable.milestones == (3, 4)
    assert (timetable.warmup_epochs, timetable.frozen_epochs) == (1.5, 2)


def test_augmentation_has_flags_of_its_own(started: list[Any]) -> None:
    assert main(command("--flip", "0", "--erasing", "0.3", "--erasing-area", "0.1", "0.2", "--crop-scale", "1.5")) == 0
    wanted = Augmentation(flip=0, crop=QUICK.augmentation.crop, crop_scale=1.5, erasing=0.3, erasing_area=(0.1, 0.2))
    assert started[0][0].augmentation == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--flip", "2"), "--flip must lie between 0 and 1; got 2.0."),
        (("--warmup-epochs", "half"), "--warmup-epochs 'half' cannot be read"),
        (("--warmup-epochs", "40"), "--warmup-epochs 40 leaves none of the 40 epochs at the full rate."),
        (("--log-every", "0"), "--log-every must be at least 1; got 0."),
    ],
)
def test_settings_out_of_range_leave_with_a_message(
    started: list[Any], words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(*words)) == 2
    assert message in capsys.readouterr().err
    assert not started


def test_every_split_continues_with_the_threads_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[RunOptions] = []

    def note(recipe: Recipe, options: RunOptions) -> SplitResults:
        given.append(options)
        identity = RunIdentity(recipe.json(), {}, None, 1)
        return SplitResults("grid", "w", (SplitRun("split-00", (0,), failure="no space"),), identity, 7)

    monkeypatch.setattr("omnireid.training.splits.train_every_split", note)
    monkeypatch.delenv("OMP_NUM_THREADS")
    (tmp_path / "splits.json").write_text(json.dumps({"threads": 7}))
    words = ("--every-split", "--resume", "--output", str(tmp_path), "--data", "people")
    assert main(["train", "quick", *words]) == 2
    assert [options.threads for options in given] == [7]
    printed = capsys.readouterr()
    assert "split-00 FAILED: no space" in printed.out
    assert "1 of 1 runs failed: split-00" in printed.err
