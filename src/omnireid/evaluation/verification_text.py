"""A verification as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from omnireid.evaluation.pair_scores import FALSE_ACCEPT_RATES, Estimate, PairScores
from omnireid.retrieval.calibration import Calibration, CalibrationCurve

if TYPE_CHECKING:
    from omnireid.evaluation.verification import Verification


def describe_verification(verification: Verification) -> str:
    """The people and pairs, the figures of each kind of pair, the thresholds and open-set search."""
    return "\n".join(_lines(verification))


def _lines(verification: Verification) -> Iterator[str]:
    calibration = verification.calibration
    if verification.people_fitted:
        yield (
            f"fitted on {verification.people_fitted:,} people, measured on {verification.people_held_out:,} others "
            f"({verification.crops:,} crops, {calibration.distance} distance)"
        )
    else:
        yield f"measured on {verification.people_held_out:,} people ({verification.crops:,} crops); nothing was fitted"
    yield from (f"note: {note}" for note in verification.notes)
    yield ""
    yield (
        f"{'pairs':34}{'curve':>9}{'same':>9}{'different':>10}   {'ECE % (95 %)':17}{'EER % (95 %)':18}"
        + "".join(f"{f'TAR@{rate:g}':12}" for rate in FALSE_ACCEPT_RATES)
    )
    yield from (_score_line(one) for one in verification.scores)
    yield (
        f"ECE: mean distance between stated and observed probability where {100 * calibration.prior:g} % of the pairs "
        "are of one person. EER: equal error rate. TAR@x: share of the pairs of one person that is accepted where a "
        "share of x of the others is."
    )
    yield from _threshold_lines(calibration)
    if verification.open_set:
        yield ""
        yield "search with one crop a person in the gallery, where some people are not in it"
        for one in verification.open_set:
            yield (
                f"  {one.people:>5,} people: {100 * one.false_negative_rate:5.1f} % missed "
                f"({100 * one.low:.1f} – {100 * one.high:.1f}) where {100 * one.false_positive_rate:g} % of the "
                "strangers find somebody"
            )


def _score_line(scores: PairScores) -> str:
    rates = "".join(
        f"{100 * scores.true_accept_rates[rate].value:<12.1f}" if rate in scores.true_accept_rates else f"{'–':12}"
        for rate in FALSE_ACCEPT_RATES
    )
    return (
        f"{scores.curve.name:34}{scores.curve.method:>9}{scores.same_pairs:>9,}{scores.different_pairs:>10,}   "
        f"{_percent(scores.calibration_error):17}{_percent(scores.equal_error_rate):18}{rates}"
    ).rstrip()


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.2f} ({100 * estimate.low:.2f}–{100 * estimate.high:.2f})"


def _threshold_lines(calibration: Calibration) -> Iterator[str]:
    new, same = calibration.thresholds
    costs = calibration.costs
    yield ""
    yield (
        f"verdicts at prior {calibration.prior:g}, costs {costs.false_match_cost:g} (false match), "
        f"{costs.missed_match_cost:g} (missed match), {costs.question_cost:g} (question):"
    )
    yield f"  same from probability {same:.3g}, new below {new:.3g}, ask between"
    for curve in calibration.curves:
        near, far = distance_limits(curve, calibration)
        yield f"  {curve.name:34}same {_limit(near, 'up to')}, new {_limit(far, 'beyond')}"


def distance_limits(curve: CalibrationCurve, calibration: Calibration) -> tuple[float | None, float | None]:
    """The distance up to which pairs are the same, and the one beyond which they are new; None where none is."""
    prior = math.log(calibration.prior / (1 - calibration.prior))
    new, same = (curve.distance_at(math.log(level / (1 - level)) - prior) for level in calibration.thresholds)
    return same, new


def _limit(distance: float | None, word: str) -> str:
    if distance is None:
        return "never" if word == "up to" else "always"
    if math.isinf(distance):
        return "always" if word == "up to" else "never"
    return f"{word} {distance:.3f}"
