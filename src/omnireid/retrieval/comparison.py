"""Queries compared with a gallery, in blocks that never grow with query × gallery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from omnireid.progress import progress_bar
from omnireid.retrieval.distance import (
    ComparableGallery,
    as_embeddings,
    check_distance,
    check_widths,
    prepare_gallery,
    squared_norms,
    to_distances,
)
from omnireid.terms import Distance
from omnireid.types import AnyArray, FloatArray, IntArray

_GOOD_BLOCK_BYTES = 64 * 2**20  # of ranking values; clearing a larger block costs more than it saves
_GOOD_BLOCK_ROWS = 768  # with fewer rows, packing the gallery again for each block slows the product by 5 % and more
_LARGEST_BLOCK_BYTES = 224 * 2**20


class Comparison(Protocol):
    """Q queries and G gallery crops that can be compared in blocks of queries.

    Plain distances, expanded queries and re-ranked galleries are all comparisons,
    so that searching and scoring are written once.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Number of queries and number of gallery crops."""

    def compare(self, queries: IntArray, out: FloatArray) -> None:
        """Write the ranking values of some queries and the whole gallery; smaller is nearer.

        Args:
            queries: (B,) indices of queries.
            out: (B, G) float32. Each row is contiguous.
        """

    def to_distances(self, queries: IntArray, values: FloatArray) -> FloatArray:
        """Turn ranking values into the distances that are shown to people.

        Args:
            queries: (B,) indices of queries.
            values: (B, K) ranking values of each query; +inf stays +inf.
        """


@dataclass(frozen=True, eq=False)
class EmbeddingComparison:
    """Queries and a gallery that are compared by their embeddings alone.

    Attributes:
        query: (Q, D) embeddings.
        gallery: The prepared embeddings of G crops.
        query_norms: (Q,) squared lengths of the queries.
    """

    query: AnyArray
    gallery: ComparableGallery
    query_norms: FloatArray = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of queries and number of gallery crops."""
        return len(self.query), len(self.gallery)

    def compare(self, queries: IntArray, out: FloatArray) -> None:
        """Write the ranking values of (B,) queries and the whole gallery to `out`, (B, G) float32."""
        self.gallery.compare(self.query[queries], out)

    def to_distances(self, queries: IntArray, values: FloatArray) -> FloatArray:
        """Turn (B, K) ranking values of (B,) queries into Euclidean distances, or cosine distances in [0, 2]."""
        return to_distances(values, self.query_norms[queries], self.gallery.distance)


def compare_embeddings(query: npt.ArrayLike, gallery: npt.ArrayLike, distance: Distance) -> EmbeddingComparison:
    """Check queries and gallery, and prepare their comparison by distance alone.

    Args:
        query: (Q, D) embeddings, one a row.
        gallery: (G, D) embeddings.
        distance: ``euclidean`` or ``cosine``; the embeddings need not be normalised for either.

    Raises:
        ShapeError: the arrays are empty, or disagree in width.
        EmbeddingError: an embedding holds a NaN or an infinity; the message names the row.
    """
    queries, crops = as_embeddings(query, "query"), as_embeddings(gallery, "gallery")
    check_widths(queries, crops)
    distance = check_distance(distance)
    norms = squared_norms(queries, "query")
    return EmbeddingComparison(queries, prepare_gallery(crops, distance), norms)


def block_rows(queries: int, gallery: int) -> int:
    """How many queries to compare with `gallery` crops at a time, so that the block stays below 224 MiB.

    A gallery of 10 million crops still gets 5 queries at a time. The blocks of
    one call have nearly the same size.
    """
    row_bytes = 4 * gallery
    rows = max(1, _GOOD_BLOCK_BYTES // row_bytes, min(_GOOD_BLOCK_ROWS, _LARGEST_BLOCK_BYTES // row_bytes))
    blocks = -(-queries // rows)
    return -(-queries // blocks)


def compare_blocks(
    comparison: Comparison,
    queries: IntArray | None = None,
    *,
    label: str,
    unit: str = "queries",
    progress: bool = False,
) -> Iterator[tuple[slice, FloatArray]]:
    """Compare queries with the whole gallery, a block of queries at a time.

    Args:
        comparison: Q queries and G gallery crops.
        queries: (N,) indices of the queries to compare; by default all Q in their order.
        label: Name of the progress bar.
        unit: What the progress bar counts.
        progress: Draw a bar on standard error.

    Yields:
        A slice of `queries`, and its (B, G) ranking values. The memory belongs to
        the caller until the next step, and is then written over.
    """
    chosen = np.arange(comparison.shape[0]) if queries is None else queries
    step = block_rows(len(chosen), comparison.shape[1])
    buffer = np.empty((step, comparison.shape[1]), dtype=np.float32)
    with progress_bar(label, len(chosen), unit=unit, show=progress) as advance:
        for start in range(0, len(chosen), step):
            rows = slice(start, min(start + step, len(chosen)))
            values = buffer[: rows.stop - start]
            comparison.compare(chosen[rows], values)
            yield rows, values
            advance(len(values))
