"""Reading one key from a terminal, without the return key."""

from __future__ import annotations

import sys

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


def read_key(allowed: str) -> str:
    """Wait for one of the keys in `allowed`; other keys are passed over. Ctrl-D and the end of the input give ``q``.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    while True:
        key = _read_any_key().lower()
        if key == _CTRL_C:
            raise KeyboardInterrupt
        if key in ("", _CTRL_D):
            return "q"
        if key in allowed:
            return key


def _read_any_key() -> str:
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.getwch()
    import os
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)
        return os.read(terminal, 1).decode("ascii", "replace")
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
