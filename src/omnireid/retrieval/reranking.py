"""Re-ranking by k-reciprocal encoding, without ever holding the distances of all crops to all crops.

A query and a gallery crop are near if the crops around the one are the crops
around the other. `rerank` prepares the comparison once; its result writes rows of
distances in blocks, wherever `omnireid.retrieval.distance.Comparison` is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import numpy.typing as npt

from omnireid.errors import OmnireidError, ShapeError
from omnireid.retrieval.distance import (
    ComparableGallery,
    as_embeddings,
    block_rows,
    check_distance,
    check_widths,
    convert_rows,
    nearest_of_row,
    prepare_gallery,
    squared_norms,
)
from omnireid.retrieval.encoding import average_neighbours, encode_reciprocal
from omnireid.retrieval.neighbours import find_neighbours, make_points
from omnireid.retrieval.sparse import SparseRows, join_ranges
from omnireid.types import Distance, FloatArray, IntArray

_MOST_PAIRS = 2**20  # of common neighbours looked at at a time: some 30 MiB
_MOST_CELLS = 2**21  # of query × gallery that they are summed in: 16 MiB


@dataclass(frozen=True)
class Reranking:
    """How far re-ranking looks. The values are the paper's for Market-1501.

    Attributes:
        k1: nearest crops, beside itself, among which a crop looks for k-reciprocal neighbours.
        k2: nearest crops, itself included, whose encodings are averaged; 1 averages nothing.
        lambda_value: weight of the original distance in the result, from 0 to 1; the rest is the Jaccard distance.

    Raises:
        OmnireidError: a value that cannot be used.
    """

    k1: int = 20
    k2: int = 6
    lambda_value: float = 0.3

    def __post_init__(self) -> None:
        for name in ("k1", "k2"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < 1:
                raise OmnireidError(f"{name} of re-ranking must be a whole number, at least 1; got {value}.")
        if not 0 <= self.lambda_value <= 1:
            raise OmnireidError(
                f"lambda of re-ranking must be from 0 (Jaccard distance alone) to 1 (original distance alone); got "
                f"{self.lambda_value}."
            )


@dataclass(frozen=True, eq=False)
class RerankedDistances:
    """Re-ranked distances of Q queries to G gallery crops, made in blocks of rows when asked for.

    They lie in [0, 1] and are float32. Beyond the embeddings it holds the encodings,
    8 bytes an entry and a few dozen entries a crop.

    Attributes:
        reranking: how far it looked.
        query: (Q, D) float32.
        gallery: G prepared embeddings.
        encoding: Q rows of Q + G columns, those of the queries.
        found_by: Q + G rows of G columns: the gallery crops that have a crop in their encoding.
        offsets: (Q,) and `scales`: the original distance is ``offsets + scales · ranking value``, where 1 is
            the largest of the query's distances.
        scales: (Q,).
    """

    reranking: Reranking
    query: FloatArray = field(repr=False)
    gallery: ComparableGallery = field(repr=False)
    encoding: SparseRows = field(repr=False)
    found_by: SparseRows = field(repr=False)
    offsets: FloatArray = field(repr=False)
    scales: FloatArray = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Queries and gallery crops."""
        return len(self.query), len(self.gallery)

    def compare(self, queries: IntArray, out: FloatArray) -> None:
        """Write the distances of some queries to the whole gallery.

        Args:
            queries: (B,) indices of queries.
            out: (B, G) float32, C-contiguous.
        """
        weight = np.float32(self.reranking.lambda_value)
        if weight == 0:
            out[:] = 1
        else:
            self.gallery.compare(self.query[queries], out)
            np.multiply(out, (weight * self.scales[queries])[:, None], out=out)
            np.add(out, (weight * self.offsets[queries] + (1 - weight))[:, None], out=out)
        if weight < 1:
            self._subtract_similarities(queries, out, 1 - weight)
        np.maximum(out, 0, out=out)  # rounding may fall just below 0

    def _subtract_similarities(self, queries: IntArray, out: FloatArray, weight: np.float32) -> None:
        """Take off `out` the Jaccard similarities, times `weight`.

        Of two encodings that sum to 1 each it is s / (2 − s), where s is the sum of
        the smaller of the two weights over all columns.
        """
        entries, lengths = self.encoding.entries(queries), self.encoding.lengths(queries)
        ends = np.cumsum(lengths)
        pairs = np.cumsum(self.found_by.lengths(self.encoding.columns[entries]))[ends - 1]
        most_rows = max(1, _MOST_CELLS // out.shape[1])
        scratch = np.empty((min(most_rows, len(out)), out.shape[1]), dtype=np.float32)
        start = 0
        while start < len(out):
            limit = _MOST_PAIRS + (pairs[start - 1] if start else 0)
            stop = min(int(np.searchsorted(pairs, limit, side="right")), start + most_rows)
            stop = max(stop, start + 1)
            common = scratch[: stop - start]
            part = slice(ends[start] - lengths[start], ends[stop - 1])
            self._sum_common(entries[part], lengths[start:stop], common)
            np.divide(common, 2 - common, out=common)
            common *= weight
            out[start:stop] -= common
            start = stop

    def _sum_common(self, entries: IntArray, lengths: IntArray, out: FloatArray) -> None:
        """Sum what B queries, whose entries of the encoding are given, have in common with the gallery: (B, G)."""
        columns = self.encoding.columns[entries]
        counts = self.found_by.lengths(columns)
        places = join_ranges(self.found_by.offsets[columns], counts)
        smaller = np.minimum(np.repeat(self.encoding.values[entries], counts), self.found_by.values[places])
        first_cell = np.repeat(np.arange(len(out)) * out.shape[1], lengths)
        cells = np.repeat(first_cell, counts) + self.found_by.columns[places]
        out[:] = 0
        np.add.at(out.reshape(-1), cells, smaller)

    def dense(self) -> FloatArray:
        """All distances, (Q, G) float32. At 11,659 × 82,161 they are 3.8 GB."""
        out = np.empty(self.shape, dtype=np.float32)
        step = block_rows(*self.shape)
        for start in range(0, len(out), step):
            block = out[start : start + step]
            self.compare(np.arange(start, start + len(block)), block)
        return out

    def nearest(self, count: int) -> tuple[IntArray, FloatArray]:
        """Find the `count` nearest gallery crops of each query, nearest first; ties go to the lower index.

        Returns:
            Gallery indices (Q, K) int64 and distances (Q, K) float32, K = min(count, G).

        Raises:
            ShapeError: `count` below 1.
        """
        if count < 1:
            raise ShapeError(f"count must be at least 1; got {count}.")
        queries, crops = self.shape
        indices = np.empty((queries, min(count, crops)), dtype=np.int64)
        distances = np.empty(indices.shape, dtype=np.float32)
        step = block_rows(queries, crops)
        buffer = np.empty((step, crops), dtype=np.float32)
        for start in range(0, queries, step):
            block = buffer[: min(step, queries - start)]
            self.compare(np.arange(start, start + len(block)), block)
            for row, values in enumerate(block, start):
                indices[row] = nearest_of_row(values, indices.shape[1])
                distances[row] = values[indices[row]]
        return indices, distances


def rerank(
    query: npt.ArrayLike,
    gallery: npt.ArrayLike,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    distance: Distance = "euclidean",
    *,
    progress: bool = False,
) -> RerankedDistances:
    """Re-rank a gallery by k-reciprocal encoding.

    Distances are squared Euclidean ones over queries and gallery together, each
    row divided by its largest. For ``cosine`` they are 1 − cos, which is the same
    of the unit vectors, where the division makes the factor 2 vanish; a zero
    vector is at distance 1 from everything. No labels are looked at: crops that
    an evaluation skips later are neighbours like others, as in use.

    A crop is the first of its own neighbours, and other ties go to the lower row
    of queries and gallery together, queries first. So the result is a function of
    the inputs alone, whatever the threads.

    Time grows with (Q + G)², memory with Q + G (benchmarks/reranking.py).

    Args:
        query: (Q, D) embeddings, one a row; compared in float32.
        gallery: (G, D) embeddings. It may be smaller than `k1`.
        k1: see `Reranking`.
        k2: see `Reranking`.
        lambda_value: see `Reranking`.
        distance: ``euclidean`` or ``cosine``.
        progress: draw a bar on standard error.

    Returns:
        Distances in [0, 1], written in blocks, or at once by ``dense()``.

    Raises:
        OmnireidError: a setting out of its range.
        ShapeError: the arrays are empty, or disagree in width.
        EmbeddingError: a NaN or an infinity; the message names the row.

    Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

    >>> reranked = rerank([[0.0, 1.0]], [[3.0, 1.0], [0.0, 1.0], [0.0, 3.0]], k1=1, k2=1)
    >>> reranked.nearest(1)[0].tolist(), reranked.dense().shape
    ([[1]], (1, 3))
    """
    reranking = Reranking(k1, k2, lambda_value)
    queries, crops = as_embeddings(query, "query"), as_embeddings(gallery, "gallery")
    check_widths(queries, crops)
    distance = check_distance(distance)
    squared_norms(queries, "query")
    squared_norms(crops, "gallery")
    rows = np.concatenate([convert_rows(queries), convert_rows(crops)])
    points = make_points(rows, distance)
    neighbours = find_neighbours(points, min(max(k1 + 1, k2), len(rows)), progress=progress)
    encoding = encode_reciprocal(points, neighbours, k1)
    if k2 > 1:
        encoding = average_neighbours(encoding, neighbours.indices[:, :k2])
    count = len(queries)
    inverse = neighbours.inverse_farthest[:count]
    return RerankedDistances(
        reranking=reranking,
        query=rows[:count],
        gallery=prepare_gallery(rows[count:], distance),
        encoding=encoding.slice(0, count),
        found_by=encoding.slice(count, len(rows)).transpose(len(rows)),
        offsets=points.offsets[:count] * inverse,
        scales=points.scales[:count] * inverse,
    )
