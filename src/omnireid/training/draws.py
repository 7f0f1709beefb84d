"""Random numbers without a state: each is a pure function of what it is for.

A generator with a state gives different numbers if crops come in another order, so
that a run depends on its workers and ranks and cannot be resumed in the middle of
an epoch. Here a number is *looked up* instead: the seed, the purpose, and whatever
else identifies the number (epoch, crop, how often the crop came before) are mixed
into 64 bits.

Source of the mixer: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
Generators", OOPSLA 2014 (SplitMix64, with Stafford's constants).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from omnireid.errors import RecipeError
from omnireid.types import BoolArray, DoubleArray, IntArray

_BOX_ATTEMPTS = 16
BOX_COLUMNS = 2 * _BOX_ATTEMPTS + 2
"""Number of uniform numbers that `fit_boxes` takes for a box."""

_STEP = np.uint64(0x9E3779B97F4A7C15)


class Purpose(IntEnum):
    """What a random number is for. The values must not change, or every run would change."""

    FLIP = 1
    CROP = 2
    ERASING = 3
    JITTER = 4
    PATCH = 5
    PATCH_POOL = 6
    BLUR = 7


def _mix(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Map 64 bits one to one to 64 bits that look unrelated."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def draw_uniforms(seed: int, purpose: int, *words: int | IntArray, columns: int) -> DoubleArray:
    """Look up `columns` uniform numbers for each of N rows.

    A row depends only on the seed, the purpose and its own words: not on N, on the
    other rows, or on earlier draws. Rows with equal words are equal. Column k does
    not depend on the number of columns.

    Args:
        seed: 0 to 2⁶⁴−1.
        purpose: What the numbers are for; see `Purpose`.
        words: Integers, or (N,) arrays of integers, in a fixed order, such as epoch, index, repeat.
        columns: Numbers in a row, K.

    Returns:
        (N, K) float64 in [0, 1), multiples of 2⁻⁵³; N is 1 if no word is an array.

    Raises:
        RecipeError: The seed is out of its range.

    >>> draw_uniforms(1, Purpose.FLIP, 0, np.array([7, 8]), columns=2).round(3).tolist()
    [[0.428, 0.69], [0.322, 0.308]]
    """
    if not 0 <= seed < 2**64:
        raise RecipeError(f"A seed is an integer from 0 to 2^64 − 1; got {seed}. Choose --seed in that range.")
    state = np.zeros(1, dtype=np.uint64)
    for word in (np.uint64(seed), purpose, *words):
        bits = word if isinstance(word, np.uint64) else np.asarray(word, dtype=np.int64).astype(np.uint64)
        state = _mix((state ^ bits) + _STEP)
    steps = np.arange(1, columns + 1, dtype=np.uint64) * _STEP
    return (_mix(state[:, None] + steps) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choose(uniforms: DoubleArray, count: int | IntArray) -> IntArray:
    """Turn uniform numbers into integers from 0 to `count` − 1, all equally likely."""
    chosen: IntArray = np.minimum(np.floor(uniforms * count).astype(np.int64), np.asarray(count) - 1)
    return chosen


@dataclass(frozen=True, eq=False)
class Boxes:
    """N boxes in whole pixels, each inside the image.

    Attributes:
        tops: (N,) first rows.
        lefts: (N,) first columns.
        heights: (N,) heights, at least 1.
        widths: (N,) widths, at least 1.
    """

    tops: IntArray
    lefts: IntArray
    heights: IntArray
    widths: IntArray

    def __len__(self) -> int:
        return len(self.tops)

    def select(self, positions: IntArray | BoolArray) -> Boxes:
        """The boxes at `positions` (integers or a mask), in that order."""
        return Boxes(self.tops[positions], self.lefts[positions], self.heights[positions], self.widths[positions])


def fit_boxes(
    uniforms: DoubleArray, area: tuple[float, float], aspect: tuple[float, float], height: int, width: int
) -> Boxes:
    """Turn uniform numbers into boxes of random area, aspect and place inside an image.

    Area and aspect are drawn uniformly until a box fits, as random erasing and
    random patch both do. If none of 16 boxes fits, the last is cut to the image.

    Args:
        uniforms: (N, `BOX_COLUMNS`) numbers in [0, 1).
        area: Smallest and largest area, as fractions of the image.
        aspect: Smallest and largest height / width, in pixels.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
    """
    areas = (area[0] + (area[1] - area[0]) * uniforms[:, :_BOX_ATTEMPTS]) * (height * width)
    aspects = aspect[0] + (aspect[1] - aspect[0]) * uniforms[:, _BOX_ATTEMPTS : 2 * _BOX_ATTEMPTS]
    all_heights = np.maximum(np.rint(np.sqrt(areas * aspects)).astype(np.int64), 1)
    all_widths = np.maximum(np.rint(np.sqrt(areas / aspects)).astype(np.int64), 1)
    fits = (all_heights <= height) & (all_widths <= width)
    fits[:, -1] = True
    rows, first = np.arange(len(uniforms)), fits.argmax(axis=1)
    heights = np.minimum(all_heights[rows, first], height)
    widths = np.minimum(all_widths[rows, first], width)
    tops = choose(uniforms[:, -2], height - heights + 1)
    return Boxes(tops, choose(uniforms[:, -1], width - widths + 1), heights, widths)
