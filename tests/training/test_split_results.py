from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest

from omnireid.training.run_checkpoint import RunIdentity
from omnireid.training.split_results import (
    SplitResults,
    SplitRun,
    SplitScores,
    read_split_results,
    write_split_results,
)

IDENTITY = RunIdentity({"epochs": 3}, {"names": ["viper"]}, None, 1)


def scores(index: int, rank1: float) -> SplitScores:
    return SplitScores(index, 316, 316, "euclidean", rank1, 0.7, 0.8, 0.9, rank1 + 0.1)


def results(*values: float) -> SplitResults:
    """Runs of two splits each, the last one not finished."""
    runs = [
        SplitRun(f"split-{index:02d}", (index, index + 1), "0" * 64, 5.0, (scores(index, one), scores(index + 1, two)))
        for index, one, two in zip(range(0, 99, 2), values[::2], values[1::2], strict=False)
    ]
    last = 2 * len(runs)
    return SplitResults("viper", "w", (*runs, SplitRun(f"split-{last:02d}", (last, last + 1))), IDENTITY, 1)


def test_means_and_sample_standard_deviations_are_over_the_scored_splits() -> None:
    values = (0.5, 0.6, 0.65, 0.45)
    found = results(*values)
    assert (found.split_count, len(found.scores)) == (6, 4)
    assert found.means["rank1"] == pytest.approx(mean(values))
    assert found.standard_deviations["rank1"] == pytest.approx(stdev(values))
    assert found.standard_deviations["rank20"] == 0
    assert found.json()["means"]["mean_average_precision"] == pytest.approx(mean(values) + 0.1)


def test_the_table_says_in_percent_what_is_there_and_that_splits_are_missing() -> None:
    lines = results(0.5, 0.6).table().splitlines()
    assert lines[0] == "viper: 4 splits, 2 training runs, each from w"
    assert lines[1] == "INCOMPLETE: 2 of 4 splits are scored, and the means are over these alone."
    assert lines[-5].split() == ["0", "50.00", "70.00", "80.00", "90.00", "60.00"]
    assert lines[-3].split() == ["mean", "55.00", "70.00", "80.00", "90.00", "65.00"]
    assert lines[-2].split() == ["±", "std", "7.07", "0.00", "0.00", "0.00", "7.07"]
    assert lines[-1] == "std: sample standard deviation (n - 1) over 2 splits"


def test_without_any_score_there_is_no_mean() -> None:
    nothing = results()
    assert nothing.means == nothing.standard_deviations == {}
    assert "mean" not in nothing.table().splitlines()[-1]


def test_a_failure_is_in_the_table() -> None:
    found = results(0.5, 0.6)
    failed = found.with_run(replace(found.runs[1], failure="the loss is not finite"))
    assert failed.failures == {"split-02": "the loss is not finite"}
    assert "split-02 FAILED: the loss is not finite" in failed.table().splitlines()
    assert failed.runs[0] == found.runs[0]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = results(0.1, 1 / 3)
    write_split_results(tmp_path / "splits.json", found)
    assert read_split_results(tmp_path / "splits.json") == found
