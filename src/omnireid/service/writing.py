"""One thread that writes the gallery, so that no search waits for a lock; crops that wait are added together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from omnireid.errors import BusyError

_MOST_WAITING = 512
_MOST_TOGETHER = 64

One = TypeVar("One")


@dataclass(frozen=True, eq=False)
class _Task(Generic[One]):
    """Something to write: a value that is added with others of its group, or a function that is called alone."""

    done: Future[Any]
    value: One | None = None
    group: Hashable = None
    call: Callable[[], Any] | None = None


@dataclass(eq=False)
class Writer(Generic[One]):
    """Writes what arrives, one thing after the other, so that only one thread waits for the gallery's lock.

    Attributes:
        add_together: Adds the values of one group; returns a result or an error for each.
        after_write: Called in the thread after each write, such as to tidy up.
    """

    add_together: Callable[[Sequence[One]], Sequence[object]]
    after_write: Callable[[], None]
    _waiting: queue.Queue[_Task[One] | None] = field(default_factory=lambda: queue.Queue(_MOST_WAITING))
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and stop the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def add(self, value: One, group: Hashable) -> Future[Any]:
        """Add a value, together with others of its group that wait beside it.

        Raises:
            BusyError: too much waits.
        """
        return self._put(_Task(Future(), value=value, group=group))

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Call a function that writes.

        Raises:
            BusyError: too much waits.
        """
        return self._put(_Task(Future(), call=function))

    def _put(self, task: _Task[One]) -> Future[Any]:
        try:
            self._waiting.put_nowait(task)
        except queue.Full:
            raise BusyError(
                f"{_MOST_WAITING:,} writes wait already; nothing was changed. Try again in a few seconds."
            ) from None
        return task.done

    def _run(self) -> None:
        is_stopping = False
        while not is_stopping:
            tasks = self._take()
            is_stopping = None in tasks
            groups: dict[Hashable, list[_Task[One]]] = {}
            calls: list[list[_Task[One]]] = []
            for task in tasks:
                if task is not None and task.call is None:
                    groups.setdefault(task.group, []).append(task)
                elif task is not None:
                    calls.append([task])
            for together in (*groups.values(), *calls):
                self._write(together)

    def _take(self) -> list[_Task[One] | None]:
        """What waits. Nothing of it is acknowledged, so its order is free, and additions come first, together."""
        tasks = [self._waiting.get()]
        while len(tasks) < _MOST_TOGETHER and tasks[-1] is not None:
            try:
                tasks.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return tasks

    def _write(self, together: Sequence[_Task[One]]) -> None:
        tasks = [task for task in together if task.done.set_running_or_notify_cancel()]
        if not tasks:
            return
        try:
            if tasks[0].call is not None:
                results: Sequence[object] = [tasks[0].call()]
            else:
                results = self.add_together([task.value for task in tasks if task.value is not None])
            self.after_write()
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the request, and the thread goes on
            for task in tasks:
                task.done.set_exception(error)
            return
        for task, result in zip(tasks, results, strict=True):
            if isinstance(result, Exception):
                task.done.set_exception(result)
            else:
                task.done.set_result(result)
