"""Confidence intervals by bootstrap over query identities."""

from __future__ import annotations

import numpy as np

from omnireid.types import DoubleArray, IntArray

CONFIDENCE = 0.95

_DRAWS_AT_ONCE = 2**20


def bootstrap_intervals(values: DoubleArray, person_ids: IntArray, samples: int, seed: int) -> DoubleArray:
    """Compute 95 % percentile intervals of the mean of each column, by resampling whole identities.

    Queries of one person are alike, so resampling single queries would give intervals
    that are too narrow. Each sample draws as many identities as there are, with
    replacement, and averages over all queries of the drawn identities.

    Args:
        values: (Q, K) scores, a row for each query.
        person_ids: (Q,) the identity of each query.
        samples: Number of samples, at least 1.
        seed: Seed for the draws; the same seed gives the same intervals.

    Returns:
        (K, 2) lower and upper bounds.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. The identity is the
    unit that is drawn, as in the cluster bootstrap (Field and Welsh, 2007).
    """
    counted = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    totals = resample_totals(counted, person_ids, samples, seed)
    return percentile_bounds(totals[:, :-1] / totals[:, -1:])


def resample_totals(values: DoubleArray, person_ids: IntArray, samples: int, seed: int) -> DoubleArray:
    """Compute the sum of each column in samples of whole identities; a ratio of two columns is then a score.

    Args:
        values: (Q, K) values, a row for each query or crop.
        person_ids: (Q,) the identity of each row.
        samples: Number of samples, at least 1.
        seed: Seed for the draws; the same seed gives the same samples.

    Returns:
        (samples, K) sums.
    """
    persons, person_of = np.unique(person_ids, return_inverse=True)
    sums = np.stack([np.bincount(person_of, weights=column) for column in values.T], axis=1)
    generator = np.random.default_rng(seed)
    kind = np.uint16 if len(persons) <= 2**16 else np.int64  # takes half the time of wider integers
    step = max(1, _DRAWS_AT_ONCE // len(persons))
    totals = []
    for start in range(0, samples, step):
        count = min(step, samples - start)
        drawn = generator.integers(len(persons), size=(count, len(persons)), dtype=kind)
        cells = drawn + np.arange(count)[:, None] * len(persons)
        times_drawn = np.bincount(cells.ravel(), minlength=cells.size).reshape(cells.shape)
        totals.append(times_drawn.astype(np.float64) @ sums)
    return np.concatenate(totals)


def percentile_bounds(scores: DoubleArray) -> DoubleArray:
    """(K, 2) 95 % bounds of (samples, K) scores. A score that a sample does not have is NaN, and is not counted."""
    tail = (1 - CONFIDENCE) / 2
    bounds: DoubleArray = np.nanquantile(scores, [tail, 1 - tail], axis=0)
    return bounds.T
