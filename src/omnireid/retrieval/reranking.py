"""Re-ranking by k-reciprocal encoding, without ever holding the distances of all crops to all crops.

A query and a gallery crop are near each other if they have the same neighbours.
`rerank` prepares the comparison once. Its result is a `Comparison`, which writes
blocks of distances wherever one is searched or scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from omnireid.retrieval.comparison import compare_blocks
from omnireid.retrieval.distance import (
    ComparableGallery,
    as_embeddings,
    check_distance,
    check_widths,
    convert_rows,
    prepare_gallery,
    squared_norms,
)
from omnireid.retrieval.encoding import average_neighbours, encode_reciprocal
from omnireid.retrieval.neighbours import find_neighbours, make_points
from omnireid.retrieval.options import Reranking
from omnireid.retrieval.sparse import SparseRows, join_ranges
from omnireid.terms import Distance
from omnireid.types import FloatArray, IntArray

_MOST_PAIRS = 2**20  # common neighbours that are gathered at a time: some 30 MiB
_MOST_CELLS = 2**21  # cells of query × gallery in which they are summed: 8 MiB


@dataclass(frozen=True, eq=False)
class RerankedDistances:
    """Re-ranked distances of Q queries to G gallery crops: a `Comparison` that computes them block by block.

    Distances lie in [0, 1]. Beyond the embeddings it holds their encodings: 8 bytes
    an entry and a few dozen entries a crop.

    Attributes:
        reranking: The settings.
        query: (Q, D) float32 embeddings.
        gallery: The prepared embeddings of the G crops.
        encoding: Encodings of the queries, Q rows of Q + G columns.
        found_by: For each of Q + G crops, the gallery crops whose encoding holds it: Q + G rows of G columns.
        offsets: (Q,) and
        scales: (Q,) turn ranking values into original distances, ``offsets + scales · value``, of which the largest
            of each query is 1.
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
        """Number of queries and number of gallery crops."""
        return len(self.query), len(self.gallery)

    def compare(self, queries: IntArray, out: FloatArray) -> None:
        """Write the distances of some queries to the whole gallery.

        Args:
            queries: (B,) indices of queries.
            out: (B, G) float32.
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
        """Subtract the Jaccard similarities, times `weight`, from `out`.

        The Jaccard similarity of two encodings, each of which sums to 1, is s / (2 − s),
        where s sums the smaller of the two weights over all columns.
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
        """Sum the smaller weights (the s of `_subtract_similarities`) of B queries and the whole gallery, (B, G).

        Args:
            entries: Indices of the entries of the queries' encodings, one query after the other.
            lengths: (B,) number of entries of each query.
            out: (B, G) float32, C-contiguous.
        """
        columns = self.encoding.columns[entries]
        counts = self.found_by.lengths(columns)
        places = join_ranges(self.found_by.offsets[columns], counts)
        smaller = np.minimum(np.repeat(self.encoding.values[entries], counts), self.found_by.values[places])
        first_cell = np.repeat(np.arange(len(out)) * out.shape[1], lengths)
        cells = np.repeat(first_cell, counts) + self.found_by.columns[places]
        out[:] = 0
        np.add.at(out.reshape(-1), cells, smaller)

    def to_distances(self, queries: IntArray, values: FloatArray) -> FloatArray:  # noqa: ARG002
        """Return the ranking values, which are distances already."""
        return values

    def dense(self) -> FloatArray:
        """Compute all distances, (Q, G) float32. At 11,659 × 82,161 they take 3.8 GB."""
        out = np.empty(self.shape, dtype=np.float32)
        for rows, values in compare_blocks(self, label="re-rank"):
            out[rows] = values
        return out


def rerank(
    query: npt.ArrayLike,
    gallery: npt.ArrayLike,
    reranking: Reranking | None = None,
    distance: Distance = "euclidean",
    *,
    progress: bool = False,
) -> RerankedDistances:
    """Re-rank a gallery by k-reciprocal encoding.

    The original distances are squared Euclidean distances over queries and gallery
    together, each row divided by its largest. For ``cosine`` they are 1 − cos, which
    is half the squared distance of the unit vectors; the division removes the factor
    2. A zero vector is at distance 1 from everything. No labels are read: crops that
    an evaluation skips later are neighbours like others, as in use.

    A crop is the first of its own neighbours. Other ties go to the lower row of
    queries and gallery together, queries first. The result is therefore a function
    of the inputs alone, whatever the number of threads.

    Time grows with (Q + G)², memory with Q + G (benchmarks/reranking.py).

    Args:
        query: (Q, D) embeddings, one a row; compared in float32.
        gallery: (G, D) embeddings. G may be smaller than k1.
        reranking: Settings; by default the paper's.
        distance: ``euclidean`` or ``cosine``.
        progress: Draw a bar on standard error.

    Returns:
        A `Comparison` with distances in [0, 1]: give it to `omnireid.search`, or call ``dense()`` for all of them.

    Raises:
        ShapeError: the arrays are empty, or disagree in width.
        EmbeddingError: an embedding holds a NaN or an infinity; the message names the row.
        SettingError: there is no such distance.

    Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

    >>> reranked = rerank([[0.0, 1.0]], [[3.0, 1.0], [0.0, 1.0], [0.0, 3.0]], Reranking(k1=1, k2=1))
    >>> reranked.shape, reranked.dense().argmin()
    ((1, 3), np.int64(1))
    """
    reranking = Reranking() if reranking is None else reranking
    queries, crops = as_embeddings(query, "query"), as_embeddings(gallery, "gallery")
    check_widths(queries, crops)
    distance = check_distance(distance)
    squared_norms(queries, "query")
    squared_norms(crops, "gallery")
    rows = np.concatenate([convert_rows(queries), convert_rows(crops)])
    points = make_points(rows, distance)
    neighbours = find_neighbours(points, min(max(reranking.k1 + 1, reranking.k2), len(rows)), progress=progress)
    encoding = encode_reciprocal(points, neighbours, reranking.k1)
    if reranking.k2 > 1:
        encoding = average_neighbours(encoding, neighbours.indices[:, : reranking.k2])
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
