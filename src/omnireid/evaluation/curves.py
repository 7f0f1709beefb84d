"""Curves from distances to log likelihood ratios: isotonic and logistic, and one that is adapted to other data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from omnireid.errors import CalibrationError, require
from omnireid.evaluation.pairs import PairKind
from omnireid.evaluation.reliability import balance_pairs
from omnireid.retrieval.calibration import RELATIONS, Calibration, CalibrationCurve, Relation, to_probabilities
from omnireid.types import AnyArray, BoolArray, DoubleArray, IntArray

FOLDS = 3
LEAST_SAME_PAIRS = 20

_STEPS = 64  # knots of a logistic curve
_NEVER_SURE = 1e-12


@dataclass(frozen=True, eq=False)
class LabelledDistances:
    """N distances between two crops of known people.

    Attributes:
        distances: (N,) distances.
        is_same: (N,) whether both crops show one person.
        first_person: (N,) number of the person on the first crop, from 0.
        second_person: (N,) number of the person on the second crop.
    """

    distances: DoubleArray
    is_same: BoolArray
    first_person: IntArray
    second_person: IntArray

    def __len__(self) -> int:
        return len(self.distances)

    @property
    def same_count(self) -> int:
        """The number of pairs of one person."""
        return int(np.count_nonzero(self.is_same))

    @property
    def people(self) -> int:
        """The number of people in pairs of one person."""
        return len(np.unique(self.first_person[self.is_same]))

    def select(self, chosen: BoolArray) -> LabelledDistances:
        """The chosen pairs."""
        return LabelledDistances(*(values[chosen] for values in vars(self).values()))


def fit_curve(pairs: LabelledDistances, kind: PairKind, *, seed: int = 0) -> CalibrationCurve:
    """Fit both kinds of curves, and take the one that does better on people it has not seen.

    The people are dealt into three folds; the loss is the cross-entropy with both
    answers equally likely. A curve of the better kind is then fitted on all pairs.

    Args:
        pairs: The pairs to fit.
        kind: What they are, for the curve's record.
        seed: Seed for the folds.

    Raises:
        CalibrationError: there are too few pairs of one person or of two, or all distances are equal.
        MissingDependencyError: scipy is not installed.

    Source: Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD
    2002 (isotonic); Platt, "Probabilistic outputs for support vector machines", 1999 (logistic).
    """
    require("scipy", "gallery", "Fitting a calibration")
    different = len(pairs) - pairs.same_count
    if pairs.same_count < LEAST_SAME_PAIRS or different < LEAST_SAME_PAIRS or pairs.people < FOLDS:
        raise CalibrationError(
            f"A calibration needs at least {LEAST_SAME_PAIRS} pairs of one person, {LEAST_SAME_PAIRS} of two and "
            f"{FOLDS} people to fit; found {pairs.same_count:,}, {different:,} and {pairs.people:,}. Give more "
            "labelled crops."
        )
    if np.ptp(pairs.distances) == 0:
        raise CalibrationError("All distances are equal, so they say nothing about who is on a crop.")
    losses = {name: _held_out_loss(pairs, fit, seed) for name, fit in _METHODS.items()}
    method = min(losses, key=lambda name: losses[name])
    x, y = _METHODS[method](pairs)
    return CalibrationCurve(
        relation=kind.relation,
        least_gap_s=kind.least_gap_s,
        gap_below_s=kind.gap_below_s,
        method=method,
        distances=tuple(x.tolist()),
        log_likelihood_ratios=tuple(y.tolist()),
        same_pairs=pairs.same_count,
        different_pairs=different,
        people=pairs.people,
    )


def adapt_calibration(
    calibration: Calibration,
    distances: DoubleArray,
    is_same: BoolArray,
    *,
    same_camera: BoolArray | None = None,
    gap_s: DoubleArray | None = None,
    data: str = "unknown",
) -> Calibration:
    """Fit a calibration to other data with few labelled pairs: its curves are stretched and shifted.

    Two numbers are learned for each relation that has 20 pairs of one person and 20 of
    two, and others share the numbers of all pairs. So some hundred pairs are enough, such as the answers
    given in a review. Both kinds of pairs should be drawn at random: pairs that were
    picked because they are hard move the curve too far.

    Args:
        calibration: The calibration to begin with.
        distances: (N,) distances of the labelled pairs.
        is_same: (N,) whether both crops show one person.
        same_camera: (N,) whether one camera took both; None where cameras are not known.
        gap_s: (N,) seconds between both crops, NaN where not known; None where no times are known.
        data: What the pairs are from, in words.

    Raises:
        CalibrationError: fewer than 20 pairs of one person or of two.
        MissingDependencyError: scipy is not installed.
    """
    is_same = np.asarray(is_same, dtype=bool)
    same = int(np.count_nonzero(is_same))
    if min(same, len(is_same) - same) < LEAST_SAME_PAIRS:
        raise CalibrationError(
            f"Adapting a calibration needs at least {LEAST_SAME_PAIRS} pairs of one person and {LEAST_SAME_PAIRS} of "
            f"two; found {same:,} and {len(is_same) - same:,}. Label more pairs."
        )
    ratios = calibration.log_likelihood_ratios(distances, same_camera=same_camera, gap_s=gap_s)
    everything = np.ones(len(is_same), dtype=bool)
    lines: dict[Relation, tuple[float, float]] = {}
    for relation in RELATIONS:
        part = everything
        if relation != "any" and same_camera is not None:
            part = np.asarray(same_camera, dtype=bool) == (relation == "same-camera")
        is_enough = min(np.count_nonzero(is_same[part]), np.count_nonzero(~is_same[part])) >= LEAST_SAME_PAIRS
        lines[relation] = _fit_logistic(-ratios[part], is_same[part]) if is_enough else lines["any"]
    curves = []
    for curve in calibration.curves:
        offset, slope = lines[curve.relation]
        values = offset + slope * np.asarray(curve.log_likelihood_ratios)
        curves.append(replace(curve, method="adapted", log_likelihood_ratios=tuple(values.tolist())))
    text = f"{calibration.data}; adapted by {len(is_same):,} pairs of {data}"
    return replace(calibration, curves=tuple(curves), data=text, held_out={})


def _held_out_loss(
    pairs: LabelledDistances, fit: Callable[[LabelledDistances], tuple[DoubleArray, DoubleArray]], seed: int
) -> float:
    people = int(max(pairs.first_person.max(), pairs.second_person.max())) + 1
    fold_of = np.random.default_rng(seed).permutation(people) % FOLDS
    first, second = fold_of[pairs.first_person], fold_of[pairs.second_person]
    losses = []
    for fold in range(FOLDS):
        seen, unseen = (
            pairs.select((first != fold) & (second != fold)),
            pairs.select((first == fold) & (second == fold)),
        )
        if not 0 < unseen.same_count < len(unseen) or not 0 < seen.same_count < len(seen):
            continue
        probabilities = to_probabilities(np.interp(unseen.distances, *fit(seen)), 0.5)
        right = np.where(unseen.is_same, probabilities, 1 - probabilities)
        losses.append(-np.sum(balance_pairs(unseen.is_same, 0.5) * np.log(np.maximum(right, _NEVER_SURE))))
    return float(np.mean(losses)) if losses else 0.0


def _isotonic(pairs: LabelledDistances) -> tuple[DoubleArray, DoubleArray]:
    """Knots of a falling step curve: the middle of each step and the log likelihood ratio there.

    Half a pair is added to either side of a step, so that a step with pairs of one
    kind only claims no more than its number of pairs can show.
    """
    from scipy.optimize import isotonic_regression

    weights = balance_pairs(pairs.is_same, 0.5)
    distances, place = np.unique(pairs.distances, return_inverse=True)
    total = np.bincount(place, weights=weights)
    same_weight = np.bincount(place, weights=weights * pairs.is_same)
    falling = isotonic_regression(same_weight / total, weights=total, increasing=False).x
    step = np.concatenate([[0], np.cumsum(np.abs(np.diff(falling)) > 1e-12)])
    same = np.bincount(step, weights=np.bincount(place, weights=pairs.is_same))
    different = np.bincount(step, weights=np.bincount(place, weights=~pairs.is_same))
    middle = np.bincount(step, weights=total * distances) / np.bincount(step, weights=total)
    ratios = _ratio(same, different, pairs)
    if len(middle) == 1:
        return distances[[0, -1]], np.repeat(ratios, 2)
    return middle, np.minimum.accumulate(ratios)


def _ratio(same: AnyArray, different: AnyArray, pairs: LabelledDistances) -> DoubleArray:
    """Log likelihood ratios of counts, with half a pair added to each."""
    all_same = pairs.same_count
    all_different = len(pairs) - all_same
    ratios: DoubleArray = np.log((same + 0.5) / (all_same + 1)) - np.log((different + 0.5) / (all_different + 1))
    return ratios


def _logistic(pairs: LabelledDistances) -> tuple[DoubleArray, DoubleArray]:
    """Knots of a line, cut off at both ends where it would claim more than the number of pairs can show."""
    offset, slope = _fit_logistic(pairs.distances, pairs.is_same)
    x = np.linspace(pairs.distances.min(), pairs.distances.max(), _STEPS)
    same = pairs.same_count
    different = len(pairs) - same
    y = np.clip(offset - slope * x, -np.log(2 * same + 1), np.log(2 * different + 1))
    return x, y


def _fit_logistic(falling: AnyArray, is_same: BoolArray) -> tuple[float, float]:
    """Offset and slope (never negative) of the log likelihood ratio ``offset - slope * falling``.

    The targets are Platt's: a little below 1 and above 0, so that pairs that can be
    told apart without a mistake do not make the slope infinite.
    """
    from scipy.optimize import minimize

    values = np.asarray(falling, dtype=np.float64)
    same = int(np.count_nonzero(is_same))
    targets = np.where(is_same, (same + 1) / (same + 2), 1 / (len(is_same) - same + 2))
    weights = balance_pairs(is_same, 0.5)
    mean, deviation = values.mean(), values.std() or 1.0
    standard = (values - mean) / deviation

    def loss(parameters: DoubleArray) -> tuple[float, DoubleArray]:
        logits = parameters[0] - parameters[1] * standard
        error = weights * (to_probabilities(logits, 0.5) - targets)
        value = np.sum(weights * (np.logaddexp(0, logits) - targets * logits))
        return float(value), np.array([error.sum(), -(error * standard).sum()])

    found = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(None, None), (0.0, None)])
    slope = float(found.x[1]) / float(deviation)
    return float(found.x[0]) + slope * float(mean), slope


_METHODS: dict[str, Callable[[LabelledDistances], tuple[DoubleArray, DoubleArray]]] = {
    "isotonic": _isotonic,
    "logistic": _logistic,
}
