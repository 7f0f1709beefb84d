"""What a run refuses or ends with, and what it keeps then."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.runs import SMALL

from omnireid.cli import main
from omnireid.errors import (
    DataError,
    DeviceMemoryError,
    DiskFullError,
    ImageError,
    ModelError,
    NonFiniteLossError,
    OutputError,
    OutputInUseError,
    RecipeError,
    ResumeError,
    SettingError,
)
from omnireid.files import sole_writer
from omnireid.synthetic.dataset import synthesize
from omnireid.training.augmentation import Augmentation
from omnireid.training.journal import read_journal
from omnireid.training.learner import Learner
from omnireid.training.options import RunOptions, RunResult
from omnireid.training.run import train
from omnireid.training.run_checkpoint import write_checkpoint


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(options: RunOptions) -> None:
    broken = replace(options, checkpoint_every=1, log_every=1)
    with pytest.raises(
        NonFiniteLossError, match=r"not finite at step \d+ .*nonfinite-batch-rank0\.safetensors.*--clip"
    ):
        train(replace(SMALL, learning_rate=1e9, average=0.0), broken)
    from safetensors.numpy import load_file

    kept = load_file(broken.output / "nonfinite-batch-rank0.safetensors")
    assert kept["images"].shape == (8, 3, 32, 16)
    assert len(kept["crops"]) == len(kept["identities"]) == 8
    assert any("not finite" in str(entry.get("event")) for entry in read_journal(broken.output))


def test_a_network_of_no_such_name_is_refused_before_the_data_is_read(options: RunOptions, tmp_path: Path) -> None:
    nowhere = replace(options, data=(tmp_path / "nowhere",), output=tmp_path / "none")
    with pytest.raises(
        ModelError, match=r"No model 'osnet_x0_25-two-streams'\. Did you mean osnet_x0_25_two_streams\?"
    ):
        train(replace(SMALL, model="osnet_x0_25-two-streams"), nowhere)
    assert not nowhere.output.exists()


def test_a_run_that_is_another_one_is_not_gone_on_with(options: RunOptions, whole: RunResult, tmp_path: Path) -> None:
    shutil.copytree(whole.weights.parent, options.output)
    others = synthesize(tmp_path / "others", identities=6, cameras=3, per_camera=2, height=64, seed=5)
    resumed = replace(options, data=(others,), resume=True)
    with pytest.raises(ResumeError, match=r"(?s)--erasing: it has 0.3, asked for is 0.1.*data set \(crops\)"):
        train(replace(SMALL, augmentation=Augmentation(crop=0.5, erasing=0.1, patch=0.3)), resumed)


def test_a_run_that_is_scored_on_something_else_is_not_gone_on_with(options: RunOptions, others: Path) -> None:
    first = replace(options, evaluate_on=(others,))
    train(replace(SMALL, epochs=1), first)
    with pytest.raises(ResumeError, match=r"--evaluate-on: it is scored on synthetic \(\w{8}…\), asked for is synth"):
        train(replace(SMALL, epochs=1), replace(options, resume=True))
    assert train(replace(SMALL, epochs=1), replace(first, resume=True)).scores is not None


def test_what_a_run_learns_from_does_not_choose_its_best_weights(
    options: RunOptions, people: Path, others: Path, tmp_path: Path
) -> None:
    everything = replace(options, use_test_identities=True)
    shutil.copytree(people, tmp_path / "copy")
    for root in (people, tmp_path / "copy"):
        with pytest.raises(DataError, match=r"24 of 24 pictures of synthetic, .* among those it learns from \("):
            train(SMALL, replace(everything, evaluate_on=(root,)))
    with pytest.raises(DataError, match=r"pictures of synthetic, .* among those it learns from \("):
        train(SMALL, replace(options, data=(people, people / "bounding_box_test")))
    with pytest.raises(DataError, match="was given twice.*its score would count twice in the mean"):
        train(SMALL, replace(options, evaluate_on=(others, others / ".." / others.name)))
    with pytest.raises(SettingError, match="Leave one of the two out"):
        replace(options, hold_out=0.5, evaluate_on=(others,))
    with pytest.raises(SettingError, match="evaluate_on must be a tuple of paths; got"):
        replace(options, evaluate_on=others)  # type: ignore[arg-type]


def test_data_without_queries_is_nothing_to_score_on(options: RunOptions, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.jpg").touch()
    (tmp_path / "own" / "manifest.csv").write_text("path,person_id,camera_id,split\na.jpg,1,1,train\n")
    with pytest.raises(DataError, match="own in .* has no query or no gallery.*another --evaluate-on"):
        train(SMALL, replace(options, evaluate_on=(tmp_path / "own",)))


def test_neither_a_run_nor_the_weights_it_starts_from_or_imitates_are_overwritten(options: RunOptions) -> None:
    trained = train(replace(SMALL, epochs=1), options).weights
    with pytest.raises(OutputError, match="already holds a run. Resume it with --resume"):
        train(replace(SMALL, epochs=1), options)
    start = options.output.with_name("start") / trained.name
    start.parent.mkdir()
    start.write_bytes(trained.read_bytes())
    into_itself = replace(options, output=start.parent, teacher_cache_folder=start.parent / "teachers")
    for recipe, changed in (
        (SMALL, replace(into_itself, weights=str(start))),
        (replace(SMALL, teacher_weight=1.0), replace(into_itself, teacher=str(start))),
    ):
        with pytest.raises(OutputError, match=r"last\.safetensors: it is an input of this command"):
            train(replace(recipe, epochs=1), changed)
    assert start.read_bytes() == trained.read_bytes()


def test_nothing_to_go_on_with(options: RunOptions) -> None:
    with pytest.raises(ResumeError, match="Start the run without --resume"):
        train(SMALL, replace(options, resume=True))


def test_a_folder_in_use_is_refused(options: RunOptions) -> None:
    with sole_writer(options.output / "run.json"), pytest.raises(OutputInUseError, match="Another process"):
        train(SMALL, options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 64}, "larger than the data, which has 24"),
        ({"sampler": "identity", "images_per_identity": 1}, "A batch of 8 identities, but the data has 4"),
        ({"sampler": "identity", "images_per_identity": 3}, "not a multiple of --images-per-identity 3"),
    ],
)
def test_a_recipe_that_does_not_fit_the_data(options: RunOptions, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        train(replace(SMALL, **changes), options)


def test_one_identity_is_not_enough(options: RunOptions, tmp_path: Path) -> None:
    alone = synthesize(tmp_path / "alone", identities=2, cameras=2, per_camera=4, height=64)
    with pytest.raises(DataError, match="identit"):
        train(SMALL, replace(options, data=(alone,)))


def test_a_corrupt_crop_stops_the_decoding_and_names_itself(options: RunOptions, people: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(people, damaged)
    crop = sorted((damaged / "bounding_box_train").iterdir())[7]
    crop.write_bytes(crop.read_bytes()[:200])
    with pytest.raises(ImageError, match=re.escape(crop.name)):
        train(SMALL, replace(options, data=(damaged,)))
    assert not list((tmp_path / "stores").glob("*.npy"))


def test_a_device_without_memory_says_what_to_try(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "step", fail)
    with pytest.raises(DeviceMemoryError, match=r"8 crops of 32×16 .*--accumulate 2"):
        train(SMALL, options)


def test_a_full_disk_at_a_checkpoint_keeps_the_one_before(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def full_at_the_third(path: Path, *rest: Any) -> None:
        if len(written) == 2:
            monkeypatch.setattr("omnireid.training.run_checkpoint.atomic_output", _full)
        written.append(path)
        write_checkpoint(path, *rest)

    monkeypatch.setattr("omnireid.training.loop.write_checkpoint", full_at_the_third)
    with pytest.raises(DiskFullError, match="No space left"):
        train(SMALL, replace(options, checkpoint_every=1))
    monkeypatch.undo()
    assert train(SMALL, replace(options, resume=True)).scores is not None


def _full(path: Path) -> Any:
    from omnireid.files import output_error

    raise output_error(OSError(28, "No space left on device"), path)


def test_no_data_and_unknown_values_leave_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "quick", "--output", str(tmp_path / "run")]) == 2
    assert "give --data" in capsys.readouterr().err
    assert main(["train", "quick", "--output", str(tmp_path / "run"), "--data", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["threads", "checkpoint_every", "log_every"])
def test_numbers_below_one(options: RunOptions, name: str) -> None:
    changes: dict[str, Any] = {name: 0}
    with pytest.raises(SettingError, match=f"--{name.replace('_', '-')} must be at least 1; got 0"):
        replace(options, **changes)
