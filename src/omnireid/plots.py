"""Figures of matplotlib, drawn without a screen and without global state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from omnireid.errors import require
from omnireid.files import atomic_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 120


def require_plots() -> None:
    """Check that figures can be drawn.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require("matplotlib", "train", "Drawing a figure")


def new_figure(title: str, width: float, height: float) -> Figure:
    """An empty figure with a title, made without pyplot.

    Args:
        title: Shown above the figure as it is; a dollar sign starts no formula.
        width: Width in inches.
        height: Height in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_plots()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as SVG where the name ends in ``.svg``, and as PNG otherwise.

    Raises:
        OutputError: the file cannot be written.
    """
    is_svg = path.suffix == ".svg"
    with atomic_output(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a letter the font lacks becomes a box
        if is_svg:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        else:
            figure.savefig(temporary, format="png", dpi=_DPI)
