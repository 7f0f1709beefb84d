"""How well distances tell one person from two, and whether their probabilities are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omnireid.evaluation.curves import LabelledDistances
from omnireid.evaluation.intervals import CONFIDENCE
from omnireid.evaluation.reliability import (
    ReliabilityBin,
    balance_pairs,
    expected_calibration_error,
    measure_reliability,
)
from omnireid.retrieval.calibration import CalibrationCurve, to_probabilities
from omnireid.types import DoubleArray

FALSE_ACCEPT_RATES = (1e-2, 1e-3, 1e-4)
SAMPLES = 200

_LEAST_FALSE_ACCEPTS = 5  # pairs of two people that a false accept rate must stand for
_ROUNDING = 1e-9
_SINGLE_PAIRS = 4000  # nearest pairs of two people that are counted one by one
_PAIRS_IN_GROUP = 50
_CURVE_RATES = np.logspace(-4, 0, 49)
_HISTOGRAM_BINS = 60


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval by bootstrap over people."""

    value: float
    low: float
    high: float

    def json(self) -> list[float]:
        """Value, low and high."""
        return [self.value, self.low, self.high]


@dataclass(frozen=True, eq=False)
class PairScores:
    """Figures for one kind of pair. All rates are fractions.

    Attributes:
        curve: The curve that gave the probabilities.
        people: Number of people with pairs of themselves.
        same_pairs: Number of pairs of one person.
        different_pairs: Number of pairs of two people.
        equal_error_rate: The rate at which as many pairs of two people are accepted as pairs of one are refused.
        true_accept_rates: The share of pairs of one person that is accepted, by false accept rate. A rate for which
            there are too few pairs of two people is left out.
        calibration_error: ECE in 15 bins, where pairs of one person have the share that the prior states.
        reliability: The bins.
        roc: (false accept rate, true accept rate), from few to all.
        histogram_edges: Distances between which pairs are counted.
        same_histogram: Share of the pairs of one person in each bin.
        different_histogram: Share of the pairs of two people in each bin.
    """

    curve: CalibrationCurve
    people: int
    same_pairs: int
    different_pairs: int
    equal_error_rate: Estimate
    true_accept_rates: dict[float, Estimate]
    calibration_error: Estimate
    reliability: tuple[ReliabilityBin, ...]
    roc: tuple[tuple[float, float], ...]
    histogram_edges: tuple[float, ...]
    same_histogram: tuple[float, ...]
    different_histogram: tuple[float, ...]

    def json(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {
            "pairs": self.curve.name,
            "relation": self.curve.relation,
            "least_gap_s": self.curve.least_gap_s,
            "gap_below_s": self.curve.gap_below_s,
            "method": self.curve.method,
            "people": self.people,
            "same_pairs": self.same_pairs,
            "different_pairs": self.different_pairs,
            "equal_error_rate": self.equal_error_rate.json(),
            "true_accept_rates": {f"{rate:g}": value.json() for rate, value in self.true_accept_rates.items()},
            "expected_calibration_error": self.calibration_error.json(),
            "reliability": [one.json() for one in self.reliability],
            "roc": [list(point) for point in self.roc],
            "histogram_edges": list(self.histogram_edges),
            "same_histogram": list(self.same_histogram),
            "different_histogram": list(self.different_histogram),
        }


def score_pairs(
    pairs: LabelledDistances, curve: CalibrationCurve, prior: float, *, seed: int = 0, samples: int = SAMPLES
) -> PairScores:
    """Score pairs of one kind.

    An interval draws people with replacement. A pair of one person counts as often
    as the person was drawn, a pair of two people as often as both together.

    Args:
        pairs: Pairs of people on whom the curve was not fitted; some of one person and some of two.
        curve: The curve.
        prior: Share that pairs of one person have in the calibration error.
        seed: Seed for the bootstrap.
        samples: Number of bootstrap samples.
    """
    order = np.argsort(pairs.distances, kind="stable")
    pairs = LabelledDistances(*(values[order] for values in vars(pairs).values()))
    same = pairs.is_same
    different = len(pairs) - pairs.same_count
    rates = [rate for rate in FALSE_ACCEPT_RATES if rate * different >= _LEAST_FALSE_ACCEPTS]
    probabilities = to_probabilities(curve.evaluate(pairs.distances), prior)
    weights = balance_pairs(same, prior)
    accepted, false = np.cumsum(same) / pairs.same_count, np.cumsum(~same) / different
    reliability = measure_reliability(probabilities, same, weights)
    values = [equal_error_rate(accepted, false), expected_calibration_error(reliability)]
    values += accept_rates_at(rates, accepted, false).tolist()
    drawn = _draw_figures(pairs, probabilities, prior, rates, samples=samples, seed=seed)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
    estimates = [Estimate(*map(float, one)) for one in zip(values, low, high, strict=True)]
    edges = np.linspace(pairs.distances[0], pairs.distances[-1], _HISTOGRAM_BINS + 1)
    return PairScores(
        curve=curve,
        people=pairs.people,
        same_pairs=pairs.same_count,
        different_pairs=different,
        equal_error_rate=estimates[0],
        calibration_error=estimates[1],
        true_accept_rates=dict(zip(rates, estimates[2:], strict=True)),
        reliability=reliability,
        roc=tuple(zip(_CURVE_RATES.tolist(), accept_rates_at(_CURVE_RATES, accepted, false).tolist(), strict=True)),
        histogram_edges=tuple(edges.tolist()),
        same_histogram=tuple((np.histogram(pairs.distances[same], edges)[0] / pairs.same_count).tolist()),
        different_histogram=tuple((np.histogram(pairs.distances[~same], edges)[0] / different).tolist()),
    )


def _draw_figures(
    pairs: LabelledDistances, probabilities: DoubleArray, prior: float, rates: list[float], *, samples: int, seed: int
) -> DoubleArray:
    """The figures of random samples of people: (samples, 2 + rates), NaN where a sample lacks a kind of pair.

    Pairs are counted in groups of neighbouring distances, which are single pairs where
    a false accept rate is read off. This takes a tenth of the time of pair by pair.

    Args:
        pairs: Pairs, ascending by distance.
        probabilities: Their probabilities.
        prior: See `score_pairs`.
        rates: False accept rates.
        samples: See `score_pairs`.
        seed: See `score_pairs`.
    """
    same = pairs.is_same
    nearer = np.cumsum(~same)
    group = np.where(nearer < _SINGLE_PAIRS, nearer, _SINGLE_PAIRS + (nearer - _SINGLE_PAIRS) // _PAIRS_IN_GROUP)
    groups = int(group[-1]) + 1
    stated = np.bincount(group, weights=probabilities, minlength=groups) / np.maximum(np.bincount(group), 1)
    people = int(max(pairs.first_person.max(), pairs.second_person.max())) + 1
    present = np.unique(np.concatenate([pairs.first_person, pairs.second_person]))
    ours = group[same], pairs.first_person[same]
    others = group[~same], pairs.first_person[~same], pairs.second_person[~same]
    generator = np.random.default_rng(seed)
    drawn = np.full((samples, 2 + len(rates)), np.nan)
    for sample in range(samples):
        times = np.bincount(generator.choice(present, len(present)), minlength=people).astype(np.float64)
        one = np.bincount(ours[0], weights=times[ours[1]], minlength=groups)
        two = np.bincount(others[0], weights=times[others[1]] * times[others[2]], minlength=groups)
        if not one.any() or not two.any():
            continue
        one, two = one / one.sum(), two / two.sum()
        accepted, false = np.cumsum(one), np.cumsum(two)
        both = prior * one + (1 - prior) * two
        observed = np.divide(prior * one, both, out=np.zeros_like(both), where=both > 0)
        error = expected_calibration_error(measure_reliability(stated, observed, both))
        drawn[sample] = [equal_error_rate(accepted, false), error, *accept_rates_at(rates, accepted, false)]
    return drawn


def accept_rates_at(rates: npt.ArrayLike, accepted: DoubleArray, false: DoubleArray) -> DoubleArray:
    """The share of pairs of one person accepted at the largest distance at which each false accept rate is kept.

    >>> accept_rates_at([0.0, 0.5], np.array([0.4, 0.4, 0.9]), np.array([0.0, 0.5, 0.5])).tolist()
    [0.4, 0.9]
    """
    places = np.searchsorted(false, np.asarray(rates) + _ROUNDING, side="right") - 1
    return np.where(places >= 0, accepted[np.maximum(places, 0)], 0.0)


def equal_error_rate(accepted: DoubleArray, false: DoubleArray) -> float:
    """Where the false accept rate meets the false reject rate.

    Args:
        accepted: Share of the pairs of one person that is accepted up to each distance, rising.
        false: Share of the pairs of two people.
    """
    place = int(np.searchsorted(false - (1 - accepted), 0))  # rises from -1 to 1
    place = min(place, len(false) - 1)
    return float((false[place] + 1 - accepted[place]) / 2)
