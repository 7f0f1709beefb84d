"""The colours of drawn things, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RGB = tuple[int, int, int]

CLOTH: Mapping[str, RGB] = MappingProxyType(
    {
        "white": (236, 236, 232),
        "black": (36, 36, 42),
        "grey": (136, 138, 142),
        "navy": (40, 54, 98),
        "blue": (48, 98, 188),
        "sky": (132, 182, 222),
        "teal": (32, 134, 136),
        "green": (52, 128, 70),
        "olive": (112, 116, 62),
        "yellow": (234, 194, 64),
        "orange": (226, 122, 48),
        "red": (196, 46, 50),
        "burgundy": (116, 36, 56),
        "pink": (228, 142, 166),
        "purple": (116, 74, 150),
        "brown": (116, 80, 56),
        "beige": (210, 188, 150),
    }
)
"""Colours of clothes, bags, shoes, hats and prints."""

SKIN: Mapping[str, RGB] = MappingProxyType(
    {
        "porcelain": (240, 205, 182),
        "light": (226, 182, 152),
        "tan": (198, 148, 112),
        "brown": (158, 108, 76),
        "deep": (112, 74, 52),
        "ebony": (76, 52, 42),
    }
)

HAIR: Mapping[str, RGB] = MappingProxyType(
    {
        "black": (34, 30, 30),
        "dark brown": (66, 46, 36),
        "brown": (110, 74, 48),
        "blond": (206, 168, 104),
        "red": (160, 78, 44),
        "grey": (156, 154, 152),
        "white": (222, 220, 216),
    }
)

_CONTRAST = 95.0


def contrasting_colours(*against: str) -> tuple[str, ...]:
    """Names of cloth colours that differ at a glance from every cloth colour in `against`."""
    return tuple(
        name for name, rgb in CLOTH.items() if all(_difference(rgb, CLOTH[other]) > _CONTRAST for other in against)
    )


def _difference(first: RGB, second: RGB) -> float:
    """Euclidean distance in RGB, 0 to 442."""
    return float(sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5)
