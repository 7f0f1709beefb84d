"""A random generator for each drawn thing, independent of what else is drawn and in which order."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Drawn(IntEnum):
    """The purpose of a generator. Renumbering would change what every seed gives, so the numbers are final."""

    IDENTITY = 1
    CAMERA = 2
    IMAGE = 3
    FRAME = 4
    DISTRACTOR = 5
    WALK = 6
    VIEW = 7
    DETECTION = 8


def seeded_generator(seed: int, drawn: Drawn, *index: int) -> np.random.Generator:
    """The generator for one thing: its kind and index. It is the same in every process and in any order."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(drawn), *index])))
