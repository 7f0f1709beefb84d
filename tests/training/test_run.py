"""Whole runs: what they leave, how they stop and go on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.runs import SMALL, command, losses, same, stop_at_step, tensors, wait_for_step
from torch import nn

from omnireid import evaluate_embedder, load_embedder, load_splits
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import (
    ModelError,
    RankError,
    ResumeError,
)
from omnireid.evaluation.scores import RankingScores
from omnireid.synthetic.dataset import synthesize
from omnireid.training import run as run_module
from omnireid.training.augmentation import Augmentation
from omnireid.training.curves import draw_curves
from omnireid.training.journal import read_journal
from omnireid.training.learner import Learner
from omnireid.training.options import RunOptions, RunResult
from omnireid.training.recipes import Recipe
from omnireid.training.run import train
from omnireid.weights.artefact import read_metadata


def test_a_run_leaves_all_that_its_readers_need(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "draw_curves", draw_curves)
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
    metadata = read_metadata(result.weights)
    assert metadata.preprocessing.height == 32
    assert metadata.training_data == "synthetic"
    assert isinstance(result.scores, RankingScores)
    assert metadata.metrics["synthetic.rank1"] == result.scores.rank1
    best = max(entry["mean_average_precision"] for entry in entries if entry["kind"] == "evaluation")
    assert read_metadata(folder / "best.safetensors").metrics["synthetic.mean_average_precision"] == best


def test_the_log_holds_the_learning_rate_of_each_step(options: RunOptions) -> None:
    train(replace(SMALL, schedule="step", milestones=(1,), learning_rate=0.01), options)
    rates = [entry["learning_rate"] for entry in read_journal(options.output) if entry["kind"] == "step"]
    assert rates == pytest.approx([0.01] * 3 + [0.001] * 3)


def test_the_same_recipe_and_seed_give_the_same_weights_and_another_seed_others(
    options: RunOptions, whole: RunResult
) -> None:
    again = train(SMALL, replace(options, log_every=5, checkpoint_every=1))
    assert same(whole.weights, again.weights)
    other = train(replace(SMALL, seed=1), replace(options, output=options.output.with_name("other")))
    assert not same(whole.weights, other.weights)


def test_small_crops_first_and_large_ones_last(options: RunOptions) -> None:
    result = train(replace(SMALL, resolutions=("32x16@0", "48x24@1")), options)
    assert read_metadata(result.weights).preprocessing.height == 48


def test_two_sources_are_other_people_and_other_cameras(options: RunOptions, people: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    synthesize(second, identities=8, cameras=3, per_camera=2, height=64, seed=1)
    train(replace(SMALL, epochs=1), replace(options, data=(people, second)))
    data = json.loads((options.output / "run.json").read_text())["data"]
    assert (data["crops"], data["identities"]) == (48, 8)


def test_training_on_everything_scores_nothing(options: RunOptions) -> None:
    result = train(replace(SMALL, epochs=1), replace(options, use_test_identities=True))
    assert result.scores is None
    assert json.loads((options.output / "run.json").read_text())["data"]["identities"] == 8
    assert not (options.output / "best.safetensors").exists()


def test_identities_held_out_are_scored_instead_of_the_test_set(options: RunOptions) -> None:
    result = train(replace(SMALL, epochs=1, batch_size=4, distance="cosine"), replace(options, hold_out=0.5))
    assert isinstance(result.scores, RankingScores)
    assert (result.scores.distance, read_metadata(result.weights).distance) == ("cosine", "cosine")
    assert json.loads((options.output / "run.json").read_text())["data"]["identities"] == 2
    assert "held-out.rank1" in read_metadata(result.weights).metrics


def test_the_best_weights_are_chosen_on_other_data_alone(options: RunOptions, others: Path) -> None:
    recipe = replace(SMALL, epochs=4, evaluate_every=1, learning_rate=0.1, average=0.0)
    result = train(recipe, replace(options, use_test_identities=True, evaluate_on=(others,)))
    curve = [entry for entry in read_journal(options.output) if entry["kind"] == "evaluation"]
    best = max(curve, key=lambda entry: entry["mean_average_precision"])
    metrics = read_metadata(options.output / "best.safetensors").metrics
    assert set(metrics) == {"synthetic.rank1", "synthetic.mean_average_precision"}
    assert metrics["synthetic.mean_average_precision"] == best["mean_average_precision"]
    assert isinstance(result.scores, RankingScores)
    assert (result.scores.queries, result.scores.gallery) == (4, 4)  # others' test half
    runtime = RuntimeOptions(runtime="onnxruntime", precision="fp32")
    embedder = load_embedder(options.output / "best.safetensors", runtime)
    again = evaluate_embedder(embedder, load_splits(others)).scores
    assert again.mean_average_precision == pytest.approx(best["mean_average_precision"], abs=1e-6)


def test_of_several_data_sets_the_mean_chooses(options: RunOptions, people: Path, others: Path) -> None:
    recipe = replace(SMALL, epochs=3, evaluate_every=1, learning_rate=0.1, average=0.0)
    result = train(recipe, replace(options, evaluate_on=(people, others)))
    names = (f"synthetic ({people.name})", f"synthetic ({others.name})")
    assert tuple(result.evaluations) == names
    assert result.scores is None  # it would be that of one of them
    curve = [entry for entry in read_journal(options.output) if entry["kind"] == "evaluation"]
    for entry in curve:
        each = [entry[f"{name}.mean_average_precision"] for name in names]
        assert entry["mean_average_precision"] == pytest.approx(np.mean(each))
    best = max(curve, key=lambda entry: entry["mean_average_precision"])
    metrics = read_metadata(options.output / "best.safetensors").metrics
    assert metrics == {name: best[name] for name in metrics}
    assert len(metrics) == 4
    record = json.loads((options.output / "run.json").read_text())["scored_on"]
    assert record == {"names": list(names), "roots": [str(people), str(others)]}


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


def test_a_graph_is_no_start(options: RunOptions, untrained_int8: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(untrained_int8)
    with pytest.raises(ModelError, match=r"w\.onnx is a graph, and a run cannot start from one\. .*--to osnet makes"):
        train(SMALL, replace(options, weights=str(tmp_path / "w.onnx")))


@pytest.mark.parametrize(
    "loss", ["identity sampler", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bnneck", "cosine"))]
)
def test_the_other_losses_and_heads_learn(options: RunOptions, loss: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "identity sampler": {
            "sampler": "identity",
            "images_per_identity": 4,
            "triplet_weight": 1.0,
            "learning_rate": 0.0005,  # at 0.005 the triplet loss swings, on some machines upwards
        },
        "bnneck": {"head": "bnneck", "triplet_weight": 0.5, "triplet_margin": 0.3, "accumulate": 2, "clip_norm": 5.0},
        "cosine": {
            "head": "cosine",
            "cosine_margin": 0.1,
            "precision": "bf16",
            "optimiser": "adamw",
            "learning_rate": 0.002,
        },
    }
    recipe = replace(SMALL, epochs=16, learning_rate=0.005, average=0.0, augmentation=Augmentation())
    train(replace(recipe, **changes[loss]), options)
    curve = losses(options.output)
    assert np.isfinite(curve).all()
    assert np.mean(curve[-6:]) < np.mean(curve[:6])


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_ends_in_the_weights_of_one_that_was_not(
    people: Path, tmp_path: Path, number: signal.Signals
) -> None:
    assert main(command(people, tmp_path / "whole")) == 0
    cut = tmp_path / "cut"
    process = subprocess.Popen(
        [sys.executable, "-m", "omnireid", *command(people, cut)], stderr=subprocess.PIPE, text=True
    )
    wait_for_step(cut, 5, process)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 2)
    if number == signal.SIGTERM:
        assert "Stopped by SIGTERM" in message
        assert "--resume" in message
    assert main(command(people, cut, "--resume")) == 0
    assert same(tmp_path / "whole/last.safetensors", cut / "last.safetensors")
    assert losses(cut) == losses(tmp_path / "whole")


def test_a_finished_run_can_be_gone_on_with_and_stays_what_it_is(options: RunOptions, whole: RunResult) -> None:
    shutil.copytree(whole.weights.parent, options.output)
    again = train(SMALL, replace(options, resume=True))
    assert again.scores is not None
    assert again.scores == whole.scores


def test_a_run_that_torchrun_has_started_again_goes_on_without_being_asked(
    options: RunOptions, whole: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = replace(options, checkpoint_every=2)
    stop_at_step(SMALL, cut, 4, RankError("another rank was lost"))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert same(whole.weights, train(SMALL, cut).weights)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch's own functions
def test_compiled_steps_give_the_curve_of_eager_ones(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    # In float64 and from trained weights: untrained, the network turns a rounding error into another curve in a few
    # steps, and a compiler rounds elsewhere than eager PyTorch does. Traced as for the usual compiler, but without
    # its code generation: on a processor with AVX2 alone that had not ended after nearly five minutes.
    compile_network = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_network(module, backend="aot_eager"))
    recipe = replace(SMALL, learning_rate=1e-4, average=0.0, precision="fp64")
    started = replace(options, weights="osnet_x0_25.market1501")
    train(recipe, started)
    compiled = replace(started, output=options.output.with_name("compiled"), compile=True)
    result = train(recipe, compiled)
    assert losses(compiled.output) == pytest.approx(losses(started.output), abs=1e-4)
    assert read_metadata(result.weights).architecture == "osnet_x0_25"


@pytest.mark.gpu
def test_no_step_waits_for_the_gpu(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    step, watched_steps = Learner.step, []

    def watched(self: Learner, batch: Any, number: int) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            watched_steps.append(number)
            return step(self, batch, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Learner, "step", watched)
    train(replace(SMALL, precision="bf16", epochs=4), replace(options, device="cuda", log_every=4))
    assert watched_steps == list(range(12))  # and none of them raised


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bfloat16_only_where_the_processor_computes_in_it(
    native: bool, expected: str, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnireid.training.precision.has_bfloat16", lambda: native)
    train(replace(SMALL, precision="auto", epochs=1), options)
    assert json.loads((options.output / "run.json").read_text())["recipe"]["precision"] == expected
    monkeypatch.setattr("omnireid.training.precision.has_bfloat16", lambda: not native)
    with pytest.raises(ResumeError, match="--precision"):
        train(replace(SMALL, precision="auto", epochs=1), replace(options, resume=True))
