from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.errors import EmbeddingError, SettingError, ShapeError
from omnireid.retrieval import comparison as comparisons
from omnireid.retrieval import distance as distances
from omnireid.retrieval.comparison import block_rows
from omnireid.retrieval.reranking import rerank
from omnireid.retrieval.search import RankedMatches, search, select_nearest
from omnireid.terms import Distance


def sorted_columns(values: npt.NDArray[np.float64], count: int) -> list[list[int]]:
    return [np.lexsort((np.arange(len(row)), row))[:count].tolist() for row in values]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 60),
    st.integers(1, 4),
    st.integers(1, 70),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.integers(0, 2**32 - 1),
)
def test_search_equals_sorting(
    queries: int, crops: int, width: int, count: int, kind: type[np.floating[Any]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = (rng.integers(-6, 7, (n, width)) / 4 for n in (queries, crops))
    squared = ((query[:, None] - gallery[None]) ** 2).sum(axis=2)
    found = search(query.astype(kind), gallery.astype(kind), count)
    assert found.indices.tolist() == sorted_columns(squared, count)
    np.testing.assert_allclose(found.distances, np.sqrt(np.take_along_axis(squared, found.indices, axis=1)), rtol=1e-6)
    assert found.distances.dtype == np.float32


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 5),
    st.sampled_from([1, 16, 17, 100, 1000, 2041]),
    st.sampled_from([1, 2, 7]),
    st.sampled_from([1, 3, 1000, 10**9]),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_the_smallest_values_are_selected_as_by_sorting(
    rows: int, columns: int, count: int, levels: int, hidden: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-levels, levels + 1, (rows, columns)).astype(np.float32)
    values[rng.random(values.shape) < hidden] = np.inf
    expected = sorted_columns(values.astype(np.float64), count)
    assert select_nearest(values, min(count, columns)).tolist() == expected


def test_cosine_orders_by_angle_and_a_zero_vector_is_level_with_all() -> None:
    query = np.array([[2.0, 0.0], [0.0, 0.0]])
    gallery = np.array([[0.0, 9.0], [-1.0, 0.0], [0.0, 0.0], [5.0, 0.0], [0.25, 0.0]])
    found = search(query, gallery, 5, "cosine")
    assert found.indices.tolist() == [[3, 4, 0, 2, 1], [0, 1, 2, 3, 4]]
    assert found.distances.tolist() == [[0, 0, 1, 1, 2], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_search_equals_float64(distance: Distance) -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((50, 64)), rng.standard_normal((700, 64)) * rng.uniform(0.5, 2, (700, 1))
    if distance == "euclidean":
        values = np.sqrt(((query[:, None] - gallery[None]) ** 2).sum(axis=2))
    else:
        lengths = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
        values = 1 - query @ gallery.T / lengths
    found = search(query, gallery, 10, distance)
    assert found.indices.tolist() == sorted_columns(values, 10)
    np.testing.assert_allclose(found.distances, np.take_along_axis(values, found.indices, axis=1), rtol=1e-5)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.uint8])
def test_converting_in_pieces_changes_nothing(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    query = rng.integers(0, 9, (5, 8))
    gallery: npt.NDArray[Any] = rng.integers(0, 9, (100, 8)).astype(kind)
    expected = search(query, gallery.astype(np.float32), 20)
    monkeypatch.setattr(distances, "_LARGEST_OPERAND_BYTES", 0)
    monkeypatch.setattr(distances, "_CHUNK_BYTES", 4 * 8 * 7)
    found = search(query, gallery, 20)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_many_blocks_are_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.integers(0, 9, (23, 8)), rng.integers(0, 9, (100, 8))
    whole = search(query, gallery, 20)
    monkeypatch.setattr(comparisons, "block_rows", lambda queries, gallery: 4)
    found = search(query, gallery, 20)
    np.testing.assert_array_equal(found.indices, whole.indices)
    np.testing.assert_array_equal(found.distances, whole.distances)


def test_identical_vectors_are_at_distance_zero_at_least() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 512)).astype(np.float32) + 100
    found = search(rows, rows, 1)
    assert found.indices[:, 0].tolist() == list(range(50))
    assert (found.distances >= 0).all()


@pytest.mark.parametrize(
    ("queries", "gallery"), [(1, 1), (3368, 15913), (11659, 82161), (7, 10_000_000), (10**6, 10**6), (5, 10**9)]
)
def test_blocks_stay_small_and_even(queries: int, gallery: int) -> None:
    rows = block_rows(queries, gallery)
    blocks = -(-queries // rows)
    assert 1 <= rows <= queries
    assert rows == 1 or 4 * rows * gallery <= 224 * 2**20
    assert rows * blocks - queries < blocks


def test_wrong_arguments_are_named() -> None:
    one = np.zeros((1, 2))
    with pytest.raises(SettingError, match="count must be a whole number, at least 1; got 0"):
        search(one, one, 0)
    with pytest.raises(ShapeError, match="2 wide but gallery embeddings 3"):
        search(one, np.zeros((1, 3)), 1)
    with pytest.raises(EmbeddingError, match="query embedding 0 .* has nan in column 1"):
        search([[0, np.nan]], one, 1)
    with pytest.raises(SettingError, match="distance: there is no 'dot'"):
        search(one, one, 1, "dot")  # type: ignore[arg-type]


def test_a_comparison_of_other_crops_is_refused() -> None:
    rows = np.random.default_rng(0).standard_normal((40, 4))
    reranked = rerank(rows[:5], rows[5:])
    with pytest.raises(ShapeError, match="made for 5 queries and 35 gallery crops, but there are 4 and 35"):
        search(rows[:4], rows[5:], 3, comparison=reranked)


def test_ranked_matches_are_checked_at_birth() -> None:
    assert len(RankedMatches(np.array([[3, -1]]), np.array([[0.5, np.inf]], dtype=np.float32))) == 1
    with pytest.raises(ShapeError, match=r"must both be \(Q, K\); got \(1, 2\) and \(1, 1\)"):
        RankedMatches(np.array([[3, 4]]), np.array([[0.5]], dtype=np.float32))
    for index, value in ((-1, 0.5), (3, np.inf), (-2, 0.5)):
        with pytest.raises(ShapeError, match="nothing was ranked"):
            RankedMatches(np.array([[index]]), np.array([[value]], dtype=np.float32))
