"""Sketches of embeddings: a few hundred bits each, by which a million of them are compared in milliseconds.

Each bit says on which side of a plane through the mean of the gallery an embedding lies. The planes stand at right
angles to directions drawn at random. The share of bits in which two sketches differ estimates the angle between the
embeddings, seen from the mean (Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from omnireid.gallery.growing import GrowingRows
from omnireid.retrieval.distance import convert_rows
from omnireid.retrieval.search import select_nearest
from omnireid.terms import Distance
from omnireid.types import AnyArray, FloatArray, IntArray

Words = npt.NDArray[np.uint64]

_WORD_BITS = 64
_SKETCHED_TOGETHER = 2048
_COMPARED_TOGETHER = 16_384
"""Words that are compared at a time, so that what is computed of them stays in the processor's cache."""
_AVERAGED = 20_000
"""Embeddings, evenly spread over the gallery, whose mean is taken."""
_SEED = 0


@dataclass(frozen=True, eq=False)
class _Planes:
    """What divides the space: a point on all planes, and (D, B) directions at right angles to them.

    For cosine distance, embeddings of length 1 are divided.
    """

    distance: Distance
    mean: FloatArray
    directions: FloatArray

    def sketch(self, embeddings: AnyArray) -> Words:
        """(B / 64, N) words of the sketches of (N, D) embeddings."""
        rows = convert_rows(embeddings)
        planes = self.mean @ self.directions
        if self.distance == "cosine":  # an embedding of length 1 is not made: its plane is moved instead
            planes = np.linalg.norm(rows, axis=1, keepdims=True) * planes
        words: Words = np.packbits(rows @ self.directions > planes, axis=1).view(np.uint64)
        return np.ascontiguousarray(words.T)


@dataclass(frozen=True, eq=False)
class Sketches:
    """The sketches of N embeddings.

    Attributes:
        words: (N,) for each 64 bits, this word of every sketch.
    """

    words: tuple[Words, ...]
    _planes: _Planes = field(repr=False)
    _growing: tuple[GrowingRows, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.words[0])

    def extended(self, embeddings: AnyArray) -> Sketches:
        """These sketches and those of the embeddings behind the first N."""
        words = list(self.words)
        for start in range(len(self), len(embeddings), _SKETCHED_TOGETHER):
            made = self._planes.sketch(embeddings[start : start + _SKETCHED_TOGETHER])
            words = [rows.append(start, part) for rows, part in zip(self._growing, made, strict=True)]
        return Sketches(tuple(words), self._planes, self._growing)

    def taken(self, rows: IntArray) -> Sketches:
        """The sketches of some embeddings."""
        words = tuple(word[rows] for word in self.words)
        return Sketches(words, self._planes, tuple(GrowingRows(word) for word in words))

    def shortlist(self, query: AnyArray, count: int, left_out: IntArray) -> IntArray:
        """(`count`,) rows whose sketches differ least from that of a (1, D) query, without the rows left out."""
        differing = np.empty((1, len(self)), dtype=np.float32)
        _count_differing(self.words, self._planes.sketch(query)[:, 0], differing[0])
        differing[0, left_out] = np.inf
        nearest: IntArray = select_nearest(differing, count)[0].astype(np.int64)
        return nearest


def sketch_embeddings(embeddings: AnyArray, distance: Distance, bits: int) -> Sketches:
    """Sketch (N, D) embeddings, N at least 1, by a multiple of 64 bits each."""
    sample = convert_rows(embeddings[:: max(1, len(embeddings) // _AVERAGED)])
    if distance == "cosine":
        lengths = np.linalg.norm(sample, axis=1, keepdims=True)
        sample = np.divide(sample, lengths, out=np.zeros_like(sample), where=lengths > 0)
    planes = _Planes(distance, sample.mean(axis=0), _draw_directions(embeddings.shape[1], bits))
    growing = tuple(GrowingRows.reserve(len(embeddings), (), np.uint64) for _ in range(bits // _WORD_BITS))
    empty = tuple(rows.append(0, np.empty(0, dtype=np.uint64)) for rows in growing)
    return Sketches(empty, planes, growing).extended(embeddings)


def _draw_directions(width: int, bits: int) -> FloatArray:
    """(D, B) random directions, the same each time; as many at a time as there can be are at right angles."""
    rng = np.random.default_rng(_SEED)
    parts = [np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(-(-bits // width))]
    directions: FloatArray = np.concatenate(parts, axis=1)[:, :bits].astype(np.float32)
    return directions


def _count_differing(words: Sequence[Words], wanted: Words, out: FloatArray) -> None:
    """Write the number of bits in which each sketch differs from one."""
    differing = np.empty(_COMPARED_TOGETHER, dtype=np.uint64)
    bits = np.empty(_COMPARED_TOGETHER, dtype=np.uint8)
    for start in range(0, len(out), _COMPARED_TOGETHER):
        part = slice(start, min(start + _COMPARED_TOGETHER, len(out)))
        total: Any = np.zeros(part.stop - start, dtype=np.uint16)
        for word, one in zip(words, wanted, strict=True):
            np.bitwise_xor(word[part], one, out=differing[: len(total)])
            np.bitwise_count(differing[: len(total)], out=bits[: len(total)])
            np.add(total, bits[: len(total)], out=total)
        out[part] = total
