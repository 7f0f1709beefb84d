from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from omnireid.training.signals import Stop, caught_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def reached() -> Iterator[list[int]]:
    """The signals that came to the handlers of before, instead of ending the tests."""
    numbers: list[int] = []

    def record(number: int, _frame: FrameType | None) -> None:
        numbers.append(number)

    before = {number: signal.signal(number, record) for number in NUMBERS}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in NUMBERS]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_is_noted(number: signal.Signals, reached: list[int]) -> None:
    with caught_signals() as stop:
        assert stop.name is None
        signal.raise_signal(number)
        assert stop.name == number.name
    assert reached == []


@pytest.mark.parametrize("first", NUMBERS)
@pytest.mark.parametrize("second", NUMBERS)
def test_a_second_one_acts_as_before(first: signal.Signals, second: signal.Signals, reached: list[int]) -> None:
    with caught_signals() as stop:
        signal.raise_signal(first)
        signal.raise_signal(second)
    assert reached == [second]
    assert stop.name == first.name


def test_ctrl_c_twice_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite started in the background ignores it
    with pytest.raises(KeyboardInterrupt), caught_signals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back(reached: list[int]) -> None:
    before = handlers()
    with caught_signals():
        assert all(now != then for now, then in zip(handlers(), before, strict=True))
    assert handlers() == before
    with caught_signals():
        signal.raise_signal(signal.SIGTERM)
    assert handlers() == before
    with pytest.raises(ValueError, match="of the body"), caught_signals():
        raise ValueError("of the body")
    assert handlers() == before
    signal.raise_signal(signal.SIGTERM)
    assert reached == [signal.SIGTERM]


def test_in_a_thread_nothing_is_caught(reached: list[int]) -> None:
    before = handlers()
    inside: list[object] = []
    stops: list[Stop] = []

    def body() -> None:
        with caught_signals() as stop:
            inside.extend(handlers())
            stops.append(stop)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert inside == before
    assert stops == [Stop(None)]
    assert reached == []
