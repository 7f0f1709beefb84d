"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omnireid.types import BoolArray, DoubleArray

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """The pairs whose probabilities lie in one part of [0, 1].

    Attributes:
        probability: Their mean probability.
        observed: The share of them that show one person.
        weight: Their share of all pairs.
    """

    probability: float
    observed: float
    weight: float

    def json(self) -> dict[str, Any]:
        """The bin as plain values."""
        return dict(vars(self))


def balance_pairs(is_same: BoolArray, prior: float) -> DoubleArray:
    """Weights, with sum 1, by which pairs of one person make up the share `prior`."""
    same = int(np.count_nonzero(is_same))
    different = len(is_same) - same
    return np.where(is_same, prior / max(same, 1), (1 - prior) / max(different, 1))


def measure_reliability(
    probabilities: DoubleArray, is_same: BoolArray | DoubleArray, weights: DoubleArray
) -> tuple[ReliabilityBin, ...]:
    """Compare probabilities with what is true, in 15 bins of equal width; empty bins are left out.

    Args:
        probabilities: (N,) stated probabilities.
        is_same: (N,) whether the pairs show one person; or, for groups of pairs, the share that does.
        weights: (N,) weight of each pair or group.
    """
    place = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    weight = np.bincount(place, weights=weights, minlength=BINS)
    stated = np.bincount(place, weights=weights * probabilities, minlength=BINS)
    observed = np.bincount(place, weights=weights * is_same, minlength=BINS)
    total = weight.sum()
    return tuple(
        ReliabilityBin(float(stated[one] / weight[one]), float(observed[one] / weight[one]), float(weight[one] / total))
        for one in np.flatnonzero(weight)
    )


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """The mean distance between stated and observed probability, weighted by the pairs in each bin.

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.

    >>> expected_calibration_error((ReliabilityBin(0.9, 0.8, 0.5), ReliabilityBin(0.1, 0.1, 0.5)))
    0.05
    """
    return round(sum(abs(one.probability - one.observed) * one.weight for one in bins), 12)
