"""Work that waits for threads of its own, which take several items of it at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from omnireid.errors import BusyError

Item = TypeVar("Item")


@dataclass(eq=False)
class WorkQueue(Generic[Item]):
    """A bounded queue, and the threads that take from it.

    Attributes:
        name: Name of the threads.
        work: Called in a thread with the items that it took, in the order of their arrival. It must not raise.
        most_waiting: Number of items that may wait.
        busy: Message of the error where more than that would wait.
        most_together: Number of items that a thread takes at once, at most.
        threads: Number of threads. Those without work share what waits.
        wait_s: Seconds that an idle thread waits for further items after the first one, until it has `most_together`.
    """

    name: str
    work: Callable[[Sequence[Item]], None]
    most_waiting: int
    busy: str
    most_together: int
    threads: int = 1
    wait_s: float = 0.0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: deque[Item] = field(default_factory=deque)
    _idle: int = 0
    _is_stopping: bool = False
    _started: list[threading.Thread] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def start(self) -> None:
        """Start the threads."""
        self._started = [threading.Thread(target=self._run, name=self.name, daemon=True) for _ in range(self.threads)]
        for thread in self._started:
            thread.start()

    def stop(self) -> None:
        """Do what waits, and stop the threads."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        for thread in self._started:
            thread.join()

    def put(self, items: Sequence[Item]) -> None:
        """Let items wait: all of them, or none.

        Raises:
            BusyError: too many wait.
        """
        with self._changed:
            if len(self._waiting) + len(items) > self.most_waiting:
                raise BusyError(self.busy)
            self._waiting.extend(items)
            self._changed.notify(len(items))

    def _run(self) -> None:
        while items := self._take():
            self.work(items)

    def _take(self) -> Sequence[Item]:
        """This thread's share of what waits; nothing when it is to stop."""
        with self._changed:
            self._idle += 1
            while not self._waiting and not self._is_stopping:
                self._changed.wait()
                if self.wait_s:
                    self._changed.wait_for(self._is_enough, self.wait_s)
            count = min(self.most_together, -(-len(self._waiting) // self._idle))
            self._idle -= 1
            return [self._waiting.popleft() for _ in range(count)]

    def _is_enough(self) -> bool:
        return self._is_stopping or len(self._waiting) >= self.most_together
