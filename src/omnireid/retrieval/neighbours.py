"""The nearest rows of each row of one table of embeddings, in blocks that never grow with N × N."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from omnireid.retrieval.comparison import EmbeddingComparison, compare_embeddings
from omnireid.retrieval.distance import convert_rows
from omnireid.retrieval.search import IndexArray, find_nearest
from omnireid.terms import Distance
from omnireid.types import AnyArray, FloatArray, IntArray

_PAIR_BYTES = 8 * 2**20  # of embeddings gathered at a time to compare single pairs


@dataclass(frozen=True, eq=False)
class Points:
    """N embeddings that are compared with each other.

    The half squared distance of rows i and j is ``offsets[i] + scales[i] · value``, with the ranking value of
    `omnireid.retrieval.distance`. For ``euclidean`` this is half of ‖i − j‖². For ``cosine`` it is 1 − cos, which
    is half of ‖i − j‖² for the unit vectors.

    Attributes:
        comparison: The rows, compared with themselves.
        offsets: (N,) float32, added to the scaled ranking values of each row.
        scales: (N,) float32, the factor for the ranking values of each row.
    """

    comparison: EmbeddingComparison
    offsets: FloatArray = field(repr=False)
    scales: FloatArray = field(repr=False)

    def __len__(self) -> int:
        return self.comparison.shape[0]

    def compare_pairs(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """Compute the half squared distances of P pairs of rows, (P,) float32."""
        products = np.empty(len(rows), dtype=np.float32)
        gallery = self.comparison.gallery
        embeddings = gallery.embeddings
        step = max(1, _PAIR_BYTES // (4 * embeddings.shape[1]))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            np.einsum("pd,pd->p", embeddings[rows[part]], embeddings[columns[part]], out=products[part])
        if gallery.distance == "cosine":
            values = products * gallery.factors[columns]
        else:
            values = gallery.factors[columns] - products
        return np.maximum(self.offsets[rows] + self.scales[rows] * values, 0)


def make_points(embeddings: AnyArray, distance: Distance) -> Points:
    """Prepare N embeddings, converted to float32, for comparison with each other."""
    rows = convert_rows(embeddings)
    comparison = compare_embeddings(rows, rows, distance)
    ones = np.ones(len(rows), dtype=np.float32)
    if distance == "cosine":
        return Points(comparison, ones, -comparison.gallery.factors)
    return Points(comparison, comparison.query_norms / np.float32(2), ones)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest rows of each of N rows.

    Attributes:
        indices: (N, K) int32, nearest first. The first is the row itself; other ties go to the lower row.
        inverse_farthest: (N,) float32, 1 / the largest half squared distance of the row; 0 where all rows equal it.
    """

    indices: IndexArray
    inverse_farthest: FloatArray


def find_neighbours(points: Points, count: int, *, progress: bool = False) -> Neighbours:
    """Find the `count` nearest of N points to each of them, itself included.

    Args:
        points: The embeddings.
        count: Number of neighbours K, at most N.
        progress: Draw a bar on standard error.
    """
    farthest = np.empty(len(points), dtype=np.float32)

    def put_itself_first(rows: slice, values: FloatArray) -> None:
        farthest[rows] = values.max(axis=1)
        values[np.arange(len(values)), np.arange(rows.start, rows.stop)] = -np.inf

    indices, _ = find_nearest(
        points.comparison, count, label="neighbours", unit="crops", prepare=put_itself_first, progress=progress
    )
    return Neighbours(indices, _invert(points.offsets + points.scales * farthest, points.offsets))


def _invert(farthest: FloatArray, offsets: FloatArray) -> FloatArray:
    """1 / distance, but 0 where the distance is no more than the rounding of the two lengths it came from."""
    return np.divide(np.float32(1), farthest, out=np.zeros_like(farthest), where=farthest > 1e-6 * offsets)
