"""Distances between embeddings.

A query's gallery is ordered by *ranking values*, from small to large: distances
without the part that is the same for the whole row. With q·g the float32 product
of the two embeddings, the ranking value is

- for ``euclidean``: ‖g‖²/2 − q·g, which orders like ‖q‖² + ‖g‖² − 2 q·g, the
  squared distance, and hence like the distance;
- for ``cosine``: −q·g/‖g‖, which orders like 1 − q·g/(‖q‖‖g‖). A zero vector
  has similarity 0 to everything.

Half-precision embeddings are converted to float32, exactly, before anything is
computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from omnireid.errors import EmbeddingError, SettingError, ShapeError
from omnireid.terms import DISTANCES, Distance
from omnireid.types import AnyArray, FloatArray, IntArray, as_array

LARGEST_SQUARED_NORM = float(np.finfo(np.float32).max) / 8  # above it a distance could overflow float32

_FLOAT16_VALUES: FloatArray = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)

_CHUNK_BYTES = 16 * 2**20  # of float32 rows that are converted at a time, unless the embeddings are float32 already
_LARGEST_OPERAND_BYTES = 192 * 2**20  # of prepared gallery that is kept; a larger one is prepared for each block


def as_embeddings(values: npt.ArrayLike, what: str) -> AnyArray:
    """Check that `values` is a table of N embeddings of width D, one a row.

    Args:
        values: The embeddings; a torch tensor is accepted, with gradients or in bfloat16 too.
        what: Their name for the message, ``query`` or ``gallery``.

    Returns:
        (N, D) in the type it came in, except that bfloat16 becomes float32. Nothing else is copied here.

    Raises:
        ShapeError: the table is not two-dimensional, is empty, or does not hold real numbers.
    """
    array = as_array(values, what)
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


def check_widths(query: AnyArray, gallery: AnyArray) -> None:
    """Refuse embeddings of two widths: they were not made by one model.

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
        SettingError: there is no such distance.
    """
    for known in DISTANCES:
        if distance == known:
            return known
    raise SettingError(f"distance: there is no {distance!r}. Known: {', '.join(DISTANCES)}.")


def convert_rows(embeddings: AnyArray) -> FloatArray:
    """Convert (N, D) rows to contiguous float32. This is exact for float16, and float32 rows are not copied.

    Values of float16 are looked up, which takes a quarter of the time of NumPy's own conversion.
    """
    if embeddings.dtype == np.float16:
        return _FLOAT16_VALUES.take(embeddings.view(np.uint16))
    with np.errstate(over="ignore"):  # squared_norms reports an overflow, with its row
        return np.ascontiguousarray(embeddings, dtype=np.float32)


def _chunks(embeddings: AnyArray) -> Iterator[tuple[int, FloatArray]]:
    """Index of the first row, and the float32 rows, of each chunk. Float32 embeddings are one chunk and not copied."""
    is_ready = embeddings.dtype == np.float32 and embeddings.flags.c_contiguous
    rows = len(embeddings) if is_ready else max(1, _CHUNK_BYTES // (4 * embeddings.shape[1]))
    for start in range(0, len(embeddings), rows):
        yield start, convert_rows(embeddings[start : start + rows])


def squared_norms(embeddings: AnyArray, what: str) -> FloatArray:
    """Compute the squared length of each of N embeddings, (N,) float32, and check that all are finite.

    Raises:
        EmbeddingError: an embedding holds a NaN or an infinity, or is too long for float32; the message names the
            row.
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


def find_copies(embeddings: AnyArray, norms: FloatArray) -> tuple[IntArray, IntArray]:
    """Find the rows that equal an earlier row, so that they can be given its distances.

    Equal rows need not get equal columns from a matrix product: OpenBLAS on an
    AVX2 machine rounds differently at different places of a block (measured on
    0.3.31). A tie would then be broken by chance.

    Args:
        embeddings: (N, D) embeddings.
        norms: (N,) their squared lengths. Only rows of equal length are compared.

    Returns:
        The copies, in ascending order, and the first row that each of them equals.
    """
    order = np.argsort(norms, kind="stable")
    same = norms[order[1:]] == norms[order[:-1]]
    candidates = np.sort(order[np.concatenate([same, [False]]) | np.concatenate([[False], same])])
    first_of: dict[int, int] = {}
    copies: list[int] = []
    firsts: list[int] = []
    for row in candidates.tolist():
        vector = embeddings[row] + 0  # -0 and 0 are equal, but their bytes are not
        first = first_of.setdefault(hash(vector.tobytes()), row)
        if first != row and np.array_equal(embeddings[first], embeddings[row]):
            copies.append(row)
            firsts.append(first)
    return np.asarray(copies, dtype=np.int64), np.asarray(firsts, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ComparableGallery:
    """G checked gallery embeddings, with everything that is computed once for all their distances.

    Attributes:
        embeddings: (G, D) in the type they came in.
        distance: How they are compared.
        factors: (G,) float32: ‖g‖²/2 for ``euclidean``; −1/‖g‖ for ``cosine``, and 0 for a zero vector.
        copies: Rows that equal an earlier row.
        firsts: The earlier row that each of `copies` equals.
        operand: (G, D + 1) float32, or (G, D) for ``cosine``, as `compare` multiplies it; None where it would be
            too large to keep.
    """

    embeddings: AnyArray
    distance: Distance
    factors: FloatArray = field(repr=False)
    copies: IntArray = field(repr=False)
    firsts: IntArray = field(repr=False)
    operand: FloatArray | None = field(repr=False, default=None)

    def __len__(self) -> int:
        return len(self.embeddings)

    def compare(self, query: AnyArray, out: FloatArray) -> None:
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


def make_factors(norms: FloatArray, distance: Distance) -> FloatArray:
    """Make the `factors` of a `ComparableGallery` from the (G,) squared lengths of its rows."""
    if distance == "euclidean":
        return norms / np.float32(2)
    lengths = np.sqrt(norms)
    return np.divide(np.float32(-1), lengths, out=np.zeros_like(lengths), where=lengths > 0)


def make_operand(gallery: AnyArray, factors: FloatArray, distance: Distance) -> FloatArray:
    """Make the gallery rows whose product with (q, 1), or with q for ``cosine``, is the ranking value.

    One more column costs the product next to nothing. Adding ‖g‖²/2 to all values
    afterwards takes 7 % of its time (measured at Market-1501's size).
    """
    rows = convert_rows(gallery)
    if distance == "cosine":
        return rows * factors[:, None]
    operand = np.empty((len(rows), rows.shape[1] + 1), dtype=np.float32)
    np.negative(rows, out=operand[:, :-1])
    operand[:, -1] = factors
    return operand


def prepare_gallery(
    gallery: AnyArray, distance: Distance, *, largest_operand_bytes: int = _LARGEST_OPERAND_BYTES
) -> ComparableGallery:
    """Check G gallery embeddings and compute everything that is the same for all queries.

    Args:
        gallery: (G, D) embeddings.
        distance: How they are compared.
        largest_operand_bytes: Size up to which the prepared float32 rows are kept. A larger gallery is converted
            again for each block of queries, which for single queries takes ten times as long as comparing.

    Raises:
        EmbeddingError: an embedding holds a NaN or an infinity; the message names the row.
    """
    norms = squared_norms(gallery, "gallery")
    copies, firsts = find_copies(gallery, norms)
    factors = make_factors(norms, distance)
    is_small = 4 * len(gallery) * (gallery.shape[1] + 1) <= largest_operand_bytes
    operand = make_operand(gallery, factors, distance) if is_small else None
    return ComparableGallery(gallery, distance, factors, copies, firsts, operand)


def to_distances(values: FloatArray, query_norms: FloatArray, distance: Distance) -> FloatArray:
    """Turn ranking values into distances.

    Args:
        values: (B, K) ranking values; +inf stays +inf.
        query_norms: (B,) squared lengths of the queries.
        distance: How the values were computed.

    Returns:
        (B, K) Euclidean distances (not squared), or cosine distances in [0, 2].
    """
    if distance == "euclidean":
        squared_distances = np.maximum(query_norms[:, None] + 2 * values, 0)  # rounding may fall just below 0
        distances: FloatArray = np.sqrt(squared_distances)
        return distances
    lengths = np.sqrt(query_norms)
    inverse = np.divide(np.float32(1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    is_none = np.isposinf(values)
    return np.where(is_none, values, np.clip(1 + np.where(is_none, 0, values) * inverse[:, None], 0, 2))


def pair_distances(embeddings: AnyArray, first: IntArray, second: IntArray, distance: Distance) -> FloatArray:
    """The distances within N pairs of rows, as `to_distances` gives them.

    Args:
        embeddings: (R, D) checked embeddings.
        first: (N,) row of one of each pair.
        second: (N,) row of the other.
        distance: How they are compared.

    >>> pair_distances(np.eye(2), np.array([0, 0]), np.array([0, 1]), "cosine").tolist()
    [0.0, 1.0]
    """
    distances = np.empty(len(first), dtype=np.float32)
    step = max(1, _CHUNK_BYTES // (4 * embeddings.shape[1]))
    for start in range(0, len(first), step):
        rows = slice(start, start + step)
        one, other = convert_rows(embeddings[first[rows]]), convert_rows(embeddings[second[rows]])
        if distance == "euclidean":
            distances[rows] = np.sqrt(np.einsum("nd,nd->n", one - other, one - other))
            continue
        products = np.einsum("nd,nd->n", one, other)
        lengths = np.sqrt(np.einsum("nd,nd->n", one, one) * np.einsum("nd,nd->n", other, other))
        cosine = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
        distances[rows] = np.clip(1 - cosine, 0, 2)
    return distances
