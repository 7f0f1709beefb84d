"""Reading single keys from a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from omnireid.errors import SettingError

_CTRL_C, _CTRL_D = "\x03", "\x04"


def check_terminal() -> None:
    """Check that there is somebody to ask.

    Raises:
        SettingError: standard input is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise SettingError(
            "A review asks at a terminal, and standard input is none. List the questions with --json -, and answer "
            "them with: omnireid gallery assign, merge, differ"
        )


@contextmanager
def single_keys() -> Iterator[Callable[[str], str]]:
    """Let the terminal give single keys, without the return key, until the block ends.

    Yields a function that waits for one of the keys in its argument; other keys are passed over. Ctrl-D and the end of
    the input give ``q``.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    if sys.platform == "win32":
        import msvcrt

        yield lambda allowed: _wait_for(allowed, msvcrt.getwch)
        return
    import os
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)
        yield lambda allowed: _wait_for(allowed, lambda: os.read(terminal, 1).decode("ascii", "replace"))
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _wait_for(allowed: str, read: Callable[[], str]) -> str:
    while True:
        key = read().lower()
        if key == _CTRL_C:
            raise KeyboardInterrupt
        if key in ("", _CTRL_D):
            return "q"
        if key in allowed:
            return key
