"""Progress bars with rate and remaining time. They are drawn on terminals only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Advances a bar by `count` units and, if a label is given, replaces its label."""

    def __call__(self, count: int, label: str | None = None, /) -> None: ...  # noqa: D102


@contextmanager
def progress_bar(label: str, total: int | None, *, unit: str = "crops", show: bool = True) -> Iterator[Advance]:
    """Show a bar on standard error, and yield the function that advances it.

    Args:
        label: Text before the bar, such as ``embed query``.
        total: Number of units, or None if it is unknown.
        unit: Name of the units, for the rate.
        show: Whether to draw. Nothing is drawn either if standard error is not a
            terminal, so that logs contain no control codes.
    """
    if not show or not sys.stderr.isatty():
        yield lambda _count, _label=None: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=total)

        def move(count: int, label: str | None = None, /) -> None:
            bars.update(task, advance=count, description=label)

        yield move
