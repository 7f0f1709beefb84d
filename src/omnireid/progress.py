"""Progress bars with rate and time left; silent where nobody is looking."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Moves a bar on by `count` units and, where one is given, puts a new label before it."""

    def __call__(self, count: int, label: str | None = None, /) -> None: ...  # noqa: D102


@contextmanager
def progress_bar(label: str, total: int | None, *, unit: str = "crops", show: bool = True) -> Iterator[Advance]:
    """Show a bar on standard error and give the function that advances it by n.

    Args:
        label: what is going on, such as ``embed query``.
        total: how many units there are; None where it is not known.
        unit: what is counted, for the rate.
        show: False gives the same function and draws nothing, and so does
            standard error that is not a terminal: a log keeps no control codes.
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
