"""The order in which people expect names with numbers: 2 before 10, camera 9 before camera 10."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"([0-9]+)")


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key for sorting: the numbers in a name count as numbers, whatever their length. Equal ones go by their text."""
    parts = _DIGITS.split(name)  # text and digits in turn
    keys = [(len(part.lstrip("0")), part.lstrip("0")) if row % 2 else (0, part) for row, part in enumerate(parts)]
    return keys, name
