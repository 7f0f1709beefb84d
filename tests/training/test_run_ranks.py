"""Runs of two ranks: the curve of one process, a rank that dies, and going on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.training.runs import command, kill_torchrun, losses, ranks_of, same, torchrun, wait_for_step

from omnireid import RankingOptions, RuntimeOptions, evaluate_embedder, load_dataset, load_embedder
from omnireid.cli import main
from omnireid.weights.artefact import read_artefact

# From weights that know something, in float64: from random ones the network turns a difference of 1e-16 in its sums,
# which any other order of adding makes, into another curve within ten steps.
DISTRIBUTED = (
    *("--synchronise-norms", "--precision", "fp64", "--weights", "osnet_x0_25.market1501"),
    *("--learning-rate", "0.001", "--head-learning-rate", "10"),
)


def scored_on(*roots: Path) -> list[str]:
    return [word for root in roots for word in ("--evaluate-on", str(root))]


@pytest.fixture(scope="module")
def two_ranks(people: Path, others: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps by two ranks, scored on two data sets."""
    folder = tmp_path_factory.mktemp("ranks") / "two"
    words = command(people, folder, *DISTRIBUTED, *scored_on(people, others))
    done = subprocess.run(torchrun(words), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_ranks_give_the_curve_of_one_process(people: Path, others: Path, two_ranks: Path, tmp_path: Path) -> None:
    assert main(command(people, tmp_path / "one", *DISTRIBUTED, *scored_on(people, others))) == 0
    one, two = losses(tmp_path / "one"), losses(two_ranks)
    assert len(one) == 12
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-4
    mine, theirs = (read_artefact(folder / "best.safetensors")[1].metrics for folder in (tmp_path / "one", two_ranks))
    assert len(mine) == 4
    assert mine == pytest.approx(theirs, abs=0.02)


@pytest.mark.slow
def test_the_scores_of_ranks_whose_norms_differ_are_those_of_the_weights_they_write(
    people: Path, tmp_path: Path
) -> None:
    words = [word for word in DISTRIBUTED if word != "--synchronise-norms"]
    folder = tmp_path / "apart"
    done = subprocess.run(
        torchrun(command(people, folder, *words, "--epochs", "2", *scored_on(people))),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    logged = read_artefact(folder / "last.safetensors")[1].metrics
    embedder = load_embedder(folder / "last.safetensors", RuntimeOptions(precision="fp32"))
    scores = evaluate_embedder(embedder, [load_dataset(people)], RankingOptions(distance="euclidean")).scores
    found = next(value for name, value in logged.items() if name.endswith("mean_average_precision"))
    assert found == pytest.approx(scores.mean_average_precision, abs=1e-3)


@pytest.mark.slow
def test_ranks_that_were_killed_go_on_to_the_same_weights(people: Path, two_ranks: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    process = subprocess.Popen(torchrun(command(people, cut, *DISTRIBUTED)), stderr=subprocess.PIPE, text=True)
    wait_for_step(cut, 5, process)
    kill_torchrun(process)
    assert len(losses(cut)) < 12
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


@pytest.mark.slow  # test_distributed.py sees what the rank that is left says
def test_a_rank_that_dies_ends_the_run_with_a_message(people: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    words = torchrun(command(people, cut, *DISTRIBUTED, "--epochs", "4000"))
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_step(cut, 3, process)
    os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
    _, message = process.communicate(timeout=90)
    assert process.returncode != 0
    assert "exitcode: -9" in message
    assert (cut / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_after_the_loss_of_a_rank_torchrun_goes_on_to_the_same_weights(
    people: Path, two_ranks: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    words = torchrun(command(people, cut, *DISTRIBUTED))
    words[3:3] = ["--max-restarts", "1", "--monitor-interval", "0.1"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_step(cut, 5, process)
    os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
    _, message = process.communicate(timeout=180)
    assert process.returncode == 0, message
    assert "exitcode: -9" in message
    assert same(two_ranks / "last.safetensors", cut / "last.safetensors")
