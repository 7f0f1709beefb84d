from __future__ import annotations

import numpy as np
import pytest

from omnireid.evaluation import intervals
from omnireid.evaluation.intervals import bootstrap_intervals


def test_holds_the_mean_and_follows_the_seed() -> None:
    rng = np.random.default_rng(0)
    values, persons = rng.random((200, 3)), rng.integers(0, 40, 200)
    bounds = bootstrap_intervals(values, persons, 500, seed=1)
    assert bounds.shape == (3, 2)
    assert (bounds[:, 0] < values.mean(axis=0)).all()
    assert (values.mean(axis=0) < bounds[:, 1]).all()
    np.testing.assert_array_equal(bounds, bootstrap_intervals(values, persons, 500, seed=1))
    assert not np.array_equal(bounds, bootstrap_intervals(values, persons, 500, seed=2))


def test_one_identity_gives_no_width() -> None:
    bounds = bootstrap_intervals(np.array([[0.0], [1.0]]), np.array([5, 5]), 100, seed=0)
    assert bounds.tolist() == [[0.5, 0.5]]


def test_identities_are_drawn_whole() -> None:
    # Two persons, all of whose queries agree: a mean is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
    values = np.repeat([[0.0], [1.0]], 50, axis=0)
    assert bootstrap_intervals(values, np.repeat([3, 9], 50), 1000, seed=0).tolist() == [[0.0, 1.0]]


def test_the_mean_is_over_queries_not_identities() -> None:
    # Drawing both persons once gives (9 × 0 + 1 × 1) / 10.
    values, persons = np.array([[0.0]] * 9 + [[1.0]]), np.array([1] * 9 + [2])
    generator = np.random.default_rng(0)
    drawn = generator.integers(2, size=(1, 2), dtype=np.uint16)[0]
    expected = sum(values[persons == person + 1].sum() for person in drawn) / sum((9, 1)[person] for person in drawn)
    assert bootstrap_intervals(values, persons, 1, seed=0).tolist() == [[expected, expected]]


def test_samples_drawn_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, persons = rng.random((60, 2)), rng.integers(0, 20, 60)
    whole = bootstrap_intervals(values, persons, 90, seed=0)
    monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", 500)
    np.testing.assert_allclose(bootstrap_intervals(values, persons, 90, seed=0), whole)


@pytest.mark.slow
def test_covers_the_truth_about_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        skill = rng.normal(0.5, 0.2, 60)  # of each identity; the truth is 0.5
        persons = np.repeat(np.arange(60), 4)
        values = (skill[persons] + rng.normal(0, 0.1, len(persons)))[:, None]
        ((low, high),) = bootstrap_intervals(values, persons, 300, seed=trial)
        covered += low <= 0.5 <= high
    assert 0.91 <= covered / 400 <= 0.97
