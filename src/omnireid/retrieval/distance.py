"""Distances between embeddings, in blocks that never grow with query × gallery.

One query's gallery is ordered by its *ranking value*, from small to large: the
distance without the part that is the same for the whole row. With q·g the
float32 product of the two embeddings,

- ``euclidean``: ‖g‖²/2 − q·g, which orders like ‖q‖² + ‖g‖² − 2 q·g, the
  squared distance, and hence like the distance;
- ``cosine``: −q·g/‖g‖, which orders like 1 − q·g/(‖q‖‖g‖). A zero vector has
  similarity 0 to everything.

Half-precision embeddings become float32, exactly, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from omnireid.errors import EmbeddingError, OmnireidError, ShapeError
from omnireid.progress import progress_bar
from omnireid.types import DISTANCES, Distance, FloatArray, IntArray

LARGEST_SQUARED_NORM = float(np.finfo(np.float32).max) / 8  # above it a distance could overflow float32

_CHUNK_BYTES = 16 * 2**20  # of float32 rows converted at a time, where the embeddings are not float32 already
_LARGEST_OPERAND_BYTES = 192 * 2**20  # of prepared gallery kept; a larger one is prepared again for each block
_GOOD_BLOCK_BYTES = 64 * 2**20  # of ranking values; larger ones cost more to clear than they gain
_GOOD_BLOCK_ROWS = 768  # with fewer, packing the gallery again for each block slows the product by 5 % and more
_LARGEST_BLOCK_BYTES = 224 * 2**20


def as_embeddings(values: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    """Check that `values` is a table of N embeddings of width D, one a row.

    Returns:
        (N, D) in the type it came in: nothing is copied here.

    Raises:
        ShapeError: not two-dimensional, empty, or not real numbers.
    """
    array = np.asarray(values)
    if array.ndim != 2:
        raise ShapeError(
            f"{what} embeddings must be (N, D), one a row; got shape {array.shape}. "
            "For a single embedding use embedding[None, :]."
        )
    if 0 in array.shape:
        raise ShapeError(f"There are no {what} embeddings: got shape {array.shape}. Check what was embedded.")
    if array.dtype.kind not in "fiu":
        raise ShapeError(f"{what} embeddings must be real numbers; got {array.dtype}.")
    return array


def check_widths(query: npt.NDArray[Any], gallery: npt.NDArray[Any]) -> None:
    """Refuse embeddings that were not made by one model.

    Raises:
        ShapeError: the widths differ.
    """
    if query.shape[1] != gallery.shape[1]:
        raise ShapeError(
            f"query embeddings are {query.shape[1]} wide but gallery embeddings {gallery.shape[1]}: they were made "
            "by different models. Embed both with the same weights."
        )


def check_distance(distance: str) -> Distance:
    """Check that `distance` names one of `omnireid.types.DISTANCES`.

    Raises:
        OmnireidError: it does not.
    """
    for known in DISTANCES:
        if distance == known:
            return known
    raise OmnireidError(f"No distance {distance!r}. Known: {', '.join(DISTANCES)}.")


def convert_rows(embeddings: npt.NDArray[Any]) -> FloatArray:
    """Give (N, D) rows as contiguous float32, which is exact for float16; float32 rows are not copied."""
    with np.errstate(over="ignore"):  # what overflows is reported with its row by squared_norms
        return np.ascontiguousarray(embeddings, dtype=np.float32)


def _chunks(embeddings: npt.NDArray[Any]) -> Iterator[tuple[int, FloatArray]]:
    """First row and float32 rows of each chunk; float32 embeddings are one chunk, and not copied."""
    is_ready = embeddings.dtype == np.float32 and embeddings.flags.c_contiguous
    rows = len(embeddings) if is_ready else max(1, _CHUNK_BYTES // (4 * embeddings.shape[1]))
    for start in range(0, len(embeddings), rows):
        yield start, convert_rows(embeddings[start : start + rows])


def squared_norms(embeddings: npt.NDArray[Any], what: str) -> FloatArray:
    """Squared length of each of N embeddings, (N,) float32; checks on the way that all are finite.

    Raises:
        EmbeddingError: a NaN, an infinity, or a length that float32 cannot hold; the message names the row.
    """
    norms = np.empty(len(embeddings), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start, rows in _chunks(embeddings):
            np.einsum("nd,nd->n", rows, rows, out=norms[start : start + len(rows)])
    bad = np.flatnonzero(~(norms <= LARGEST_SQUARED_NORM))
    if len(bad):
        row = int(bad[0])
        values = embeddings[row].astype(np.float64)
        column = int(np.argmin(np.isfinite(values)))
        found = (
            f"values so large (up to {np.abs(values).max():.3g}) that their distance does not fit float32"
            if np.isfinite(values).all()
            else f"{values[column]} in column {column}"
        )
        raise EmbeddingError(
            f"{what} embedding {row} (rows counted from 0) has {found}; {len(bad):,} of {len(norms):,} rows cannot "
            "be compared. Look at its image and at the weights, and embed again."
        )
    return norms


def find_copies(embeddings: npt.NDArray[Any], norms: FloatArray) -> tuple[IntArray, IntArray]:
    """Find the rows that equal an earlier row, so that they can be given its distances.

    A matrix product need not give equal columns for equal rows: OpenBLAS on an
    AVX2 machine rounds differently at different places of a block (measured on
    0.3.31), and a tie would be broken by chance.

    Args:
        embeddings: (N, D).
        norms: (N,) their squared lengths; only rows of equal length are compared.

    Returns:
        The copies, in ascending order, and for each the first row it equals.
    """
    order = np.argsort(norms, kind="stable")
    same = norms[order[1:]] == norms[order[:-1]]
    candidates = np.sort(order[np.concatenate([same, [False]]) | np.concatenate([[False], same])])
    first_of: dict[int, int] = {}
    copies: list[int] = []
    firsts: list[int] = []
    for row in candidates.tolist():
        vector = embeddings[row] + 0  # −0 and 0 are equal but their bytes are not
        first = first_of.setdefault(hash(vector.tobytes()), row)
        if first != row and np.array_equal(embeddings[first], embeddings[row]):
            copies.append(row)
            firsts.append(first)
    return np.asarray(copies, dtype=np.int64), np.asarray(firsts, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ComparableGallery:
    """G gallery embeddings, checked, with what their distances need computed once.

    Attributes:
        embeddings: (G, D) in the type they came in.
        distance: how they are compared.
        factors: (G,) float32: ‖g‖²/2 for ``euclidean``, −1/‖g‖ (0 for a zero vector) for ``cosine``.
        copies: rows that equal an earlier row.
        firsts: that earlier row.
        operand: (G, D + 1 or D) float32 as `compare` multiplies it, kept where it is not too large.
    """

    embeddings: npt.NDArray[Any]
    distance: Distance
    factors: FloatArray = field(repr=False)
    copies: IntArray = field(repr=False)
    firsts: IntArray = field(repr=False)
    operand: FloatArray | None = field(repr=False, default=None)

    def __len__(self) -> int:
        return len(self.embeddings)

    def compare(self, query: npt.NDArray[Any], out: FloatArray) -> None:
        """Write the ranking values of (B, D) queries and the whole gallery to `out`, (B, G) float32.

        Equal gallery rows get equal values.
        """
        operand = convert_rows(query)
        if self.distance == "euclidean":
            operand = np.concatenate([operand, np.ones((len(query), 1), dtype=np.float32)], axis=1)
        if self.operand is not None:
            np.matmul(operand, self.operand.T, out=out)
        else:
            step = max(1, _CHUNK_BYTES // (4 * operand.shape[1]))
            for start in range(0, len(self), step):
                rows = make_operand(
                    self.embeddings[start : start + step], self.factors[start : start + step], self.distance
                )
                np.matmul(operand, rows.T, out=out[:, start : start + len(rows)])
        if len(self.copies):
            out[:, self.copies] = out[:, self.firsts]


class Comparison(Protocol):
    """Q queries and G gallery crops that can be compared in blocks of rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Queries and gallery crops."""

    def compare(self, queries: IntArray, out: FloatArray) -> None:
        """Write what orders the gallery of some queries, small is near.

        Args:
            queries: (B,) indices of queries.
            out: (B, G) float32, C-contiguous.
        """


@dataclass(frozen=True, eq=False)
class EmbeddingComparison:
    """Queries and a gallery compared by their embeddings alone, a `Comparison` by ranking values.

    Attributes:
        query: (Q, D) embeddings.
        gallery: G prepared embeddings.
    """

    query: npt.NDArray[Any]
    gallery: ComparableGallery

    @property
    def shape(self) -> tuple[int, int]:
        """Queries and gallery crops."""
        return len(self.query), len(self.gallery)

    def compare(self, queries: IntArray, out: FloatArray) -> None:
        """Write the ranking values of (B,) queries and the whole gallery to `out`, (B, G) float32."""
        self.gallery.compare(self.query[queries], out)


def make_operand(gallery: npt.NDArray[Any], factors: FloatArray, distance: Distance) -> FloatArray:
    """Gallery rows whose plain product with (q, 1), or with q for ``cosine``, is the ranking value.

    One more column costs the product next to nothing; adding ‖g‖²/2 to all the
    values afterwards takes 7 % of its time (measured at Market-1501's size).
    """
    rows = convert_rows(gallery)
    if distance == "cosine":
        return rows * factors[:, None]
    operand = np.empty((len(rows), rows.shape[1] + 1), dtype=np.float32)
    np.negative(rows, out=operand[:, :-1])
    operand[:, -1] = factors
    return operand


def prepare_gallery(gallery: npt.NDArray[Any], distance: Distance) -> ComparableGallery:
    """Check G gallery embeddings and compute what comparing them needs.

    Raises:
        EmbeddingError: a NaN or an infinity; the message names the row.
    """
    norms = squared_norms(gallery, "gallery")
    copies, firsts = find_copies(gallery, norms)
    if distance == "euclidean":
        factors = norms / np.float32(2)
    else:
        lengths = np.sqrt(norms)
        factors = np.divide(np.float32(-1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    is_small = 4 * len(gallery) * (gallery.shape[1] + 1) <= _LARGEST_OPERAND_BYTES
    operand = make_operand(gallery, factors, distance) if is_small else None
    return ComparableGallery(gallery, distance, factors, copies, firsts, operand)


def block_rows(queries: int, gallery: int) -> int:
    """How many queries to compare at a time with `gallery` crops, so that the block stays below 224 MiB.

    A gallery of 10 million crops still gets 5 queries at a time; the blocks of
    one call are of nearly equal size.
    """
    row_bytes = 4 * gallery
    rows = max(1, _GOOD_BLOCK_BYTES // row_bytes, min(_GOOD_BLOCK_ROWS, _LARGEST_BLOCK_BYTES // row_bytes))
    blocks = -(-queries // rows)
    return -(-queries // blocks)


def nearest_of_row(values: FloatArray, count: int) -> IntArray:
    """Give the columns of the `count` smallest of (G,) values, nearest first; ties go to the lower column."""
    if count == len(values):
        return np.argsort(values, kind="stable")
    last = np.partition(values, count - 1)[count - 1]
    nearer = np.flatnonzero(values < last)
    level = np.flatnonzero(values == last)[: count - len(nearer)]
    return np.concatenate([nearer[np.argsort(values[nearer], kind="stable")], level])


def nearest(
    query: npt.ArrayLike,
    gallery: npt.ArrayLike,
    count: int,
    distance: Distance = "euclidean",
    *,
    progress: bool = False,
) -> tuple[IntArray, FloatArray]:
    """Find the `count` gallery embeddings nearest to each query, nearest first.

    Ties go to the lower gallery index, at the last place too. Memory does not
    grow with query × gallery.

    Args:
        query: (Q, D) embeddings, normalised or not.
        gallery: (G, D) embeddings.
        count: how many to find; more than G gives all G.
        distance: ``euclidean`` or ``cosine``.
        progress: draw a bar on standard error.

    Returns:
        Gallery indices (Q, K) int64 and distances (Q, K) float32, K = min(count, G): Euclidean distances
        (not squared), or cosine distances in [0, 2]. The order is decided before these are rounded, so
        a row of distances may be level where the ranking values were not.

    Raises:
        ShapeError: empty or of different width, or `count` below 1.
        EmbeddingError: a NaN or an infinity; the message names the row.

    >>> indices, distances = nearest([[0.0, 1.0]], [[3.0, 1.0], [0.0, 1.0], [0.0, 3.0]], count=2)
    >>> indices.tolist(), distances.tolist()
    ([[1, 2]], [[0.0, 2.0]])
    """
    queries, rows = as_embeddings(query, "query"), as_embeddings(gallery, "gallery")
    check_widths(queries, rows)
    if count < 1:
        raise ShapeError(f"count must be at least 1; got {count}.")
    prepared = prepare_gallery(rows, check_distance(distance))
    norms = squared_norms(queries, "query")
    count = min(count, len(rows))
    indices = np.empty((len(queries), count), dtype=np.int64)
    values = np.empty((len(queries), count), dtype=np.float32)
    step = block_rows(len(queries), len(rows))
    buffer = np.empty((step, len(rows)), dtype=np.float32)
    with progress_bar("search", len(queries), unit="queries", show=progress) as advance:
        for start in range(0, len(queries), step):
            block = buffer[: min(step, len(queries) - start)]
            prepared.compare(queries[start : start + step], block)
            for row, row_values in enumerate(block, start):
                indices[row] = nearest_of_row(row_values, count)
                values[row] = row_values[indices[row]]
            advance(len(block))
    return indices, _as_distances(values, norms, prepared.distance)


def _as_distances(values: FloatArray, norms: FloatArray, distance: Distance) -> FloatArray:
    """Distances of (Q, K) ranking values, given the (Q,) squared lengths of the queries."""
    if distance == "euclidean":
        squared_distances = np.maximum(norms[:, None] + 2 * values, 0)  # rounding may fall just below 0
        distances: FloatArray = np.sqrt(squared_distances)
        return distances
    lengths = np.sqrt(norms)
    inverse = np.divide(np.float32(1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.clip(1 + values * inverse[:, None], 0, 2)
