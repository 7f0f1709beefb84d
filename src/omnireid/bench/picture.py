"""The picture of a benchmark: speed against what it costs in quality, a point a way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnireid.bench.session import Measured
from omnireid.plots import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMALLEST_ERROR = 1e-7
"""A mean error below it is drawn there: float32 tells no less from none, and a logarithm has no place for 0."""


def draw_benchmark(measured: Sequence[Measured], path: Path, title: str, *, scored: str | None) -> None:
    """Draw speed against mAP, or without scores against the mean cosine error, as PNG.

    A way without a reference has no error and is not drawn.

    Args:
        measured: the points.
        path: the picture to write.
        title: above it, as it is.
        scored: what the mAP was measured on; None without data.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    figure = new_figure(title, 9, 5.4)
    axes = figure.subplots()
    for result in measured:
        quality = _quality(result, scored)
        if quality is not None:
            _point(axes, result, quality, is_named=len({result.way.weights for result in measured}) > 1)
    if scored is None:
        axes.set_yscale("log")
        axes.invert_yaxis()  # better is up in both pictures
    axes.set_ylabel("1 − mean cosine with float32" if scored is None else f"mAP on {scored} (%)", parse_math=False)
    axes.set_xlabel("crops a second, at the best batch size")
    axes.set_xlim(0, 1.3 * max(result.best_rate for result in measured))  # with room for the last name
    axes.margins(y=0.1)
    axes.grid(visible=True, alpha=0.3)
    save_figure(figure, path)


def _quality(result: Measured, scored: str | None) -> float | None:
    if scored is not None:
        return None if result.mean_average_precision is None else 100 * result.mean_average_precision
    return None if result.reference is None else max(1 - result.reference[1].mean, _SMALLEST_ERROR)


def _point(axes: Axes, result: Measured, quality: float, *, is_named: bool) -> None:
    name = f"{result.way.weights.name}, {result.way.name}" if is_named else result.way.name
    axes.plot([result.best_rate], [quality], marker="o", linestyle="")
    axes.annotate(
        name, (result.best_rate, quality), xytext=(6, 4), textcoords="offset points", fontsize=8, parse_math=False
    )
