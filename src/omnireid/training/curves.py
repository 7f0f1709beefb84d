"""Pictures of a run (loss, learning rate, scores and speed), and of the scores of several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omnireid.errors import TrainingError
from omnireid.plots import new_figure, save_figure
from omnireid.training.journal import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCORES = {"rank1": "rank-1", "mean_average_precision": "mAP", "top1": "top-1", "top5": "top-5"}
"""Scores that are drawn: their names in the journal, and in the legend."""

_PERCENT = 100


def draw_curves(entries: Sequence[Entry], path: Path, title: str) -> None:
    """Draw one run over its epochs, as PNG: loss, learning rate, scores, images per second.

    A value that was not finite leaves a gap. A panel with nothing to show says so.

    Args:
        entries: Entries that `read_journal` returned.
        path: Picture to write.
        title: Text above the picture; a dollar sign starts no formula.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: The picture cannot be written.
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
        runs: Entries of each run, under its name in the legend.
        path: Picture to write.
        x: ``seconds`` of the run, evaluations included, or ``epoch``.
        title: Text above the picture.

    Raises:
        TrainingError: There is no run, or `x` is something else.
        MissingDependencyError: matplotlib is not installed.
        OutputError: The picture cannot be written.
    """
    if not runs:
        raise TrainingError("There is no run to draw. Give at least one, under the name the legend should have.")
    if x not in ("seconds", "epoch"):
        raise TrainingError(f"Runs are drawn over 'seconds' or 'epoch'; got {x!r}.")
    figure = new_figure(title, 11, 4.2)
    scale, label = _time_unit(runs) if x == "seconds" else (1.0, "epoch")
    panels = figure.subplots(1, 2)
    for axes, score in zip(panels, ("mean_average_precision", "rank1"), strict=True):
        for name, entries in runs.items():
            positions, values = _series(entries, score, x, _PERCENT)
            _plot(axes, [position * scale for position in positions], values, label=name, marker="o")
        _finish(axes, label, f"{SCORES[score]} (%)")
    save_figure(figure, path)


def _series(entries: Sequence[Entry], name: str, x: str, factor: float = 1.0) -> tuple[list[float], list[float]]:
    """Positions on the x axis and values of `name`; NaN for values that were not finite.

    Values of single steps are preferred to the means of epochs: both in one line would zigzag.
    """
    with_value = [entry for entry in entries if name in entry]
    of_steps = [entry for entry in with_value if entry["kind"] == "step"]
    chosen = of_steps or with_value
    return [float(entry[x]) for entry in chosen], [_number(entry[name]) * factor for entry in chosen]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _loss_names(entries: Sequence[Entry]) -> list[str]:
    """``loss`` and names that end in ``_loss``, in the order in which they first appear."""
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
        # A single value makes no line, so it gets a dot.
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
