"""Running a table: what it leaves, and how it stops, fails, goes on and is refused."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.conftest import TABLE
from tests.training.runs import kill_torchrun, losses, same, torchrun, wait_for_step

from omnireid import evaluate_embedder, load_embedder, load_splits
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import (
    OutputError,
    ResumeError,
    StoppedError,
)
from omnireid.experiments.experiment import Experiment, describe_plan, run_experiment
from omnireid.experiments.options import ExperimentOptions
from omnireid.experiments.results import read_queries
from omnireid.experiments.table import Published, Row
from omnireid.experiments.tables import CUE_STREAMS, PRETRAINING
from omnireid.training.learner import Learner
from omnireid.training.recipes import Recipe


@dataclass(frozen=True)
class Finished:
    experiment: Experiment
    folder: Path
    printed: str


@pytest.fixture(scope="session")
def finished(recipe: Recipe, options: ExperimentOptions) -> Finished:
    """The small table, all of its rows and two seeds, one row of which fails."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        done = run_experiment(TABLE, recipe, options)
    return Finished(done, options.output, out.getvalue())


@pytest.fixture
def copy(finished: Finished, options: ExperimentOptions, tmp_path: Path) -> ExperimentOptions:
    """Options that go on in a copy of the finished folder."""
    return replace(options, output=shutil.copytree(finished.folder, tmp_path / "copy"))


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "experiment.json").read_text())
    return record


def test_every_row_is_run_with_every_seed_and_a_failed_one_does_not_end_the_others(finished: Finished) -> None:
    runs = finished.experiment.record.runs
    order = [("four", 0), ("one", 0), ("broken", 0), ("four", 1), ("one", 1), ("broken", 1)]
    assert [(run.row, run.seed) for run in runs] == order
    assert [run.is_finished for run in runs] == [True, True, False] * 2
    assert set(finished.experiment.failures) == {"broken/seed-0", "broken/seed-1"}
    assert "is not a multiple of --images-per-identity 3" in finished.experiment.failures["broken/seed-0"]
    assert "run 3 of 6 failed: broken, seed 0: --batch-size 4 is not a multiple" in finished.printed
    assert not same(finished.folder / "four/seed-0/last.safetensors", finished.folder / "four/seed-1/last.safetensors")


def test_the_plan_comes_first_and_the_time_left_once_something_was_measured(finished: Finished) -> None:
    lines = finished.printed.splitlines()
    assert lines[0] == "small: Do more streams help?"
    assert "6 of 6 runs are to be done: " in finished.printed
    assert "run 1 of 6: four, seed 0" in lines
    assert any(line.startswith("run 2 of 6: one, seed 0; about ") and line.endswith(" left for all") for line in lines)


def test_the_scores_are_those_of_omnireid_evaluate(finished: Finished, people: Path) -> None:
    weights = finished.folder / "one" / "seed-1" / "last.safetensors"
    embedder = load_embedder(weights, RuntimeOptions(runtime="torch", device="cpu", precision="fp32"))
    evaluated = evaluate_embedder(embedder, load_splits(people))
    run = finished.experiment.record.find("one", 1)
    assert run is not None
    own, other = run.scores
    assert (own.dataset, other.dataset) == ("synthetic", "synthetic (others)")
    assert (own.rank1, own.mean_average_precision) == (other.rank1, other.mean_average_precision)
    assert own.rank1 == evaluated.scores.rank1
    assert own.mean_average_precision == evaluated.scores.mean_average_precision
    assert own.intervals["rank1"] == evaluated.scores.intervals["rank1"]
    queries = read_queries(weights.parent, "synthetic")
    assert queries is not None
    assert queries.values.mean(axis=0).tolist() == pytest.approx([own.rank1, own.mean_average_precision], abs=1e-6)


def test_the_table_has_costs_scores_differences_and_the_published_values(finished: Finished, people: Path) -> None:
    written = (finished.folder / "experiment.md").read_text()
    assert written == finished.experiment.markdown()
    assert "Published values: other crops. A paper. They were not measured here." in written
    assert written.count("| row | parameters | multiply-adds |") == 2
    assert "## Scored on synthetic (others)" in written
    rows = {line.split(" | ")[0].lstrip("| "): line.split(" | ") for line in written.splitlines() if " | " in line}
    assert rows["row"][6] == "mAP less four"
    assert rows["four"][1:4] == ["201,864", "1.4 M", "0 1"]
    assert rows["four"][6:8] == ["–", "–"]
    assert rows["one"][-1] == "86.5 / 67.7, 7.5 M (size not stated) |"
    assert " ± " in rows["one"][5]
    assert "[" in rows["one"][6]
    assert rows["one"][7] in ("higher", "lower", "undecided")
    assert rows["broken"][3:8] == ["FAILED", "–", "–", "–", "–"]
    assert rows["cost"][1] == "630,034"
    assert "- broken, seed 1: --batch-size 4" in written
    assert "INCOMPLETE: no finished run of broken." in written


def test_the_json_has_the_table_and_is_what_the_library_returns(finished: Finished) -> None:
    record = record_of(finished.folder)
    assert record == json.loads(json.dumps(finished.experiment.json()))
    assert (record["table"], record["table_version"]) == ("small", 3)
    four, one, broken, cost = record["summary"]["rows"]
    assert (four["parameters"], four["input"], four["seeds"]) == (201_864, [32, 16], [0, 1])
    assert one["published_percent"] == asdict(Published(86.5, 67.7, 7.5, "size not stated"))
    assert set(one["scores"][0]["differences"]) == {"rank1", "mean_average_precision"}
    assert set(broken["failures"]) == {"0", "1"}
    assert (cost["is_trained"], cost["scores"], cost["seconds"]) == (False, [], None)


def test_a_table_of_costs_times_every_row_and_draws_accuracy_against_cost(
    copy: ExperimentOptions, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = replace(copy, progress=False)
    done = run_experiment(replace(TABLE, compares_costs=True), recipe, quiet)
    assert done.record.times is not None
    times = done.record.times.milliseconds
    assert list(times) == ["four", "one", "broken", "cost"]
    assert times["four"] == times["broken"], "one network at one size is measured once"
    assert len(set(times.values())) == 3
    assert min(times.values()) > 0
    record = record_of(copy.output)
    assert [row["milliseconds"] for row in record["summary"]["rows"]] == list(times.values())
    written = (copy.output / "experiment.md").read_text()
    assert "| row | parameters | multiply-adds | ms | seeds |" in written
    assert f"| cost | 630,034 | 4.4 M | {times['cost']:.2f} |" in written
    drawn = (copy.output / "cost-curve.svg").read_text()
    for text in ("osnet_x0_25_one_stream", "osnet_x0_5", "published (left panel)", "mAP on synthetic (%)"):
        assert f"<!-- {text} -->" in drawn
    again = describe_plan(TABLE, recipe, copy)
    assert "2 of 6 runs are to be done" in again, "the record with times is read back"

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run_experiment(replace(TABLE, compares_costs=True), recipe, quiet)
    assert "Drawing a figure needs matplotlib" in capsys.readouterr().err


def test_finished_runs_are_not_done_again_and_failed_ones_are_tried_again(
    copy: ExperimentOptions, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Learner, "step", None)  # no run takes a step
    before = record_of(copy.output)["runs"]
    run_experiment(TABLE, recipe, replace(copy, progress=False))
    assert record_of(copy.output)["runs"] == before
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("failed: broken") == 2


def test_rows_and_seeds_can_be_added_later(
    finished: Finished, recipe: Recipe, options: ExperimentOptions, tmp_path: Path
) -> None:
    later = replace(options, output=tmp_path / "later", rows=("one",), seeds=(1,), progress=False)
    run_experiment(TABLE, recipe, later)
    assert [(run["row"], run["seed"]) for run in record_of(later.output)["runs"]] == [("one", 1)]
    done = run_experiment(TABLE, recipe, replace(later, rows=("one",), seeds=(0, 1)))
    for seed in (0, 1):
        run, whole = done.record.find("one", seed), finished.experiment.record.find("one", seed)
        assert run is not None
        assert whole is not None
        assert run.scores == whole.scores


def test_a_run_copied_from_another_table_is_scored_and_not_trained_again_unless_it_differs(
    finished: Finished, recipe: Recipe, options: ExperimentOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, "step", None)  # no run takes a step
    other = replace(TABLE, name="other", rows=(Row("first", "osnet_{width}_one_stream"),))
    there = replace(options, output=tmp_path / "other", seeds=(1,), evaluate_on=(), progress=False)
    shutil.copytree(finished.folder / "one" / "seed-1", there.output / "first" / "seed-1")
    run, whole = run_experiment(other, recipe, there).record.find("first", 1), finished.experiment.record.find("one", 1)
    assert run is not None
    assert whole is not None
    assert (run.weights_sha256, run.scores) == (whole.weights_sha256, whole.scores[:1])

    wrong = replace(there, output=tmp_path / "wrong")
    shutil.copytree(finished.folder / "four" / "seed-1", wrong.output / "first" / "seed-1")
    refused = run_experiment(other, recipe, wrong).failures["first/seed-1"]
    assert "osnet_x0_25_one_stream" in refused


def test_an_experiment_that_was_stopped_goes_on_where_it_was(
    finished: Finished, recipe: Recipe, options: ExperimentOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = Learner.step, []

    def stopped_in_the_second_run(self: Learner, batch: Any, number: int) -> Any:
        steps.append(number)
        if len(steps) == 5:
            signal.raise_signal(signal.SIGTERM)
        return step(self, batch, number)

    monkeypatch.setattr(Learner, "step", stopped_in_the_second_run)
    cut = replace(options, output=tmp_path / "cut", rows=("four", "one"), seeds=(0,), progress=False)
    with pytest.raises(StoppedError, match="Stopped by SIGTERM after step 2"):
        run_experiment(TABLE, recipe, cut)
    assert [run["row"] for run in record_of(cut.output)["runs"]] == ["four"]
    run_experiment(TABLE, recipe, cut)
    assert steps == [0, 1, 2, 0, 1, 2]
    for row in ("four", "one"):
        last = f"{row}/seed-0/last.safetensors"
        assert same(cut.output / last, finished.folder / last)


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_weights(
    finished: Finished, people: Path, options: ExperimentOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--device cpu --threads 1 --checkpoint-every 1 --seeds 0 --rows unified-gate one-stream"
    scale = "--epochs 1 --resolutions 32x16@0 --batch-size 4 --warmup-epochs 0 --average 0"
    places = f"--data {people} --output {tmp_path / 'cut'} --pixel-cache-folder {options.pixel_cache_folder}"
    words = ["experiment", "ablation", *f"{flags} {scale} {places}".split()]
    process = subprocess.Popen([sys.executable, "-m", "omnireid", *words], stderr=subprocess.PIPE, text=True)
    wait_for_step(tmp_path / "cut" / "one-stream" / "seed-0", 1, process)
    process.kill()
    process.communicate(timeout=60)
    assert main(words) == 0
    for row, whole in (("unified-gate", "four"), ("one-stream", "one")):
        last = tmp_path / "cut" / row / "seed-0" / "last.safetensors"
        assert same(last, finished.folder / whole / "seed-0" / "last.safetensors")
    assert "| one-stream | 153,632 |" in capsys.readouterr().out


@pytest.mark.slow
def test_two_ranks_killed_in_a_row_go_on_with_it_and_print_one_table(
    people: Path, options: ExperimentOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--device cpu --threads 1 --checkpoint-every 1 --seeds 0 --rows unified-gate one-stream"
    scale = "--epochs 3 --resolutions 32x16@0 --batch-size 4 --warmup-epochs 0 --average 0"
    places = f"--data {people} --output {tmp_path / 'cut'} --pixel-cache-folder {options.pixel_cache_folder}"
    words = ["experiment", "ablation", *f"{flags} {scale} {places}".split()]
    process = subprocess.Popen(torchrun(words), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    row = tmp_path / "cut" / "one-stream" / "seed-0"
    wait_for_step(row, 1, process)
    kill_torchrun(process)
    assert [run["row"] for run in record_of(tmp_path / "cut")["runs"]] == ["unified-gate"]
    again = subprocess.run(torchrun(words), capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert "run 1 of 2" not in again.stdout
    assert again.stdout.count("| one-stream | 153,632 |") == 1
    assert len(losses(row)) == 9
    assert record_of(tmp_path / "cut")["identity"]["world_size"] == 2
    assert main(words) == 2
    assert "ranks: it has 2, started are 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (replace(TABLE, version=4), {}, "holds version 3 of the table small, and asked for is version 4 of small"),
        (replace(TABLE, name="other"), {}, "holds version 3 of the table small, and asked for is version 3 of other"),
        (TABLE, {"learning_rate": 0.5}, "--learning-rate: it has 0.065, asked for is 0.5"),
    ],
)
def test_a_folder_of_another_experiment_is_refused_and_left_alone(
    copy: ExperimentOptions, recipe: Recipe, table: Any, changes: dict[str, Any], message: str
) -> None:
    before = (copy.output / "experiment.json").read_bytes()
    with pytest.raises(ResumeError, match=message):
        run_experiment(table, replace(recipe, **changes), copy)
    assert (copy.output / "experiment.json").read_bytes() == before


def test_a_folder_of_other_data_is_refused(copy: ExperimentOptions, recipe: Recipe) -> None:
    with pytest.raises(ResumeError, match=r"data set \(also scored on\): it has synthetic .*, asked for is None"):
        run_experiment(TABLE, recipe, replace(copy, evaluate_on=()))


def test_a_damaged_record_is_refused(copy: ExperimentOptions, recipe: Recipe) -> None:
    (copy.output / "experiment.json").write_text("{}")
    with pytest.raises(ResumeError, match="Move it away and run the same command again"):
        run_experiment(TABLE, recipe, copy)


def test_the_folder_of_a_single_run_is_refused(options: ExperimentOptions, recipe: Recipe, finished: Finished) -> None:
    with pytest.raises(OutputError, match="seed-0 already holds a training run"):
        run_experiment(TABLE, recipe, replace(options, output=finished.folder / "four" / "seed-0"))


def test_a_plan_writes_nothing_and_knows_the_time_only_where_runs_were_measured(
    options: ExperimentOptions, recipe: Recipe, copy: ExperimentOptions, tmp_path: Path
) -> None:
    new = describe_plan(TABLE, recipe, replace(options, output=tmp_path / "new"))
    assert "no estimate of the time" in new
    assert not (tmp_path / "new").exists()
    begun = describe_plan(TABLE, recipe, copy)
    assert "2 of 6 runs are to be done" in begun
    assert " left, judged by the runs of this folder" in begun
    assert "failed (seed 0), failed (seed 1)" in begun
    assert begun.count("finished (seed 1)") == 2
    assert describe_plan(TABLE, replace(recipe, precision="auto"), copy) == begun
    with pytest.raises(ResumeError, match="--epochs: it has 1, asked for is 2"):
        describe_plan(TABLE, replace(recipe, epochs=2), copy)


@pytest.mark.slow
def test_cues_are_drawn_into_the_folder_and_each_is_compared_with_its_own_single_stream(
    options: ExperimentOptions, recipe: Recipe, tmp_path: Path
) -> None:
    own = replace(options, output=tmp_path / "cues", data=None, evaluate_on=(), seeds=(0,), people=4, progress=False)
    done = run_experiment(CUE_STREAMS, recipe, replace(own, rows=("fine-one-stream", "fine-four-streams")))
    assert not done.failures
    marker = json.loads((own.output / "drawn" / "fine" / "synthetic.json").read_text())
    assert (marker["cue"], marker["identities"]) == ("fine", 4)
    one, four, *others = done.rows
    assert not one.scores[0].differences
    assert four.scores[0].differences["rank1"].over_identities is not None
    assert four.scores[0].differences["rank1"].order == "undecided"  # one seed says nothing about seeds
    assert not any(other.scores for other in others)


@pytest.mark.slow
def test_pretraining_starts_one_row_from_the_given_weights(
    options: ExperimentOptions, recipe: Recipe, untrained: Path, tmp_path: Path
) -> None:
    own = replace(options, output=tmp_path / "start", evaluate_on=(), seeds=(0,), weights=str(untrained))
    done = run_experiment(PRETRAINING, recipe, replace(own, progress=False))
    assert not done.failures
    begun = [json.loads((own.output / row / "seed-0" / "run.json").read_text()) for row in ("scratch", "classifier")]
    assert [run["start"]["weights"] for run in begun] == [None, str(untrained)]
