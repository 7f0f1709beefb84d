"""The part of a report that says what distances mean."""

from __future__ import annotations

import math

import numpy as np

from omnireid.evaluation.pair_scores import FALSE_ACCEPT_RATES, Estimate, PairScores
from omnireid.evaluation.verification import Verification
from omnireid.evaluation.verification_text import distance_limits
from omnireid.reports.charts import Axis, Series, axis_over, draw_lines, stairs
from omnireid.reports.parts import Block, Chart, Section, Table
from omnireid.retrieval.calibration import Calibration, to_probabilities

_TITLE = "Calibration: what a distance means"
_GRID = 60
_LEAST_WEIGHT = 0.005  # of the pairs; a dot of fewer says little


def describe_calibration(verification: Verification | None, note: str = "") -> Section:
    """Tables and charts of a calibration; a sentence where there is none.

    Args:
        verification: A calibration and its figures.
        note: Why there is none.
    """
    if verification is None:
        return Section(_TITLE, note)
    calibration = verification.calibration
    shown = [one for one in verification.scores if one.curve.least_gap_s is None]
    new, same = calibration.thresholds
    fitted = (
        f"fitted on {verification.people_fitted:,} people and measured on {verification.people_held_out:,} others"
        if verification.people_fitted
        else f"made on other data ({calibration.data}) and measured on these {verification.people_held_out:,} people"
    )
    text = (
        f"The calibration was {fitted}. A probability of 0.9 means that nine in ten such pairs show one person, if "
        f"pairs of one person are {100 * calibration.prior:g} % of all: that is the prior. ECE is how far stated and "
        f"observed probabilities are apart. At the stated costs a pair is the same from {same:.3g} and new below "
        f"{new:.3g}; between them somebody should look. The chart of the probabilities leaves out dots of less than "
        "0.5 % of the pairs."
    )
    blocks: list[Block] = [
        _table(shown, calibration),
        _distances(shown[-1], calibration),
        _reliability(shown),
        _probabilities(shown, calibration),
        _accept_rates(shown),
        *([_open_set(verification)] if verification.open_set else []),
    ]
    return Section(_TITLE, text, blocks=blocks)


def _table(shown: list[PairScores], calibration: Calibration) -> Table:
    rates = tuple(f"TAR at FAR {rate:g}" for rate in FALSE_ACCEPT_RATES)
    rows = []
    for one in shown:
        near, far = distance_limits(one.curve, calibration)
        accepted = (
            _percent(one.true_accept_rates[rate]) if rate in one.true_accept_rates else "–"
            for rate in FALSE_ACCEPT_RATES
        )
        limits = ("never" if near is None else _limit(near), "always" if far is None else _limit(far))
        cells = (_percent(one.calibration_error), _percent(one.equal_error_rate), *accepted, *limits)
        rows.append((one.curve.name, one.curve.method, *cells))
    return Table(("pairs", "curve", "ECE %", "EER %", *rates, "same up to", "new beyond"), tuple(rows))


def _limit(distance: float) -> str:
    return "any" if math.isinf(distance) else f"{distance:.3f}"


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _distances(scores: PairScores, calibration: Calibration) -> Chart:
    edges = scores.histogram_edges
    series = [
        Series(name, stairs(edges, [100 * share for share in shares]), is_filled=True)
        for name, shares in (("one person", scores.same_histogram), ("two people", scores.different_histogram))
    ]
    heights = [top for one in series for _, top in one.points]
    x = Axis(f"{calibration.distance} distance", edges[0], edges[-1] if edges[-1] > edges[0] else edges[0] + 1)
    return draw_lines(
        f"Distances of pairs ({scores.curve.name})", series, x, axis_over("% of the pairs", heights, least=0)
    )


def _reliability(shown: list[PairScores]) -> Chart:
    series = [
        Series(
            f"{one.curve.name}, ECE {100 * one.calibration_error.value:.1f} %",
            tuple((each.probability, each.observed) for each in one.reliability if each.weight >= _LEAST_WEIGHT),
            has_dots=True,
        )
        for one in shown
    ]
    x, y = Axis("stated probability", 0, 1), Axis("observed share of one person", 0, 1)
    return draw_lines("Do the probabilities hold?", series, x, y, has_diagonal=True)


def _probabilities(shown: list[PairScores], calibration: Calibration) -> Chart:
    low = min(one.curve.distances[0] for one in shown)
    high = max(one.curve.distances[-1] for one in shown)
    grid = np.linspace(low, high, _GRID)
    series = []
    for one in shown:
        values = to_probabilities(one.curve.evaluate(grid), calibration.prior)
        series.append(Series(one.curve.name, tuple(zip(grid.tolist(), values.tolist(), strict=True))))
    new, same = calibration.thresholds
    return draw_lines(
        f"Probability of one person at prior {calibration.prior:g}",
        series,
        Axis(f"{calibration.distance} distance", low, high),
        Axis("probability", 0, 1),
        levels=[(same, "same above"), (new, "new below")],
    )


def _accept_rates(shown: list[PairScores]) -> Chart:
    series = [Series(one.curve.name, tuple((rate, 100 * share) for rate, share in one.roc)) for one in shown]
    x = Axis("false accept rate (two people taken for one)", 1e-4, 1, is_logarithmic=True)
    return draw_lines("Pairs of one person that are accepted", series, x, Axis("%", 0, 100))


def _open_set(verification: Verification) -> Table:
    rates = sorted({one.false_positive_rate for one in verification.open_set}, reverse=True)
    found = {(one.people, one.false_positive_rate): one for one in verification.open_set}
    rows = []
    for people in sorted({one.people for one in verification.open_set}):
        cells = []
        for rate in rates:
            one = found.get((people, rate))
            cells.append("–" if one is None else _percent(Estimate(one.false_negative_rate, one.low, one.high)))
        rows.append((f"{people:,} people in the gallery", *cells))
    columns = (
        "open-set search, one crop a person",
        *(f"% missed where {100 * rate:g} % of strangers match" for rate in rates),
    )
    return Table(columns, tuple(rows))
