"""One random generator for each thing that is drawn, whatever else is drawn and in whatever order."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Drawn(IntEnum):
    """What a generator is for. The numbers are part of what a seed means: never renumber them."""

    IDENTITY = 1
    CAMERA = 2
    IMAGE = 3
    FRAME = 4
    DISTRACTOR = 5


def seeded_generator(seed: int, drawn: Drawn, *index: int) -> np.random.Generator:
    """The generator of the thing of kind `drawn` with this `index`; the same in every process and every order."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(drawn), *index])))
