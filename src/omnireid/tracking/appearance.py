"""How much the embeddings of two tracklets speak for one person.

Tracklets are compared by the mean cosine distance between their crops, which is
what one crop's distance to another means, only steadier. What a distance is
worth comes from a `Calibration` of the weights, or from the tracklets
themselves: people seen at the same time are different people, and both ends of
a tracklet nearly always show the same person.

Shapes: N tracklets, K crops of a tracklet, D values of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from omnireid.tracking.tracklets import Tracklet
from omnireid.types import DoubleArray, FloatArray

LEAST_CROPS = 2
"""Embedded crops that an end of a tracklet needs before anything is concluded from it."""

LEAST_PAIRS = 5
"""Pairs of either kind that a scale needs. With fewer nothing is linked by appearance."""

MOST_CERTAIN = 6.0
"""Largest log likelihood ratio of a learned scale, in either direction: odds of about 400 to 1. The few pairs that
a scale is learned from cannot show more."""

_SPREAD_OF_MEDIAN = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations."""


class Appearance(Protocol):
    """What a distance is worth; `Calibration` and `AppearanceScale` have it."""

    def log_likelihood_ratios(self, distances: npt.ArrayLike) -> DoubleArray:
        """Above 0 the distances speak for one person, below for two."""
        ...


@dataclass(frozen=True)
class AppearanceScale:
    """A straight line from distance to log likelihood ratio, learned without labels from one recording.

    The distances of same and of different people are taken as normal distributions with a common spread, for which
    the logarithm of the likelihood ratio is a straight line.

    Attributes:
        same: Median distance between both ends of a tracklet.
        different: Median distance between tracklets seen at the same time.
        spread: Common standard deviation, from median absolute deviations, so that a few tracklets with two people in
            them change little.
        same_pairs: Number of tracklets whose ends were compared.
        different_pairs: Number of pairs of tracklets seen at the same time.
    """

    same: float
    different: float
    spread: float
    same_pairs: int
    different_pairs: int

    def log_likelihood_ratios(self, distances: npt.ArrayLike) -> DoubleArray:
        """Log likelihood ratios at `distances`, in any shape, at most `MOST_CERTAIN` in size."""
        middle = (self.same + self.different) / 2
        slope = (self.different - self.same) / self.spread**2
        values: DoubleArray = slope * (middle - np.asarray(distances, dtype=np.float64))
        return np.clip(values, -MOST_CERTAIN, MOST_CERTAIN)


def unit_rows(embeddings: FloatArray) -> DoubleArray:
    """Embeddings of length 1; a row of zeros stays what it is."""
    rows = embeddings.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: DoubleArray = rows / np.where(lengths > 0, lengths, 1)
    return unit


def mean_distance(first: DoubleArray, second: DoubleArray) -> float:
    """Mean cosine distance between the unit rows of two groups of crops."""
    return float(1 - first.mean(axis=0) @ second.mean(axis=0))


def learn_appearance(tracklets: Sequence[Tracklet]) -> AppearanceScale | None:
    """Learn what a distance is worth from the tracklets of one camera, without labels.

    Returns:
        The scale; None where there are too few pairs to learn from, or where people seen at the same time are not
        further apart than the two ends of a tracklet, so that these embeddings tell nobody apart.
    """
    rows = [unit_rows(tracklet.embeddings) for tracklet in tracklets]
    same = [
        mean_distance(row[: len(row) // 3], row[-(len(row) // 3) :]) for row in rows if len(row) // 3 >= LEAST_CROPS
    ]
    known = [index for index, row in enumerate(rows) if len(row) >= LEAST_CROPS]
    different = [
        mean_distance(rows[i], rows[j])
        for position, i in enumerate(known)
        for j in known[:position]
        if np.intersect1d(tracklets[i].frames, tracklets[j].frames).size
    ]
    if min(len(same), len(different)) < LEAST_PAIRS:
        return None
    near, far = float(np.median(same)), float(np.median(different))
    deviations = np.concatenate([np.abs(np.array(same) - near), np.abs(np.array(different) - far)])
    spread = _SPREAD_OF_MEDIAN * float(np.median(deviations))
    if far - near <= spread:
        return None
    return AppearanceScale(near, far, max(spread, (far - near) / MOST_CERTAIN), len(same), len(different))
