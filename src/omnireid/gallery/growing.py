"""Arrays, and galleries prepared for comparison, that take on new rows without copying the old ones."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from omnireid.retrieval.distance import ComparableGallery, find_copies, make_factors, make_operand, squared_norms
from omnireid.terms import Distance
from omnireid.types import AnyArray, FloatArray, IntArray

LARGEST_OPERAND_BYTES = 5 * 2**29
"""A million embeddings of 512 values are kept in float32, in which a single query compares them ten times as fast as
in float16. More of them are compared in pieces, which are converted for each query."""

_SPARE = 1 / 4
"""Share of further rows for which room is reserved. It takes no memory until it is written to."""
_PREPARED_TOGETHER = 8192


class GrowingRows:
    """Rows of one shape. An array that was given out keeps its rows, whatever is appended later."""

    def __init__(self, rows: AnyArray) -> None:
        """Begin with these rows, which are not copied until more are appended."""
        self._buffer = rows
        self._used = len(rows)
        self._lock = threading.Lock()

    @classmethod
    def reserve(cls, count: int, width: tuple[int, ...], kind: Any) -> Self:
        """No rows yet, but room for `count` of this width and type, and for some more."""
        made = cls(_reserve(count, width, kind))
        made._used = 0
        return made

    def append(self, count: int, rows: AnyArray) -> AnyArray:
        """Append rows behind the first `count`, and return all of them.

        Where somebody else has appended behind the first `count` already, these are copied and go on apart.
        """
        with self._lock:
            needed = count + len(rows)
            if count != self._used or needed > len(self._buffer):
                grown = _reserve(needed, self._buffer.shape[1:], self._buffer.dtype)
                grown[:count] = self._buffer[:count]
                self._buffer = grown
            self._buffer[count:needed] = rows
            self._used = needed
            return self._buffer[:needed]


@dataclass(frozen=True, eq=False)
class GrowingGallery:
    """All embeddings of a snapshot, ready to be compared with.

    Attributes:
        gallery: The prepared embeddings.
    """

    gallery: ComparableGallery
    _factors: GrowingRows = field(repr=False)
    _operand: GrowingRows | None = field(repr=False)

    def extended(self, embeddings: AnyArray) -> GrowingGallery:
        """The gallery with the rows that `embeddings` has after those that are prepared already.

        Raises:
            EmbeddingError: one of these rows holds a NaN or an infinity.
        """
        old, before = self.gallery, len(self.gallery)
        if before == len(embeddings):
            return self
        norms = squared_norms(embeddings[before:], "gallery")
        factors = self._factors.append(before, make_factors(norms, old.distance))
        growing = self._operand if _is_kept(embeddings) else None
        operand = _fill_operand(growing, embeddings, factors, old.distance, before)
        copies, firsts = _find_more_copies(old, embeddings, factors)
        gallery = ComparableGallery(embeddings, old.distance, factors, copies, firsts, operand)
        return GrowingGallery(gallery, self._factors, growing)


def prepare_growing(embeddings: AnyArray, distance: Distance) -> GrowingGallery:
    """Check (N, D) embeddings and prepare them, as `prepare_gallery` does.

    Raises:
        EmbeddingError: an embedding holds a NaN or an infinity; the message names the row.
    """
    count, width = embeddings.shape
    norms = squared_norms(embeddings, "gallery")
    growing_factors, growing = GrowingRows.reserve(count, (), np.float32), None
    factors = growing_factors.append(0, make_factors(norms, distance))
    if _is_kept(embeddings):
        growing = GrowingRows.reserve(count, (width + (distance == "euclidean"),), np.float32)
    operand = _fill_operand(growing, embeddings, factors, distance, 0)
    gallery = ComparableGallery(embeddings, distance, factors, *find_copies(embeddings, norms), operand)
    return GrowingGallery(gallery, growing_factors, growing)


def _reserve(count: int, width: tuple[int, ...], kind: Any) -> AnyArray:
    rows: AnyArray = np.empty((int(count * (1 + _SPARE)) + 64, *width), kind)
    return rows


def _is_kept(embeddings: AnyArray) -> bool:
    count, width = embeddings.shape
    return bool(4 * count * (width + 1) <= LARGEST_OPERAND_BYTES)


def _fill_operand(
    growing: GrowingRows | None, embeddings: AnyArray, factors: FloatArray, distance: Distance, start: int
) -> FloatArray | None:
    """Append what is compared of the embeddings from row `start` on; None where nothing is kept."""
    operand: FloatArray | None = None
    for first in range(start, len(embeddings) if growing is not None else 0, _PREPARED_TOGETHER):
        part = slice(first, first + _PREPARED_TOGETHER)
        assert growing is not None
        operand = growing.append(first, make_operand(embeddings[part], factors[part], distance))
    return operand


def _find_more_copies(old: ComparableGallery, embeddings: AnyArray, factors: FloatArray) -> tuple[IntArray, IntArray]:
    """What `find_copies` gives for all rows, where it is known for the first ones. Equal rows have equal factors."""
    before = len(old)
    alike = np.flatnonzero(np.isin(old.factors, factors[before:]))
    rows = np.concatenate([alike, np.arange(before, len(embeddings))])
    copies, firsts = find_copies(embeddings[rows], factors[rows])
    is_new = rows[copies] >= before
    return (
        np.concatenate([old.copies, rows[copies[is_new]]]),
        np.concatenate([old.firsts, rows[firsts[is_new]]]),
    )
