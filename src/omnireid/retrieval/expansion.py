"""Query expansion: a query is averaged with what it finds, and looks again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import numpy.typing as npt

from omnireid.errors import OmnireidError
from omnireid.retrieval.distance import as_embeddings, convert_rows, nearest
from omnireid.types import Distance, FloatArray

_BLOCK_BYTES = 16 * 2**20  # of gallery rows gathered at a time


@dataclass(frozen=True)
class QueryExpansion:
    """How queries are expanded.

    Attributes:
        count: nearest gallery crops that are averaged with the query.
        alpha: a crop weighs its cosine similarity to the query, where it is above 0, to the power alpha; the query
            weighs 1. 0 is the plain average (AQE), 3 the paper's choice for α-QE.

    Raises:
        OmnireidError: a value that cannot be used.
    """

    count: int = 5
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.count, Integral) or self.count < 1:
            raise OmnireidError(
                f"Query expansion needs a whole number of gallery crops, at least 1; got {self.count}. To expand "
                "nothing, leave it out."
            )
        if not (self.alpha >= 0 and math.isfinite(self.alpha)):
            raise OmnireidError(
                f"alpha of query expansion must be 0 (the plain average) or a positive number; got {self.alpha}."
            )


def expand_queries(
    query: npt.ArrayLike,
    gallery: npt.ArrayLike,
    count: int = 5,
    alpha: float = 0.0,
    distance: Distance = "euclidean",
    *,
    progress: bool = False,
) -> FloatArray:
    """Replace each query by a weighted mean of itself and its nearest gallery crops.

    For ``cosine`` the mean is that of unit vectors, as in the multi-query protocol;
    for ``euclidean`` it is that of the embeddings as they are. No labels are looked
    at: crops that an evaluation skips are averaged like others, as in use.

    Args:
        query: (Q, D) embeddings, one a row.
        gallery: (G, D) embeddings.
        count: see `QueryExpansion`; more than G takes all G.
        alpha: see `QueryExpansion`.
        distance: how they are compared, now and afterwards.
        progress: draw a bar on standard error.

    Returns:
        (Q, D) float32 embeddings, to be compared with the gallery as the queries were.

    Raises:
        OmnireidError: `count` or `alpha` out of range.
        ShapeError: the arrays are empty, or disagree in width.
        EmbeddingError: a NaN or an infinity; the message names the row.

    Source: Chum et al., "Total Recall", ICCV 2007 (AQE); Radenović et al., "Fine-tuning CNN Image Retrieval with No
    Human Annotation", TPAMI 2018 (α-QE).

    >>> expand_queries([[0.0, 2.0]], [[0.0, 4.0], [9.0, 0.0]], count=1).tolist()
    [[0.0, 3.0]]
    """
    expansion = QueryExpansion(count, alpha)
    queries, crops = as_embeddings(query, "query"), as_embeddings(gallery, "gallery")
    indices, _ = nearest(queries, crops, expansion.count, distance, progress=progress)
    result = np.empty(queries.shape, dtype=np.float32)
    step = max(1, _BLOCK_BYTES // (4 * indices.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        own = convert_rows(queries[start : start + step])
        found = convert_rows(crops[indices[start : start + step]])
        own_unit, found_unit = _unit(own), _unit(found)
        weights = np.maximum(np.einsum("qd,qnd->qn", own_unit, found_unit), 0) ** np.float32(alpha)
        if distance == "cosine":
            own, found = own_unit, found_unit
        total = own + np.einsum("qn,qnd->qd", weights, found)
        result[start : start + step] = total / (1 + weights.sum(axis=1, keepdims=True))
    return result


def _unit(rows: FloatArray) -> FloatArray:
    """Rows of length 1, along the last axis; a zero vector stays one."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    units: FloatArray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units
