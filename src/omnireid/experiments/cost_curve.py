"""The picture of a table about accuracy at a cost: mAP against multiply-adds, and against measured milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnireid.experiments.crop_times import CropTimes
from omnireid.experiments.plan import count_network_multiply_adds, row_size
from omnireid.experiments.summary import RowSummary
from omnireid.experiments.table import ExperimentTable
from omnireid.plots import new_figure, save_figure
from omnireid.training.recipes import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_NAME = "cost-curve.svg"
"""Name of the picture in an experiment's folder."""


@dataclass(frozen=True)
class _Point:
    """A row of the table as a point of the picture. The mAP values are percentages, or None where there is none."""

    network: str
    size: str
    multiply_adds: float
    milliseconds: float
    measured: float | None
    published: float | None


def draw_cost_curve(
    table: ExperimentTable, base: Recipe, rows: Sequence[RowSummary], times: CropTimes, path: Path
) -> None:
    """Draw mAP against both costs, with a line for each network.

    A row without a score is a tick on the axis of costs. Hollow points are published values. They stand at the
    published multiply-adds, so they are left out where none are stated.

    Args:
        table: The table.
        base: The recipe that its rows share.
        rows: What each row came to. The mAP is that on the first data set.
        times: The measured milliseconds.
        path: Picture to write, ``.svg`` or ``.png``.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: The picture cannot be written.
    """
    points = [_point(summary, base, times) for summary in rows]
    figure = new_figure(f"{table.name}: accuracy at a cost", 11, 5.4)
    left, right = figure.subplots(1, 2, sharey=True)
    for number, network in enumerate(dict.fromkeys(point.network for point in points)):
        group, colour = [point for point in points if point.network == network], f"C{number}"
        _draw_hollow(left, [(one.multiply_adds, one.published) for one in group if one.published is not None], colour)
        below = number % 2 == 0  # points of neighbouring widths may lie close to each other
        _draw_network(left, group, [point.multiply_adds for point in group], colour, is_named_below=below)
        _draw_network(right, group, [point.milliseconds for point in group], colour, is_named_below=below)
    for axes in (left, right):
        _use_log_scale(axes)
    _add_legend(right, is_published=any(point.published is not None for point in points))
    scored = next((scores.dataset for summary in rows for scores in summary.scores), None)
    left.set_ylabel("mAP (%)" if scored is None else f"mAP on {scored} (%)", parse_math=False)
    left.set_xlabel("million multiply-adds per crop")
    right.set_xlabel("milliseconds per crop, ONNX Runtime in float32, one thread")
    save_figure(figure, path)


def _point(summary: RowSummary, base: Recipe, times: CropTimes) -> _Point:
    row, (height, width) = summary.row, row_size(summary.row, base)
    model, published = row.recipe_from(base, 0).model, row.published
    scores = [one.scores["mean_average_precision"].value for one in summary.scores[:1]]
    return _Point(
        network=model,
        size=f"{height}×{width}",
        multiply_adds=count_network_multiply_adds(model, height, width) / 1e6,
        milliseconds=times.milliseconds[row.name],
        measured=100 * scores[0] if scores else None,
        published=published.mean_average_precision if published is not None and published.multiply_adds else None,
    )


def _draw_hollow(axes: Axes, points: Sequence[tuple[float, float]], colour: str, label: str | None = None) -> None:
    """Draw published values, (cost, mAP)."""
    costs, scores = [cost for cost, _ in points], [score for _, score in points]
    axes.plot(costs, scores, "o:", color=colour, markerfacecolor="none", alpha=0.6, label=label)


def _draw_network(
    axes: Axes, group: Sequence[_Point], costs: Sequence[float], colour: str, *, is_named_below: bool
) -> None:
    """Draw the points of one network. Where it has several sizes, each point is named by its own."""
    points = list(zip(costs, group, strict=True))
    scored = [(cost, point.measured, point.size) for cost, point in points if point.measured is not None]
    axes.plot(
        [cost for cost, _, _ in scored],
        [score for _, score, _ in scored],
        marker="o",
        color=colour,
        label=group[0].network,
    )
    unscored = [cost for cost, point in points if point.measured is None]
    axes.plot(unscored, [0.03] * len(unscored), "|", color=colour, markersize=12, transform=axes.get_xaxis_transform())
    place = (6, -9) if is_named_below else (-30, 6)
    for cost, score, size in scored if len(group) > 1 else ():
        axes.annotate(size, (cost, score), xytext=place, textcoords="offset points", fontsize=7, color=colour)


def _use_log_scale(axes: Axes) -> None:
    """Make the axis of costs logarithmic, with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(visible=True, alpha=0.3)


def _add_legend(axes: Axes, *, is_published: bool) -> None:
    """Name the networks, and what hollow points and ticks are."""
    if is_published:
        _draw_hollow(axes, [], "grey", "published (left panel)")
    axes.plot([], [], "|", color="grey", markersize=12, label="no score: cost only")
    axes.legend(fontsize=8)
