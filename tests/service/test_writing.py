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
        self.writer = Writer(lambda: None)

    def add(self, values: Sequence[int]) -> list[object]:
        self.is_writing.set()
        self.may_write.wait(60)
        self.writes.append(list(values))
        return [ValueError("odd") if value % 2 else 10 * value for value in values]

    def decide(self, values: Sequence[str]) -> list[object]:
        self.writes.append("decided " + "".join(values))
        return [ValueError("no") if value == "x" else value.upper() for value in values]

    def erase(self) -> str:
        self.writes.append("erased")
        return "done"


def test_what_waits_shares_a_write_and_is_answered_one_by_one() -> None:
    book = Book()
    writer = book.writer
    writer.start()
    first = writer.put(book.add, 2, "a", keeps_order=False)
    assert book.is_writing.wait(60)
    waiting = [writer.put(book.add, value, "a" if value < 6 else "b", keeps_order=False) for value in range(4, 8)]
    decided = [writer.put(book.decide, value, "decide") for value in "pqx"]
    erased = writer.call(book.erase)
    decided += [writer.put(book.decide, value, "decide") for value in "rs"]
    late = writer.put(book.add, 8, "a", keeps_order=False)
    book.may_write.set()
    assert erased.result(60) == "done"
    assert [first.result(60), waiting[0].result(60), waiting[2].result(60), late.result(60)] == [20, 40, 60, 80]
    with pytest.raises(ValueError, match="odd"):
        waiting[1].result(60)
    with pytest.raises(ValueError, match="no"):
        decided.pop(2).result(60)
    assert [one.result(60) for one in decided] == ["P", "Q", "R", "S"]
    assert book.writes == [[2], [4, 5, 8], [6, 7], "decided pqx", "erased", "decided rs"]
    writer.stop()


def test_a_write_that_fails_stops_no_other_and_what_waits_is_written_before_the_end() -> None:
    book = Book()
    book.writer.start()
    failed = book.writer.call(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(60)
    last = [book.writer.call(book.erase) for _ in range(300)]
    book.writer.stop()
    assert [one.result(0) for one in last] == ["done"] * 300


def test_a_queue_that_is_full_says_so() -> None:
    writer = Book().writer  # nobody takes from it
    with pytest.raises(BusyError, match="nothing was changed"):
        for _ in range(2000):
            writer.call(lambda: None)
