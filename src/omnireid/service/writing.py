"""One thread that writes the gallery, so that no search waits for a lock; what waits there shares a write."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from omnireid.service.work_queue import WorkQueue

_MOST_WAITING = 512
_MOST_TOGETHER = 128

WriteTogether = Callable[[Sequence[Any]], Sequence[object]]
"""Writes values; returns a result or an error for each. What it raises itself is the error of all of them."""


@dataclass(frozen=True, eq=False)
class _Task:
    """A value to be written, with others of the same function and group."""

    done: Future[Any]
    write: WriteTogether
    value: Any
    group: Hashable
    keeps_order: bool


class Writer:
    """Writes what arrives, one thing after the other, so that only one thread waits for the gallery's lock."""

    def __init__(self, after_write: Callable[[], None]) -> None:
        """The thread does not run yet.

        Args:
            after_write: Called in the thread after each write, such as to tidy up.
        """
        self._after_write = after_write
        self._queue: WorkQueue[_Task] = WorkQueue(
            "writer",
            self._write_all,
            _MOST_WAITING,
            f"{_MOST_WAITING:,} writes wait already; nothing was changed. Try again in a few seconds.",
            _MOST_TOGETHER,
        )

    def start(self) -> None:
        """Start the thread."""
        self._queue.start()

    def stop(self) -> None:
        """Write what waits, and stop the thread."""
        self._queue.stop()

    def put(
        self, write: WriteTogether, value: object, group: Hashable = None, *, keeps_order: bool = True
    ) -> Future[Any]:
        """Write a value, together with others that wait beside it.

        Args:
            write: Writes it with others of its group.
            value: What is written.
            group: Only values of one group share a write.
            keeps_order: Nothing that came before or after it changes places with it. Values without an order are
                written first, as nothing that waits is acknowledged.

        Raises:
            BusyError: too much waits.
        """
        task = _Task(Future(), write, value, group, keeps_order)
        self._queue.put([task])
        return task.done

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Call a function that writes, in its turn.

        Raises:
            BusyError: too much waits.
        """
        return self.put(lambda _values: [function()], None, object())

    def _write_all(self, tasks: Sequence[_Task]) -> None:
        for together in _groups_of(tasks):
            self._write(together)

    def _write(self, together: Sequence[_Task]) -> None:
        tasks = [task for task in together if task.done.set_running_or_notify_cancel()]
        if not tasks:
            return
        try:
            results = tasks[0].write([task.value for task in tasks])
            self._after_write()
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the request, and the thread goes on
            for task in tasks:
                task.done.set_exception(error)
            return
        for task, result in zip(tasks, results, strict=True):
            if isinstance(result, Exception):
                task.done.set_exception(result)
            else:
                task.done.set_result(result)


def _groups_of(tasks: Sequence[_Task]) -> Iterator[list[_Task]]:
    """Tasks that share a write: first those without an order by their groups, then neighbours of one group."""
    groups: dict[Hashable, list[_Task]] = {}
    for task in tasks:
        if not task.keeps_order:
            groups.setdefault(task.group, []).append(task)
    yield from groups.values()
    in_order = (task for task in tasks if task.keeps_order)
    for _, neighbours in groupby(in_order, key=lambda task: task.group):
        yield list(neighbours)
