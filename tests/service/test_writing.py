from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from omnireid.errors import BusyError
from omnireid.service.writing import Writer


class Book:
    """What was written, once it may be."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.is_writing = threading.Event()
        self.writes: list[object] = []
        self.writer = Writer[int](self.add, lambda: None)

    def add(self, values: Sequence[int]) -> list[object]:
        self.is_writing.set()
        self.may_write.wait(60)
        self.writes.append(list(values))
        return [ValueError("odd") if value % 2 else 10 * value for value in values]

    def decide(self) -> str:
        self.writes.append("decided")
        return "done"


def test_what_waits_is_added_together_and_answered_one_by_one() -> None:
    book = Book()
    book.writer.start()
    first = book.writer.add(2, "a")
    assert book.is_writing.wait(60)
    waiting = [book.writer.add(value, "a" if value < 6 else "b") for value in range(4, 8)]
    decided = book.writer.call(book.decide)
    late = book.writer.add(8, "a")
    book.may_write.set()
    assert decided.result(60) == "done"
    assert [first.result(60), waiting[0].result(60), waiting[2].result(60), late.result(60)] == [20, 40, 60, 80]
    with pytest.raises(ValueError, match="odd"):
        waiting[1].result(60)
    assert book.writes == [[2], [4, 5, 8], [6, 7], "decided"]
    book.writer.stop()


def test_a_write_that_fails_stops_no_other_and_what_waits_is_written_before_the_end() -> None:
    book = Book()
    book.may_write.set()
    book.writer.start()
    failed = book.writer.call(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(60)
    last = [book.writer.call(book.decide) for _ in range(100)]
    book.writer.stop()
    assert [one.result(0) for one in last] == ["done"] * 100


def test_a_queue_that_is_full_says_so() -> None:
    writer = Book().writer  # nobody takes from it
    with pytest.raises(BusyError, match="nothing was changed"):
        for _ in range(2000):
            writer.call(lambda: None)
