from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.errors import EmbeddingError, OmnireidError, ShapeError
from omnireid.retrieval import distance as distances
from omnireid.retrieval.distance import block_rows, find_copies, nearest, prepare_gallery, squared_norms
from omnireid.types import Distance


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
def test_nearest_equals_sorting(
    queries: int, crops: int, width: int, count: int, kind: type[np.floating[Any]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = (rng.integers(-6, 7, (n, width)) / 4 for n in (queries, crops))
    squared = ((query[:, None] - gallery[None]) ** 2).sum(axis=2)
    indices, found = nearest(query.astype(kind), gallery.astype(kind), count)
    assert indices.tolist() == sorted_columns(squared, count)
    np.testing.assert_allclose(found, np.sqrt(np.take_along_axis(squared, indices, axis=1)), rtol=1e-6)
    assert found.dtype == np.float32


def test_nearest_by_cosine() -> None:
    query = np.array([[2.0, 0.0], [0.0, 0.0]])
    gallery = np.array([[0.0, 9.0], [-1.0, 0.0], [0.0, 0.0], [5.0, 0.0], [0.25, 0.0]])
    indices, found = nearest(query, gallery, 5, "cosine")
    assert indices.tolist() == [[3, 4, 0, 2, 1], [0, 1, 2, 3, 4]]
    assert found.tolist() == [[0, 0, 1, 1, 2], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_nearest_equals_float64(distance: Distance) -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((50, 64)), rng.standard_normal((700, 64)) * rng.uniform(0.5, 2, (700, 1))
    if distance == "euclidean":
        values = np.sqrt(((query[:, None] - gallery[None]) ** 2).sum(axis=2))
    else:
        lengths = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
        values = 1 - query @ gallery.T / lengths
    indices, found = nearest(query, gallery, 10, distance)
    assert indices.tolist() == sorted_columns(values, 10)
    np.testing.assert_allclose(found, np.take_along_axis(values, indices, axis=1), rtol=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("width", [1, 7, 16, 33, 128, 513])
def test_equal_rows_get_equal_values_wherever_they_stand(distance: Distance, width: int) -> None:
    rng = np.random.default_rng(width)
    pool = rng.standard_normal((40, width)).astype(np.float32)
    drawn = rng.integers(0, 40, 1003)
    gallery = prepare_gallery(pool[drawn], distance)
    query = rng.standard_normal((37, width)).astype(np.float32)
    values = np.empty((37, 1003), dtype=np.float32)
    gallery.compare(query, values)
    for which in range(40):
        assert len(np.unique(values[:, drawn == which], axis=1).T) == 1


def test_copies_are_rows_equal_to_an_earlier_one() -> None:
    # Rows 1 and 4 have the length of row 0 but are not equal to it; -0 equals 0.
    rows = np.array([[3, 4], [4, 3], [3, 4], [0, 1], [4, 3], [-0.0, 1], [4, 3]], dtype=np.float16)
    copies, firsts = find_copies(rows, squared_norms(rows, "gallery"))
    assert copies.tolist() == [2, 4, 5, 6]
    assert firsts.tolist() == [0, 1, 3, 1]


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.uint8])
def test_converting_in_pieces_changes_nothing(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    query = rng.integers(0, 9, (5, 8))
    gallery: npt.NDArray[Any] = rng.integers(0, 9, (100, 8)).astype(kind)
    expected = nearest(query, gallery.astype(np.float32), 20)
    monkeypatch.setattr(distances, "_LARGEST_OPERAND_BYTES", 0)
    monkeypatch.setattr(distances, "_CHUNK_BYTES", 4 * 8 * 7)
    found = nearest(query, gallery, 20)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_many_blocks_are_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.integers(0, 9, (23, 8)), rng.integers(0, 9, (100, 8))
    whole = nearest(query, gallery, 20)
    monkeypatch.setattr(distances, "block_rows", lambda queries, gallery: 4)
    for found, expected in zip(nearest(query, gallery, 20), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_identical_vectors_are_at_distance_zero_at_least() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 512)).astype(np.float32) + 100
    indices, found = nearest(rows, rows, 1)
    assert indices[:, 0].tolist() == list(range(50))
    assert (found >= 0).all()


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
    with pytest.raises(ShapeError, match="count must be at least 1; got 0"):
        nearest(one, one, 0)
    with pytest.raises(ShapeError, match="2 wide but gallery embeddings 3"):
        nearest(one, np.zeros((1, 3)), 1)
    with pytest.raises(EmbeddingError, match="query embedding 0 .* has nan in column 1"):
        nearest([[0, np.nan]], one, 1)
    with pytest.raises(OmnireidError, match="No distance 'dot'"):
        nearest(one, one, 1, "dot")  # type: ignore[arg-type]
