"""Whole runs: what they leave, how they stop and go on, and what they refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnireid import load_embedder
from omnireid.cli import main
from omnireid.data.synthetic import synthesize
from omnireid.embedding.artefact import read_artefact
from omnireid.errors import (
    DataError,
    DeviceMemoryError,
    DiskFullError,
    ImageError,
    ModelError,
    NonFiniteLossError,
    OutputError,
    OutputInUseError,
    RankError,
    RecipeError,
    ResumeError,
)
from omnireid.files import sole_writer
from omnireid.training.checkpoints import write_checkpoint
from omnireid.training.journal import read_journal
from omnireid.training.learner import Learner
from omnireid.training.options import RunOptions
from omnireid.training.recipes import Recipe
from omnireid.training.run import train

SMALL = Recipe(
    model="osnet_x0_25",
    epochs=2,
    resolutions=("32x16@0",),
    batch_size=8,
    learning_rate=0.02,
    schedule="cosine",
    crop=0.5,
    erasing=0.3,
    patch=0.3,
    average=0.9,
)
"""24 training crops: three steps an epoch."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("drawn") / "people", identities=8, cameras=3, per_camera=2, height=64)


@pytest.fixture(scope="module", autouse=True)
def _stores(tmp_path_factory: pytest.TempPathFactory) -> None:
    torch.set_num_threads(1)


@pytest.fixture
def options(people: Path, tmp_path: Path) -> RunOptions:
    return RunOptions(
        (people,), tmp_path / "run", device="cpu", log_every=2, store_folder=tmp_path / "stores", progress=False
    )


def tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return read_artefact(path)[0]


def same(one: Path, other: Path) -> bool:
    mine, theirs = tensors(one), tensors(other)
    return mine.keys() == theirs.keys() and all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_journal(folder) if entry["kind"] == "step"]


def test_a_run_leaves_all_that_its_readers_need(options: RunOptions) -> None:
    result = train(replace(SMALL, evaluate_every=1), options)
    folder = options.output
    names = {path.name for path in folder.iterdir()}
    assert {"last.safetensors", "best.safetensors", "checkpoint.safetensors", "run.json", "log.jsonl"} <= names
    assert (folder / "curves.png").stat().st_size > 10_000
    assert list((folder / "tensorboard").iterdir())
    record = json.loads((folder / "run.json").read_text())
    assert Recipe(**record["recipe"]) == replace(SMALL, evaluate_every=1)
    assert record["environment"]["torch"] == torch.__version__
    assert record["data"]["crops"] == 24
    assert record["data"]["identities"] == 4
    assert len(record["data"]["files"]) == 64
    entries = read_journal(folder)
    assert [entry["step"] for entry in entries if entry["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert [entry["step"] for entry in entries if entry["kind"] == "evaluation"] == [3, 6]
    embedder = load_embedder(result.weights)
    assert embedder.metadata.preprocessing.height == 32
    assert embedder.metadata.training_data == "synthetic"
    assert result.scores is not None
    assert embedder.metadata.metrics["synthetic.rank1"] == result.scores.rank1
    best = max(entry["mean_average_precision"] for entry in entries if entry["kind"] == "evaluation")
    assert read_artefact(folder / "best.safetensors")[1].metrics["synthetic.mean_average_precision"] == best


def test_the_log_holds_the_learning_rate_of_each_step(options: RunOptions) -> None:
    train(replace(SMALL, schedule="step", milestones=(1,), learning_rate=0.01), options)
    rates = [entry["learning_rate"] for entry in read_journal(options.output) if entry["kind"] == "step"]
    assert rates == pytest.approx([0.01] * 3 + [0.001] * 3)


def test_the_same_recipe_and_seed_give_the_same_weights_and_another_seed_others(options: RunOptions) -> None:
    train(SMALL, options)
    again = replace(options, output=options.output.with_name("again"), log_every=5, checkpoint_every=1)
    train(SMALL, again)
    assert same(options.output / "last.safetensors", again.output / "last.safetensors")
    other = replace(options, output=options.output.with_name("other"))
    train(replace(SMALL, seed=1), other)
    assert not same(options.output / "last.safetensors", other.output / "last.safetensors")


def test_small_crops_first_and_large_ones_last(options: RunOptions) -> None:
    result = train(replace(SMALL, resolutions=("32x16@0", "48x24@1")), options)
    assert load_embedder(result.weights).metadata.preprocessing.height == 48


def test_two_sources_are_other_people_and_other_cameras(options: RunOptions, people: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    shutil.copytree(people, second)
    train(replace(SMALL, epochs=1), replace(options, data=(people, second)))
    data = json.loads((options.output / "run.json").read_text())["data"]
    assert (data["crops"], data["identities"]) == (48, 8)


def test_training_on_everything_scores_nothing(options: RunOptions) -> None:
    result = train(replace(SMALL, epochs=1), replace(options, use_test_identities=True))
    assert result.scores is None
    assert json.loads((options.output / "run.json").read_text())["data"]["identities"] == 8
    assert not (options.output / "best.safetensors").exists()


def test_identities_held_out_are_scored_instead_of_the_test_set(options: RunOptions) -> None:
    result = train(replace(SMALL, epochs=1, batch_size=4), replace(options, hold_out=0.5))
    assert result.scores is not None
    assert json.loads((options.output / "run.json").read_text())["data"]["identities"] == 2
    assert "held-out.rank1" in load_embedder(result.weights).metadata.metrics


def test_a_run_starts_from_given_weights_with_the_network_frozen_first(options: RunOptions, untrained: Path) -> None:
    recipe = replace(SMALL, frozen_epochs=1, average=0.0, optimiser="adam", amsgrad=True, learning_rate=0.001)
    frozen_only = replace(options, weights=str(untrained), checkpoint_every=1)
    train(recipe, frozen_only)
    moved = tensors(options.output / "last.safetensors")
    start = tensors(untrained)
    assert any(not np.array_equal(moved[name], start[name]) for name in start)
    assert json.loads((options.output / "run.json").read_text())["start"]["sha256"]


def test_weights_of_another_network_are_refused(options: RunOptions, untrained: Path) -> None:
    with pytest.raises(ModelError, match="holds osnet_x0_25, but --model is osnet_x0_5"):
        train(replace(SMALL, model="osnet_x0_5"), replace(options, weights=str(untrained)))


@pytest.mark.parametrize("loss", ["identity sampler", "bnneck", "cosine"])
def test_the_other_losses_and_heads_learn(options: RunOptions, loss: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "identity sampler": {"sampler": "identity", "images_per_identity": 4, "triplet_weight": 1.0},
        "bnneck": {"head": "bnneck", "triplet_weight": 0.5, "triplet_margin": 0.3, "accumulate": 2, "clip_norm": 5.0},
        "cosine": {
            "head": "cosine",
            "cosine_margin": 0.1,
            "precision": "bf16",
            "optimiser": "adamw",
            "learning_rate": 0.002,
        },
    }
    recipe = replace(SMALL, epochs=16, learning_rate=0.005, average=0.0, crop=0.0, erasing=0.0, patch=0.0)
    train(replace(recipe, **changes[loss]), options)
    curve = losses(options.output)
    assert np.isfinite(curve).all()
    assert np.mean(curve[-6:]) < np.mean(curve[:6])


def command(people: Path, output: Path, *more: str) -> list[str]:
    words = "train quick --device cpu --threads 1 --epochs 6 --resolutions 32x16@0 --batch-size 8 --precision fp32"
    flags = f"--warmup-epochs 1 --log-every 1 --checkpoint-every 2 --data {people} --output {output}"
    return [*words.split(), *flags.split(), "--store-folder", str(output.parent / "stores"), *more]


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    log = folder / "log.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if log.exists() and f'"step": {step},' in log.read_text():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"no step {step} in two minutes")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_stopped_ends_in_the_weights_of_one_that_was_not(
    people: Path, tmp_path: Path, number: signal.Signals
) -> None:
    assert main(command(people, tmp_path / "whole")) == 0
    cut = tmp_path / "cut"
    process = subprocess.Popen(
        [sys.executable, "-m", "omnireid", *command(people, cut)], stderr=subprocess.PIPE, text=True
    )
    wait_for_step(cut, 8, process)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 2)
    if number == signal.SIGTERM:
        assert "Stopped by SIGTERM" in message
        assert "--resume" in message
    assert main(command(people, cut, "--resume")) == 0
    assert same(tmp_path / "whole/last.safetensors", cut / "last.safetensors")
    assert losses(cut) == losses(tmp_path / "whole")


def torchrun(words: list[str]) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [sys.executable, *launcher, "-m", "omnireid", *words]


# From weights that know something, in float64: from random ones the network turns a difference of 1e-16 in its sums,
# which any other order of adding makes, into another curve within ten steps.
DISTRIBUTED = (
    *("--synchronise-norms", "--precision", "fp64", "--weights", "osnet_x0_25.market1501", "--epochs", "7"),
    *("--learning-rate", "0.001", "--head-learning-rate", "10"),
)


@pytest.fixture(scope="module")
def two_ranks(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 21 steps by two ranks."""
    folder = tmp_path_factory.mktemp("ranks") / "two"
    done = subprocess.run(
        torchrun(command(people, folder, *DISTRIBUTED)), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_two_ranks_give_the_curve_of_one_process(people: Path, two_ranks: Path, tmp_path: Path) -> None:
    assert main(command(people, tmp_path / "one", *DISTRIBUTED)) == 0
    one, two = losses(tmp_path / "one"), losses(two_ranks)
    assert len(one) == 21
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-4


def test_ranks_that_were_killed_go_on_to_the_same_weights(people: Path, two_ranks: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    process = subprocess.Popen(
        torchrun(command(people, cut, *DISTRIBUTED)), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_step(cut, 9, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    again = subprocess.run(
        torchrun(command(people, cut, *DISTRIBUTED, "--resume")),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert same(two_ranks / "last.safetensors", cut / "last.safetensors")


def test_another_number_of_ranks_is_refused(
    people: Path, two_ranks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(two_ranks, copy)
    assert main(command(people, copy, *DISTRIBUTED, "--resume")) == 2
    assert "ranks: it has 2, started are 1" in capsys.readouterr().err


def rank_one(launcher: int) -> int:
    """The process of rank 1, a child of torchrun."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found = [int(child) for child in children if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes()]
    assert len(found) == 1
    return found[0]


def test_a_rank_that_dies_ends_the_run_with_a_message(people: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    words = torchrun(command(people, cut, *DISTRIBUTED, "--epochs", "4000"))
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_step(cut, 3, process)
    os.kill(rank_one(process.pid), signal.SIGKILL)
    _, message = process.communicate(timeout=90)
    assert process.returncode != 0
    assert "exitcode: -9" in message
    assert (cut / "checkpoint.safetensors").exists()


def test_after_the_loss_of_a_rank_torchrun_goes_on_to_the_same_weights(
    people: Path, two_ranks: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    words = torchrun(command(people, cut, *DISTRIBUTED))
    words[3:3] = ["--max-restarts", "1", "--monitor-interval", "0.1"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_step(cut, 9, process)
    os.kill(rank_one(process.pid), signal.SIGKILL)
    _, message = process.communicate(timeout=180)
    assert process.returncode == 0, message
    assert "exitcode: -9" in message
    assert same(two_ranks / "last.safetensors", cut / "last.safetensors")


def test_a_run_that_torchrun_has_started_again_goes_on_without_being_asked(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(SMALL, options)
    cut = replace(options, output=options.output.with_name("cut"), checkpoint_every=2)
    step = Learner.step

    def lost_at_the_fourth(self: Learner, batch: Any, number: int) -> Any:
        if number == 4:
            raise RankError("another rank was lost")
        return step(self, batch, number)

    monkeypatch.setattr(Learner, "step", lost_at_the_fourth)
    with pytest.raises(RankError):
        train(SMALL, cut)
    monkeypatch.undo()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    train(SMALL, cut)
    assert same(options.output / "last.safetensors", cut.output / "last.safetensors")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch's own functions
def test_compiled_steps_give_the_curve_of_eager_ones(options: RunOptions) -> None:
    recipe = replace(SMALL, learning_rate=1e-4, average=0.0)
    train(recipe, options)
    compiled = replace(options, output=options.output.with_name("compiled"), compile=True)
    result = train(recipe, compiled)
    assert losses(compiled.output) == pytest.approx(losses(options.output), abs=0.05)
    assert load_embedder(result.weights).metadata.architecture == "osnet_x0_25"


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(options: RunOptions) -> None:
    train(SMALL, options)
    before = (options.output / "checkpoint.safetensors").read_bytes()
    broken = replace(options, output=options.output.with_name("broken"), checkpoint_every=1, log_every=1)
    with pytest.raises(
        NonFiniteLossError, match=r"not finite at step \d+ .*nonfinite-batch-rank0\.safetensors.*--clip"
    ):
        train(replace(SMALL, learning_rate=1e9, average=0.0), broken)
    from safetensors.numpy import load_file

    kept = load_file(broken.output / "nonfinite-batch-rank0.safetensors")
    assert kept["images"].shape == (8, 3, 32, 16)
    assert len(kept["crops"]) == len(kept["identities"]) == 8
    assert any("not finite" in str(entry.get("event")) for entry in read_journal(broken.output))
    assert (options.output / "checkpoint.safetensors").read_bytes() == before


def test_a_run_that_is_another_one_is_not_gone_on_with(options: RunOptions, tmp_path: Path) -> None:
    train(SMALL, options)
    others = synthesize(tmp_path / "others", identities=6, cameras=3, per_camera=2, height=64, seed=5)
    resumed = replace(options, data=(others,), resume=True)
    with pytest.raises(ResumeError, match=r"(?s)--erasing: it has 0.3, asked for is 0.1.*data set \(crops\)"):
        train(replace(SMALL, erasing=0.1, batch_size=8), resumed)


def test_a_finished_run_can_be_gone_on_with_and_stays_what_it_is(options: RunOptions) -> None:
    first = train(SMALL, options)
    again = train(SMALL, replace(options, resume=True))
    assert again.scores is not None
    assert first.scores is not None
    assert again.scores.mean_average_precision == first.scores.mean_average_precision


def test_a_folder_with_a_run_is_not_overwritten(options: RunOptions) -> None:
    train(replace(SMALL, epochs=1), options)
    with pytest.raises(OutputError, match="holds a run already. Go on with it by --resume"):
        train(replace(SMALL, epochs=1), options)


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
        ({"sampler": "identity", "images_per_identity": 3}, "no multiple of --images-per-identity 3"),
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
            monkeypatch.setattr("omnireid.training.checkpoints.atomic_output", _full)
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


@pytest.mark.gpu
def test_no_step_waits_for_the_gpu(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Learner.step

    def watched(self: Learner, batch: Any, number: int) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(self, batch, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Learner, "step", watched)
    train(replace(SMALL, precision="bf16", epochs=4), replace(options, device="cuda", log_every=4))
