"""Ctrl-C and SIGTERM as a request to stop after the current step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """Whether somebody asked to stop.

    Attributes:
        name: Name of the signal, such as ``SIGINT``; None while nobody has asked.
    """

    name: str | None = None


@contextmanager
def caught_signals() -> Iterator[Stop]:
    """Record SIGINT and SIGTERM while the body runs; a second signal acts as usual.

    Outside the main thread, Python delivers no signals, and nothing is caught.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def record(number: int, _frame: FrameType | None) -> None:
        stop.name = signal.Signals(number).name
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in numbers:
        signal.signal(number, record)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
