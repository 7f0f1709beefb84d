"""The k-reciprocal graph of one table of embeddings: which crops are neighbours of each other, and how near.

Unlike `omnireid.rerank`, which compares queries with a gallery, this compares a
table with itself and keeps distances between neighbours only, so that memory
grows with N × k and never with N × N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnireid.retrieval.distance import as_embeddings, check_distance, pair_distances, squared_norms
from omnireid.retrieval.encoding import average_neighbours, encode_reciprocal
from omnireid.retrieval.neighbours import find_neighbours, make_points
from omnireid.retrieval.options import Reranking
from omnireid.retrieval.search import IndexArray
from omnireid.retrieval.sparse import SparseRows
from omnireid.terms import Distance
from omnireid.types import AnyArray, BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class ReciprocalGraph:
    """E pairs of neighbours among N crops, each pair once.

    Attributes:
        crops: N.
        first: (E,) int32 row of one crop of each pair, the lower one.
        second: (E,) int32 row of the other.
        distances: (E,) float32 distances of the embeddings: Euclidean (not squared) or cosine.
        jaccard: (E,) float32 Jaccard distances of the k-reciprocal encodings, in [0, 1].
        reciprocal: (E,) whether each crop is among the k1 nearest of the other.
    """

    crops: int
    first: IndexArray
    second: IndexArray
    distances: FloatArray
    jaccard: FloatArray
    reciprocal: BoolArray

    def __len__(self) -> int:
        return len(self.first)


def connect_neighbours(
    embeddings: AnyArray, distance: Distance, reranking: Reranking, *, progress: bool = False
) -> ReciprocalGraph:
    """Connect each crop with its k1 nearest others, and measure how much their k-reciprocal encodings agree.

    The encodings are those of re-ranking (`omnireid.retrieval.encoding`); its weight of the original distance is not
    used.

    Args:
        embeddings: (N, D) embeddings.
        distance: How they are compared.
        reranking: The settings k1 and k2.
        progress: Draw a bar on standard error.

    Raises:
        EmbeddingError: an embedding holds a NaN or an infinity; the message names the row.
        SettingError: there is no such distance.

    >>> graph = connect_neighbours(np.array([[0.0], [1.0], [9.0]]), "euclidean", Reranking(k1=1, k2=1))
    >>> graph.first.tolist(), graph.second.tolist(), graph.reciprocal.tolist()
    ([0, 1], [1, 2], [True, False])
    """
    rows = as_embeddings(embeddings, "gallery")
    squared_norms(rows, "gallery")
    points = make_points(rows, check_distance(distance))
    total = len(points)
    count = min(max(reranking.k1 + 1, reranking.k2), total)
    neighbours = find_neighbours(points, count, progress=progress)
    encoding = encode_reciprocal(points, neighbours, reranking.k1)
    if reranking.k2 > 1:
        encoding = average_neighbours(encoding, neighbours.indices[:, : reranking.k2])
    near = neighbours.indices[:, 1 : reranking.k1 + 1]
    one = np.repeat(np.arange(total, dtype=np.int64), near.shape[1])
    other = near.reshape(-1).astype(np.int64)
    keys, counts = np.unique(np.minimum(one, other) * total + np.maximum(one, other), return_counts=True)
    first, second = (part.astype(np.int32) for part in np.divmod(keys, total))
    return ReciprocalGraph(
        crops=total,
        first=first,
        second=second,
        distances=pair_distances(points.comparison.gallery.embeddings, *np.divmod(keys, total), distance),
        jaccard=_compare_encodings(encoding, first, second, total),
        reciprocal=counts == 2,
    )


def _compare_encodings(encoding: SparseRows, first: IndexArray, second: IndexArray, total: int) -> FloatArray:
    """Jaccard distances of E pairs of encodings, each of which sums to 1: 1 − s / (2 − s), s the sum of the minima.

    Args:
        encoding: N sparse rows of N columns.
        first: (E,) ascending rows.
        second: (E,) rows.
        total: N.
    """
    common = np.empty(len(first), dtype=np.float32)
    weights = np.zeros(total, dtype=np.float32)
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(first)], strict=True):
        own = slice(encoding.offsets[first[start]], encoding.offsets[first[start] + 1])
        weights[encoding.columns[own]] = encoding.values[own]
        rows = second[start:stop]
        entries = encoding.entries(rows)
        smaller = np.minimum(weights[encoding.columns[entries]], encoding.values[entries])
        ends = np.cumsum(encoding.lengths(rows))
        common[start:stop] = np.add.reduceat(smaller, ends - encoding.lengths(rows))
        weights[encoding.columns[own]] = 0
    jaccard: FloatArray = np.clip(1 - common / (2 - common), 0, 1)
    return jaccard
