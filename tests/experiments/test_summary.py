"""Means, intervals and differences, held against slower ways to compute them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.experiments.conftest import TABLE

from omnireid.experiments.results import ExperimentRecord, QueryTable, RunRecord, RunScores, write_queries
from omnireid.experiments.summary import Estimate, pool_seeds, summarise
from omnireid.training.run_checkpoint import RunIdentity

PEOPLE = np.repeat(np.arange(40), 5)


def test_the_interval_over_seeds_is_students() -> None:
    scipy = pytest.importorskip("scipy.stats")
    values = [0.71, 0.73, 0.70]
    spread = pool_seeds([values])
    assert spread is not None
    low, high = scipy.t.interval(0.95, 2, np.mean(values), scipy.sem(values))
    assert spread.half_width(3) == pytest.approx((high - low) / 2, rel=1e-3)


def test_rows_pool_their_variance_as_the_t_test_of_two_means_does() -> None:
    scipy = pytest.importorskip("scipy.stats")
    one, other = [0.71, 0.73, 0.70], [0.75, 0.74]
    spread = pool_seeds([one, other, [0.2]])
    assert spread is not None
    assert spread.degrees == 3
    interval = scipy.ttest_ind(one, other).confidence_interval()
    assert spread.half_width(3, 2) == pytest.approx((interval.high - interval.low) / 2, rel=1e-3)


def test_one_seed_a_row_says_nothing_about_seeds() -> None:
    assert pool_seeds([[0.5], [0.6]]) is None


@pytest.mark.parametrize(
    ("people", "seeds", "order"),
    [
        ((0.01, 0.03), (0.005, 0.035), "higher"),
        ((-0.03, -0.01), (-0.05, -0.001), "lower"),
        ((0.01, 0.03), (-0.01, 0.05), "undecided"),
        ((-0.01, 0.03), (0.01, 0.02), "undecided"),
        ((0.01, 0.03), None, "undecided"),
        (None, (0.01, 0.03), "undecided"),
    ],
)
def test_an_order_needs_both_intervals(
    people: tuple[float, float] | None, seeds: tuple[float, float] | None, order: str
) -> None:
    assert Estimate(0.02, people, seeds).order == order


def make_record(output: Path, lift: float, people: np.ndarray = PEOPLE) -> ExperimentRecord:
    """Two seeds of two rows. Queries differ much from each other, and the second row is better in each by `lift`."""
    rng = np.random.default_rng(0)
    base = rng.random((len(PEOPLE), 2)) * 0.5
    runs = []
    for row, more in (("four", 0.0), ("one", lift)):
        for seed in (0, 1):
            values = base + more + 0.001 * seed
            rank1, precision = map(float, values.mean(axis=0))
            intervals = {name: (value - 0.1, value + 0.1) for name, value in (("rank1", rank1),)}
            scores = RunScores("drawn", len(PEOPLE), 9, "euclidean", rank1, precision, intervals)
            runs.append(RunRecord(row, seed, 10, seconds=20.0 + seed, scores=(scores,)))
            folder = output / row / f"seed-{seed}"
            folder.mkdir(parents=True)
            write_queries(folder, {"drawn": QueryTable(PEOPLE if row == "four" else people, values)})
    return ExperimentRecord("small", 3, RunIdentity({}, {}, None, 1), 1, tuple(runs))


def test_a_difference_is_judged_on_the_same_queries(tmp_path: Path) -> None:
    record = make_record(tmp_path, 0.02)
    four, one, broken, _ = summarise(TABLE, record, tmp_path)
    assert not four.scores[0].differences
    assert not broken.scores
    assert one.seconds == 20.5
    precision = one.scores[0].differences["mean_average_precision"]
    assert precision.value == pytest.approx(0.02)
    assert precision.over_identities == pytest.approx((0.02, 0.02), abs=1e-5)  # the queries' own spread cancels
    assert precision.order == "higher"
    low, high = one.scores[0].scores["rank1"].over_identities or (0, 0)
    assert high - low == pytest.approx(0.2)
    assert one.scores[0].scores["mean_average_precision"].over_identities is None


def test_rows_with_other_queries_or_without_their_scores_claim_no_order(tmp_path: Path) -> None:
    record = make_record(tmp_path, 0.02, people=PEOPLE[::-1].copy())
    difference = summarise(TABLE, record, tmp_path)[1].scores[0].differences["mean_average_precision"]
    assert (difference.over_identities, difference.order) == (None, "undecided")
    (tmp_path / "one" / "seed-0" / "queries.json").unlink()
    assert summarise(TABLE, record, tmp_path)[1].scores[0].differences["rank1"].over_identities is None


def test_the_time_of_a_run_is_judged_by_its_own_row_or_else_by_its_work(tmp_path: Path) -> None:
    record = make_record(tmp_path, 0.0)
    assert record.estimate_seconds("four", 10) == pytest.approx(20.5)
    assert record.estimate_seconds("broken", 30) == pytest.approx(61.5)
    assert ExperimentRecord("small", 3, record.identity, 1).estimate_seconds("four", 10) is None
