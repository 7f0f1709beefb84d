"""A figure of a calibration: distances, error rates, reliability and curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from omnireid.evaluation.pair_scores import PairScores
from omnireid.evaluation.verification import Verification
from omnireid.plots import new_figure, save_figure
from omnireid.retrieval.calibration import to_probabilities

# Okabe and Ito's palette; line styles say it again for grey printers.
_BLUE, _ORANGE, _GREEN = "#0072b2", "#d55e00", "#009e73"
_STYLES = {"any": ("#333333", "-"), "same-camera": (_BLUE, "--"), "other-cameras": (_ORANGE, "-.")}


def draw_calibration(verification: Verification, output: Path) -> None:
    """Draw how well people are told apart and whether the probabilities hold, for pairs whatever their time.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    calibration = verification.calibration
    people = f"{verification.people_held_out:,} people"
    title = (
        f"{calibration.model} · {calibration.distance} distance · fitted on {calibration.data} · measured on {people}"
    )
    figure = new_figure(title, 12, 9)
    shown = [one for one in verification.scores if one.curve.least_gap_s is None]
    (distances, rates), (reliability, curves) = figure.subplots(2, 2)
    main = shown[-1] if len(shown) > 1 else shown[0]
    _draw_distances(distances, main)
    rates.set(
        title="Pairs of one person that are accepted",
        xscale="log",
        xlabel="false accept rate",
        ylabel="true accept rate",
    )
    reliability.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    reliability.set(
        title="Do the probabilities hold?", xlabel="stated probability", ylabel="observed share of one person"
    )
    curves.set(
        title=f"Probability at prior {calibration.prior:g}",
        xlabel=f"{calibration.distance} distance",
        ylabel="probability",
    )
    new, same = calibration.thresholds
    for level, name in ((same, "same from here up"), (new, "new below")):
        curves.axhline(level, color="#999999", linewidth=1)
        curves.annotate(
            name, (0.99, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#666666"
        )
    for scores in shown:
        colour, style = _STYLES[scores.curve.relation]
        rates.plot(*zip(*scores.roc, strict=True), color=colour, linestyle=style, label=scores.curve.name)
        stated = [one.probability for one in scores.reliability]
        observed = [one.observed for one in scores.reliability]
        text = f"{scores.curve.name}: ECE {100 * scores.calibration_error.value:.2f} %"
        reliability.plot(stated, observed, color=colour, linestyle=style, marker="o", markersize=4, label=text)
        grid = np.linspace(scores.curve.distances[0], scores.curve.distances[-1], 400)
        probabilities = to_probabilities(scores.curve.evaluate(grid), calibration.prior)
        curves.plot(
            grid, probabilities, color=colour, linestyle=style, label=f"{scores.curve.name} ({scores.curve.method})"
        )
    for axes in (rates, reliability, curves):
        axes.grid(alpha=0.25)
        axes.legend()
    save_figure(figure, output)


def _draw_distances(axes: Any, scores: PairScores) -> None:
    edges = np.asarray(scores.histogram_edges)
    for counts, colour, style, name in (
        (scores.same_histogram, _BLUE, "-", "one person"),
        (scores.different_histogram, _ORANGE, "--", "two people"),
    ):
        axes.stairs(counts, edges, color=colour, linestyle=style, fill=False, label=name, linewidth=1.6)
    axes.set(title=f"Distances ({scores.curve.name})", xlabel="distance", ylabel="share of pairs")
    axes.grid(alpha=0.25)
    axes.legend()
