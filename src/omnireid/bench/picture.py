"""The picture of a benchmark: speed against quality, with a point for each configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnireid.bench.session import Measured
from omnireid.plots import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMALLEST_ERROR = 1e-7
"""Smaller mean errors are drawn at this value: float32 cannot tell them from 0, which a logarithmic axis lacks."""


def draw_benchmark(measured: Sequence[Measured], path: Path, title: str, *, scored: str | None) -> None:
    """Draw speed against mAP, or without scores against the mean cosine error, as PNG.

    A configuration without a reference has no error and is not drawn.

    Args:
        measured: What was measured, one point each.
        path: PNG file to write.
        title: Text above the picture.
        scored: Name of the data set the mAP was measured on, or None without data.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    figure = new_figure(title, 9, 5.4)
    axes = figure.subplots()
    for result in measured:
        quality = _quality(result, scored)
        if quality is not None:
            _point(axes, result, quality, is_named=len({result.configuration.weights for result in measured}) > 1)
    if scored is None:
        axes.set_yscale("log")
        axes.invert_yaxis()  # better is up in both pictures
    axes.set_ylabel("1 − mean cosine with float32" if scored is None else f"mAP on {scored} (%)", parse_math=False)
    axes.set_xlabel("crops per second at the best batch size")
    axes.set_xlim(0, 1.3 * max(result.best_rate for result in measured))  # leaves room for the last name
    axes.margins(y=0.1)
    axes.grid(visible=True, alpha=0.3)
    save_figure(figure, path)


def _quality(result: Measured, scored: str | None) -> float | None:
    if scored is not None:
        return None if result.mean_average_precision is None else 100 * result.mean_average_precision
    return None if result.reference is None else max(1 - result.reference[1].mean, _SMALLEST_ERROR)


def _point(axes: Axes, result: Measured, quality: float, *, is_named: bool) -> None:
    configuration = result.configuration
    name = f"{configuration.weights.name}, {configuration.name}" if is_named else configuration.name
    axes.plot([result.best_rate], [quality], marker="o", linestyle="")
    axes.annotate(
        name, (result.best_rate, quality), xytext=(6, 4), textcoords="offset points", fontsize=8, parse_math=False
    )
