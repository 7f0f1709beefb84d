"""How much the looks of people in several cameras speak for one person, learned without labels.

Every camera has its own light, background and crowd, so one distance means
different things in different cameras. Two steps undo that:

1. Each distance is compared with the distances of the same crop to everybody in
   the other crop's camera: how many standard deviations it lies below their mean.
   The mean of this from both sides is the normalised distance (the symmetric
   cohort normalisation of speaker verification, with each camera as a cohort).
2. The person nearest in another camera is either the same one or a stranger who
   happens to be nearest. The nearest distances are therefore a mixture of two normal
   distributions. The second nearest ones, mostly strangers, show where strangers
   lie; expectation maximisation finds the rest.

The log odds follow from the mixture as a straight line in the normalised
distance, so they include how often the nearest one is the right one.

Source: Kenny, "Bayesian speaker verification with heavy-tailed priors", Odyssey 2010 (symmetric normalisation);
Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", JRSS B 1977.

Shapes: N people seen by one camera each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from omnireid.types import BoolArray, DoubleArray, IntArray

LEAST_NEAREST = 8
"""Nearest distances that a mixture needs. With fewer nothing is learned."""

LEAST_SEPARATION = 2.0
"""Standard deviations between both means below which these embeddings tell nobody apart across the cameras."""

_COHORT = 20.0
"""Number of distances that the mean of the wider group counts as, when the mean of a narrower one is estimated."""

_SPREAD_OF_MEDIAN = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations."""

_ROUNDS = 200
_SHARES = (0.05, 0.95)  # a few dozen nearest distances cannot show a share nearer to 0 or 1


@dataclass(frozen=True)
class NearestMixture:
    """What a normalised distance is worth.

    Attributes:
        same: Mean normalised distance to the nearest in another camera who is the same person.
        different: Mean normalised distance to the nearest in another camera who is somebody else.
        spread: Common standard deviation.
        share: Share of the nearest ones who are the same person.
        nearest: Number of nearest distances it was learned from.
    """

    same: float
    different: float
    spread: float
    share: float
    nearest: int

    def log_odds(self, distances: DoubleArray) -> DoubleArray:
        """Log odds of one person at normalised distances, in any shape; above 0 one person is more likely."""
        slope = (self.different - self.same) / self.spread**2
        values: DoubleArray = slope * ((self.same + self.different) / 2 - distances) + math.log(
            self.share / (1 - self.share)
        )
        return values


def normalise_distances(distances: DoubleArray, cameras: IntArray) -> DoubleArray:
    """Express distances in standard deviations from what is usual for each of both people in the other's camera.

    Where a camera has seen few people, the mean and deviation of all its pairs with the other camera, and then of all
    pairs, count as 20 distances more.

    Args:
        distances: (N, N) distances, symmetric. The diagonal is ignored.
        cameras: (N,) numbers of the cameras, from 0.

    Returns:
        (N, N) normalised distances, symmetric; mostly negative for pairs that are alike.
    """
    count = len(distances)
    others = ~np.eye(count, dtype=bool)
    if count < 2:
        return np.zeros_like(distances)
    overall = float(np.median(distances[others])), float(distances[others].var())
    size = int(cameras.max()) + 1
    means, variances = np.zeros((count, size)), np.ones((count, size))
    members = [np.flatnonzero(cameras == camera) for camera in range(size)]
    for rows in members:
        for camera, columns in enumerate(members):
            block, kept = distances[np.ix_(rows, columns)], others[np.ix_(rows, columns)]
            pair = _moments(block[None], kept[None], (1, 2), *overall)
            found = _moments(block, kept, (1,), float(pair[0][0]), float(pair[1][0]))
            means[rows, camera], variances[rows, camera] = found
    deviations = np.sqrt(np.maximum(variances, 1e-12))
    one_sided = (distances - means[:, cameras]) / deviations[:, cameras]
    result: DoubleArray = (one_sided + one_sided.T) / 2
    return result


def learn_mixture(distances: DoubleArray, cameras: IntArray) -> NearestMixture | None:
    """Learn from the nearest ones in other cameras what a normalised distance is worth.

    Times are ignored here, so that pairs that look alike and cannot be one person show where clocks are wrong.

    Args:
        distances: (N, N) normalised distances.
        cameras: (N,) numbers of the cameras.

    Returns:
        The mixture; None where too few people are seen by several cameras, or where those who are the same cannot be
        told from strangers.
    """
    nearest, second = _two_nearest(distances, cameras)
    if len(nearest) < LEAST_NEAREST:
        return None
    different = float(np.median(second))
    stranger_spread = max(_SPREAD_OF_MEDIAN * float(np.median(np.abs(second - different))), 1e-3)
    same, same_spread, share = float(np.quantile(nearest, 0.25)), stranger_spread, 0.5
    for _ in range(_ROUNDS):
        ratio = _log_density(nearest, same, same_spread) - _log_density(nearest, different, stranger_spread)
        ratio += math.log(share / (1 - share))
        is_same = np.where(nearest < different, 1 / (1 + np.exp(-np.clip(ratio, -50, 50))), 0.0)
        total = float(is_same.sum())
        if total < 1:
            return None
        share = float(np.clip(is_same.mean(), *_SHARES))
        same = float(is_same @ nearest) / total
        same_spread = max(math.sqrt(float(is_same @ (nearest - same) ** 2) / total), stranger_spread / 5)
    spread = math.sqrt(share * same_spread**2 + (1 - share) * stranger_spread**2)
    if different - same < LEAST_SEPARATION * spread:
        return None
    return NearestMixture(same, different, spread, share, len(nearest))


def _moments(
    values: DoubleArray, kept: BoolArray, axes: tuple[int, ...], wider_mean: float, wider_variance: float
) -> tuple[DoubleArray, DoubleArray]:
    """Means and variances of the kept values over axes, drawn towards those of a wider group."""
    counts = kept.sum(axis=axes) + _COHORT
    means = (np.where(kept, values, 0).sum(axis=axes) + _COHORT * wider_mean) / counts
    deviations = np.where(kept, values - np.expand_dims(means, axes), 0)
    return means, ((deviations**2).sum(axis=axes) + _COHORT * wider_variance) / counts


def _two_nearest(distances: DoubleArray, cameras: IntArray) -> tuple[DoubleArray, DoubleArray]:
    """Distances from each person to the nearest and the second nearest in each other camera, where there are two."""
    nearest, second = [np.empty(0)], [np.empty(0)]
    for camera in np.unique(cameras):
        rows, columns = np.flatnonzero(cameras != camera), np.flatnonzero(cameras == camera)
        if len(columns) < 2 or not len(rows):
            continue
        two = np.partition(distances[np.ix_(rows, columns)], 1, axis=1)[:, :2]
        nearest.append(two[:, 0])
        second.append(two[:, 1])
    return np.concatenate(nearest), np.concatenate(second)


def _log_density(values: DoubleArray, mean: float, spread: float) -> DoubleArray:
    result: DoubleArray = -((values - mean) ** 2) / (2 * spread**2) - math.log(spread)
    return result
