from __future__ import annotations

import numpy as np
import pytest

from omnireid.errors import EmbeddingError
from omnireid.retrieval.options import Reranking
from omnireid.retrieval.reciprocal_graph import connect_neighbours
from omnireid.retrieval.reranking import rerank
from omnireid.terms import Distance


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_graph_agrees_with_re_ranking_and_with_a_plain_search(distance: Distance) -> None:
    rng = np.random.default_rng(0)
    rows = (rng.random((12, 6))[np.arange(60) % 12] + 0.2 * rng.random((60, 6))).astype(np.float32)
    reranking = Reranking(k1=7, k2=3, lambda_value=0)
    graph = connect_neighbours(rows, distance, reranking)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True) if distance == "cosine" else rows
    plain = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    np.fill_diagonal(plain, -1)
    near = np.zeros((60, 60), dtype=bool)
    np.put_along_axis(near, np.argsort(plain, axis=1, kind="stable")[:, 1:8], True, axis=1)
    expected = np.argwhere(np.triu(near | near.T))
    assert np.column_stack([graph.first, graph.second]).tolist() == expected.tolist()
    assert graph.reciprocal.tolist() == (near & near.T)[graph.first, graph.second].tolist()
    pairs = plain[graph.first, graph.second]
    assert graph.distances == pytest.approx(pairs**2 / 2 if distance == "cosine" else pairs, abs=1e-5)
    # rerank compares queries with a gallery; as one query it sees the same 60 crops.
    for query in (0, 17):
        others = np.delete(np.arange(60), query)
        order = np.concatenate([[query], others])
        dense = rerank(rows[[query]], rows[others], reranking, distance).dense()[0]
        own = np.flatnonzero((graph.first == query) | (graph.second == query))
        partner = graph.first[own] + graph.second[own] - query
        place = np.argsort(order)[partner] - 1
        assert graph.jaccard[own] == pytest.approx(dense[place], abs=1e-5)


def test_a_crop_with_no_number_is_refused() -> None:
    with pytest.raises(EmbeddingError, match="gallery embedding 1"):
        connect_neighbours(np.array([[0.0], [np.nan]]), "euclidean", Reranking())
