"""Pictures of a run: loss, learning rate, scores and speed; and the scores of several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omnireid.errors import TrainingError
from omnireid.plots import new_figure, save_figure
from omnireid.training.journal import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCORES = {"rank1": "rank-1", "mean_average_precision": "mAP"}
"""Scores that are drawn, by their names in the journal, and what the legend calls them."""

_PERCENT = 100


def draw_curves(entries: Sequence[Entry], path: Path, title: str) -> None:
    """Draw one run over its epochs, as PNG: loss, learning rate, rank-1 and mAP, images per second.

    A value that was not finite leaves a gap. A panel without anything to show says so.

    Args:
        entries: as `read_journal` gives them.
        path: the picture to write.
        title: above it, as it is; a dollar sign starts no formula.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    figure = new_figure(title, 11, 7.8)
    losses, rates, scores, speed = figure.subplots(2, 2, sharex=True).flat
    for name in _loss_names(entries):
        _plot(losses, *_series(entries, name, "epoch"), label=name.replace("_", " "))
    _plot(rates, *_series(entries, "learning_rate", "epoch"), label="learning rate")
    for name, label in SCORES.items():
        _plot(scores, *_series(entries, name, "epoch", _PERCENT), label=label, marker="o")
    _plot(speed, *_series(entries, "images_per_second", "epoch"), label="images a second")
    panels = {losses: "loss", rates: "learning rate", scores: "score (%)", speed: "images / s"}
    for axes, label in panels.items():
        _finish(axes, "epoch", label)
    speed.set_ylim(bottom=0)
    save_figure(figure, path)


def draw_comparison(
    runs: Mapping[str, Sequence[Entry]], path: Path, x: Literal["seconds", "epoch"], title: str
) -> None:
    """Draw how mAP and rank-1 rise in several runs, as PNG.

    Args:
        runs: the entries of each run under the name the legend gives it.
        path: the picture to write.
        x: over the run's time (evaluations included, as its journal counts it), or over epochs.
        title: above it, as it is.

    Raises:
        TrainingError: no run, or another `x`.
        MissingDependencyError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    if not runs:
        raise TrainingError("There is no run to draw. Give at least one, under the name the legend should have.")
    if x not in ("seconds", "epoch"):
        raise TrainingError(f"Runs are drawn over 'seconds' or 'epoch'; got {x!r}.")
    figure = new_figure(title, 11, 4.2)
    scale, label = _time_unit(runs) if x == "seconds" else (1.0, "epoch")
    panels = figure.subplots(1, 2)
    for axes, score in zip(panels, reversed(SCORES), strict=True):
        for name, entries in runs.items():
            places, values = _series(entries, score, x, _PERCENT)
            _plot(axes, [place * scale for place in places], values, label=name, marker="o")
        _finish(axes, label, f"{SCORES[score]} (%)")
    save_figure(figure, path)


def _series(entries: Sequence[Entry], name: str, x: str, factor: float = 1.0) -> tuple[list[float], list[float]]:
    """Where and what `name` was; NaN where it was not finite.

    What each step says is preferred to the means of epochs: both in one line would zigzag.
    """
    having = [entry for entry in entries if name in entry]
    fine = [entry for entry in having if entry["kind"] == "step"]
    chosen = fine or having
    return [float(entry[x]) for entry in chosen], [_number(entry[name]) * factor for entry in chosen]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _loss_names(entries: Sequence[Entry]) -> list[str]:
    """``loss`` and what ends in ``_loss``, in the order they first appear."""
    return [name for name in dict.fromkeys(key for entry in entries for key in entry) if f"_{name}".endswith("_loss")]


def _time_unit(runs: Mapping[str, Sequence[Entry]]) -> tuple[float, str]:
    """The factor from seconds to the unit that suits the longest run, and the axis's label."""
    longest = max((float(entry["seconds"]) for entries in runs.values() for entry in entries), default=0.0)
    for unit, seconds in (("hours", 3600.0), ("minutes", 60.0)):
        if longest >= 2 * seconds:
            return 1 / seconds, f"time ({unit})"
    return 1.0, "time (seconds)"


def _plot(axes: Axes, x: list[float], y: list[float], *, label: str, marker: str = "") -> None:
    if x:
        # A single value is no line, so it gets a dot.
        (line,) = axes.plot(x, y, marker=marker or ("o" if len(x) == 1 else ""), markersize=4, linewidth=1.4)
        line.set_label(label if not label.startswith("_") else f" {label}")  # an underscore would hide it


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.tick_params(labelbottom=True)
    axes.grid(visible=True, alpha=0.3)
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing logged", transform=axes.transAxes, ha="center", va="center", color="gray")
        return
    for text in axes.legend().get_texts():
        text.set_parse_math(False)
