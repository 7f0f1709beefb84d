"""Runs over all splits of a data set: who is learned from, what is scored, and how they stop, fail and go on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.data import fabrication
from tests.training.runs import SMALL, same, wait_for_step

from omnireid import evaluate_embedder, load_embedder, load_splits
from omnireid.cli import main
from omnireid.data.training_data import load_training_data
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import DataError, OutputError, ResumeError, SettingError
from omnireid.training import run as run_module
from omnireid.training import splits as splits_module
from omnireid.training.learner import Learner
from omnireid.training.options import RunOptions
from omnireid.training.split_results import SplitResults, read_split_results, write_split_results
from omnireid.training.splits import train_every_split

PEOPLE = (0, 3, 5, 8, 45, 100, 300, 873)
FIRST, SECOND = ((1, 2, 3, 4), (5, 6, 7, 8)), ((8, 7, 6, 5), (1, 2, 3, 4))
PARTITIONS = [FIRST] * 4 + [SECOND] * 6
"""Two training halves of 8 crops, in 10 partitions: two runs, and 8 and 12 splits scored with their weights."""


def draw_over(root: Path, pattern: str) -> Path:
    """Draw a picture into every empty file of a data set."""
    for seed, path in enumerate(sorted(root.glob(pattern))):
        fabrication.draw(path, seed, 32, 16)
    return root


@pytest.fixture(scope="module")
def viper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "VIPeR"
    return draw_over(fabrication.viper(root, PEOPLE, PARTITIONS), "cam_*/*.bmp")


def command(data: Path, weights: Path, output: Path, *more: str) -> list[str]:
    words = "train quick --every-split --device cpu --threads 1 --epochs 1 --resolutions 32x16@0 --batch-size 4"
    recipe = "--warmup-epochs 0 --average 0 --precision fp32 --log-every 1 --checkpoint-every 1"
    places = f"--data {data} --weights {weights} --output {output} --pixel-cache-folder {data.parent / 'stores'}"
    return [*words.split(), *recipe.split(), *places.split(), *more]


@contextmanager
def watched_people(length: int) -> Iterator[list[set[str]]]:
    """The people each run learns from, and after them those it is scored on, by the beginning of a crop's name."""
    people: list[set[str]] = []

    def watched_data(*arguments: Any, **settings: Any) -> Any:
        data = load_training_data(*arguments, **settings)
        people.append({path.name[:length] for path in data.paths})
        return data

    def watched_evaluation(embedder: Any, datasets: Any, **settings: Any) -> Any:
        crops = [path for dataset in datasets for path in (*dataset.query.paths, *dataset.gallery.paths)]
        people.append({path.name[:length] for path in crops})
        return evaluate_embedder(embedder, datasets, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "load_training_data", watched_data)
        patch.setattr(splits_module, "evaluate_embedder", watched_evaluation)
        yield people


@dataclass(frozen=True)
class Finished:
    folder: Path
    results: SplitResults
    people: list[set[str]]


@pytest.fixture(scope="module")
def finished(viper: Path, untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All runs over the drawn VIPeR, done in one go."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with watched_people(3) as people:
        assert main(command(viper, untrained, folder)) == 0
    return Finished(folder, read_split_results(folder / "splits.json"), people)


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    return shutil.copytree(finished.folder, tmp_path / "copy")


def test_each_training_half_is_trained_on_once_and_every_split_is_scored(finished: Finished) -> None:
    runs = finished.results.runs
    assert [(run.folder, len(run.scores)) for run in runs] == [("split-00", 8), ("split-08", 12)]
    assert [one.split_index for one in finished.results.scores] == list(range(20))
    assert {path.name for path in finished.folder.iterdir()} == {"splits.json", *(run.folder for run in runs)}
    assert not same(finished.folder / "split-00/last.safetensors", finished.folder / "split-08/last.safetensors")


def test_the_scores_are_those_of_omnireid_evaluate(finished: Finished, viper: Path) -> None:
    embedder = load_embedder(
        finished.folder / "split-08" / "last.safetensors",
        RuntimeOptions(runtime="torch", device="cpu", precision="fp32"),
    )
    scores = evaluate_embedder(embedder, load_splits(viper)[9:10]).scores
    kept = finished.results.scores[9]
    assert (kept.queries, kept.gallery, kept.distance) == (4, 4, "euclidean")
    assert (kept.rank1, kept.mean_average_precision) == (scores.rank1, scores.mean_average_precision)


def test_nobody_is_scored_who_was_learned_from(finished: Finished) -> None:
    everybody = {f"{person:03d}" for person in PEOPLE}
    assert len(finished.people) == 4
    for learned, scored in zip(finished.people[::2], finished.people[1::2], strict=True):
        assert len(learned) == len(scored) == 4
        assert learned | scored == everybody
    assert finished.people[0] == finished.people[3]  # the second half is learned from where the first is scored on


def test_in_grid_distractors_are_searched_and_nobody_is_scored_who_was_learned_from(
    options: RunOptions, tmp_path: Path
) -> None:
    root = fabrication.grid(tmp_path / "underground_reid", [(1, 4)] * 5 + [(2, 3)] * 5)
    draw_over(root, "*/*.jpeg")
    with watched_people(4) as people:
        results = train_every_split(replace(SMALL, epochs=1, batch_size=4), replace(options, data=(root,)))
    assert [run.folder for run in results.runs] == ["split-00", "split-05"]
    assert [(one.split_index, one.queries, one.gallery) for one in results.scores] == [(i, 2, 4) for i in range(10)]
    assert people == [{"0001", "0004"}, {"0000", "0002", "0003"}, {"0002", "0003"}, {"0000", "0001", "0004"}]
    assert results.start == "random weights"


def test_runs_that_were_stopped_go_on_where_they_were(
    finished: Finished, viper: Path, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = Learner.step, []

    def stopped_at_the_third(self: Learner, batch: Any, number: int) -> Any:
        steps.append(number)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGTERM)
        return step(self, batch, number)

    monkeypatch.setattr(Learner, "step", stopped_at_the_third)
    cut = tmp_path / "cut"
    assert main(command(viper, untrained, cut)) == 2
    assert [run.is_finished for run in read_split_results(cut / "splits.json").runs] == [True, False]
    before = (cut / "split-00" / "log.jsonl").stat().st_mtime_ns
    assert main(command(viper, untrained, cut, "--resume")) == 0
    assert steps == [0, 1, 0, 1]  # the second run's first step is not done again
    assert (cut / "split-00" / "log.jsonl").stat().st_mtime_ns == before
    assert read_split_results(cut / "splits.json").scores == finished.results.scores
    for run in finished.results.runs:
        assert same(cut / run.folder / "last.safetensors", finished.folder / run.folder / "last.safetensors")
    assert main(command(viper, untrained, cut, "--resume")) == 0
    assert len(steps) == 4


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_scores(
    finished: Finished, viper: Path, untrained: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    words = [sys.executable, "-m", "omnireid", *command(viper, untrained, cut)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    wait_for_step(cut / "split-08", 1, process)
    process.kill()
    process.communicate(timeout=60)
    assert main(command(viper, untrained, cut, "--resume")) == 0
    assert read_split_results(cut / "splits.json").scores == finished.results.scores


def test_a_run_that_fails_is_reported_and_the_others_go_on(
    finished: Finished, copy: Path, viper: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = finished.results
    for run in results.runs:
        results = results.with_run(replace(run, scores=(), weights_sha256=None))
    write_split_results(copy / "splits.json", results)
    shutil.rmtree(copy / "split-08")
    damaged = copy / "split-00" / "checkpoint.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert main(command(viper, untrained, copy, "--resume")) == 2
    printed = capsys.readouterr()
    assert "run 1 of 2 failed: " in printed.err
    assert "error: 1 of 2 runs failed: split-00." in printed.err
    assert "INCOMPLETE: 12 of 20 splits are scored" in printed.out
    assert "split-00 FAILED: " in printed.out
    assert read_split_results(copy / "splits.json").runs[1].scores == finished.results.runs[1].scores
    shutil.rmtree(copy / "split-00")
    assert main(command(viper, untrained, copy, "--resume")) == 0
    printed = capsys.readouterr()
    assert "FAILED" not in printed.out
    assert "INCOMPLETE" not in printed.out
    assert "split-00, splits 0, 1, 2, 3, 4, 5, 6, 7; about" in printed.out
    assert read_split_results(copy / "splits.json").scores == finished.results.scores


def test_runs_are_neither_overwritten_nor_continued_with_other_settings(
    copy: Path, viper: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copy / "splits.json").read_bytes()
    assert main(command(viper, untrained, copy)) == 2
    assert "already holds runs over splits. Continue them with --resume" in capsys.readouterr().err
    assert main(command(viper, untrained, copy, "--resume", "--learning-rate", "0.5")) == 2
    assert "--learning-rate: it has 0.065, asked for is 0.5" in capsys.readouterr().err
    assert (copy / "splits.json").read_bytes() == before


def test_a_damaged_record_is_refused_and_can_be_made_again_without_training(
    finished: Finished, copy: Path, viper: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = copy / "splits.json"
    record.write_bytes(record.read_bytes()[:100])
    with pytest.raises(ResumeError, match="Move it away and resume again"):
        read_split_results(record)
    record.unlink()
    monkeypatch.setattr(Learner, "step", None)  # no run takes a step
    assert main(command(viper, untrained, copy, "--resume")) == 0
    assert read_split_results(record).scores == finished.results.scores


def test_a_record_of_a_newer_version_is_refused(copy: Path) -> None:
    record = copy / "splits.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "format_version": 2}))
    with pytest.raises(ResumeError, match="written by a newer omnireid"):
        read_split_results(record)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split_index": 1}, "Leave out --split-index"),
        ({"hold_out": 0.2}, "Leave out --hold-out"),
        ({"evaluate_on": (Path("other"),), "use_test_identities": True}, "--evaluate-on and --use-test-identities"),
        ({"data": (Path("a"), Path("b"))}, "one data set; got 2 times --data"),
    ],
)
def test_options_that_contradict_the_protocol_are_refused(
    options: RunOptions, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        train_every_split(SMALL, replace(options, **changes))
    assert not options.output.exists()


def test_a_classifier_has_no_splits(options: RunOptions) -> None:
    with pytest.raises(SettingError, match="--every-split scores people .*; --task is classify"):
        train_every_split(replace(SMALL, task="classify", metric="top1"), options)


def test_unlabelled_crops_of_people_to_be_scored_are_refused_before_the_first_run(
    options: RunOptions, viper: Path, untrained: Path
) -> None:
    taught = replace(options, data=(viper,), teacher=str(untrained), unlabelled=(viper / "cam_a",))
    with pytest.raises(DataError, match=r"4 unlabelled crop\(s\) belong to the data that the run is scored on"):
        train_every_split(replace(SMALL, graph_weight=1.0), taught)
    assert not (options.output / "splits.json").exists()


def test_a_data_set_with_one_split_has_nothing_to_average(options: RunOptions) -> None:
    with pytest.raises(DataError, match="has one split only, so there is nothing to average"):
        train_every_split(SMALL, options)


def test_a_single_run_in_the_way_of_another_is_not_continued(options: RunOptions, viper: Path, copy: Path) -> None:
    (copy / "splits.json").unlink()
    with pytest.raises(OutputError, match="split-00 already holds a run"):
        train_every_split(replace(SMALL, epochs=1), replace(options, data=(viper,), output=copy))


@pytest.mark.slow
def test_ranks_do_the_same_runs_and_one_prints(viper: Path, untrained: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "omnireid"]
    words = [sys.executable, *launcher, *command(viper, untrained, tmp_path / "runs", "--learning-rate", "0.0001")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("viper: 20 splits, 2 training runs") == 1
    assert len(read_split_results(tmp_path / "runs" / "splits.json").scores) == 20
