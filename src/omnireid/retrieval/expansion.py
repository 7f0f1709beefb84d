"""Query expansion: each query is averaged with what it finds, and the average is searched for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omnireid.retrieval.distance import as_embeddings, convert_rows
from omnireid.retrieval.options import QueryExpansion
from omnireid.retrieval.search import search
from omnireid.terms import Distance
from omnireid.types import FloatArray

_BLOCK_BYTES = 16 * 2**20  # of gallery rows that are gathered at a time


def expand_queries(
    query: npt.ArrayLike,
    gallery: npt.ArrayLike,
    expansion: QueryExpansion | None = None,
    distance: Distance = "euclidean",
    *,
    progress: bool = False,
) -> FloatArray:
    """Replace each query by a weighted mean of itself and its nearest gallery crops.

    For ``cosine`` the unit vectors are averaged, as in the multi-query protocol;
    for ``euclidean`` the embeddings as they are. No labels are read: crops that an
    evaluation skips are averaged like others, as in use.

    Args:
        query: (Q, D) embeddings, one a row.
        gallery: (G, D) embeddings.
        expansion: Settings; by default those of `QueryExpansion`. A count above G takes all G crops.
        distance: How embeddings are compared, before the expansion and after it.
        progress: Draw a bar on standard error.

    Returns:
        (Q, D) float32 embeddings, to be compared with the gallery in place of the queries.

    Raises:
        ShapeError: the arrays are empty, or disagree in width.
        EmbeddingError: an embedding holds a NaN or an infinity; the message names the row.
        SettingError: there is no such distance.

    Source: Chum et al., "Total Recall", ICCV 2007 (AQE); Radenović et al., "Fine-tuning CNN Image Retrieval with No
    Human Annotation", TPAMI 2018 (α-QE).

    >>> expand_queries([[0.0, 2.0]], [[0.0, 4.0], [9.0, 0.0]], QueryExpansion(count=1)).tolist()
    [[0.0, 3.0]]
    """
    expansion = QueryExpansion() if expansion is None else expansion
    queries, crops = as_embeddings(query, "query"), as_embeddings(gallery, "gallery")
    indices = search(queries, crops, expansion.count, distance, progress=progress).indices
    result = np.empty(queries.shape, dtype=np.float32)
    step = max(1, _BLOCK_BYTES // (4 * indices.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        own = convert_rows(queries[start : start + step])
        found = convert_rows(crops[indices[start : start + step]])
        own_unit, found_unit = _scale_to_unit(own), _scale_to_unit(found)
        weights = np.maximum(np.einsum("qd,qnd->qn", own_unit, found_unit), 0) ** np.float32(expansion.alpha)
        if distance == "cosine":
            own, found = own_unit, found_unit
        total = own + np.einsum("qn,qnd->qd", weights, found)
        result[start : start + step] = total / (1 + weights.sum(axis=1, keepdims=True))
    return result


def _scale_to_unit(rows: FloatArray) -> FloatArray:
    """Scale vectors, along the last axis, to length 1. A zero vector stays zero."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    units: FloatArray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units
