from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.reference import rerank_densely

from omnireid.errors import EmbeddingError, SettingError, ShapeError
from omnireid.retrieval import comparison, encoding, neighbours, reranking
from omnireid.retrieval import search as search_module
from omnireid.retrieval.neighbours import find_neighbours, make_points
from omnireid.retrieval.options import Reranking
from omnireid.retrieval.reranking import rerank
from omnireid.retrieval.search import search
from omnireid.terms import DISTANCES, Distance
from omnireid.types import FloatArray

# Quarter steps are exact in float32, and so are sign vectors of length 2: a tie in float64 is one in float32.
SIGNS = np.array(
    [[1, 1, 1, 1], [1, 1, 1, -1], [1, -1, 1, -1], [-1, -1, 1, 1], [-2, -2, -2, -2], [0, 0, 0, 0], [0, 0, 4, 0]]
)


def people(rng: np.random.Generator, crops: int, identities: int, width: int = 16) -> FloatArray:
    """Embeddings in clusters, one an identity."""
    centres = rng.standard_normal((identities, width))
    noise = rng.standard_normal((crops, width))
    return (centres[rng.integers(0, identities, crops)] + 0.5 * noise).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(DISTANCES),
    st.sampled_from(["clusters", "ties", "few"]),
    st.integers(1, 8),
    st.integers(1, 45),
    st.integers(1, 24),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_equals_the_dense_reference(
    distance: Distance, kind: str, queries: int, crops: int, k1: int, k2: int, lambda_value: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows: npt.NDArray[Any] = people(rng, queries + crops, 1 + crops // 6)
    if kind != "clusters" and distance == "cosine":
        rows = rng.choice(SIGNS[: 3 if kind == "few" else None], queries + crops)
    elif kind != "clusters":
        rows = rng.integers(-3, 4, (queries + crops, 1 if kind == "few" else 3)) / 4
    query, gallery = rows[:queries], rows[queries:]
    found = rerank(query, gallery, Reranking(k1, k2, lambda_value), distance).dense()
    expected = rerank_densely(query, gallery, k1, k2, lambda_value, distance)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (30, 1), (5, 9)])
def test_equals_the_dense_reference_where_the_search_is_by_groups(distance: Distance, k1: int, k2: int) -> None:
    rows = people(np.random.default_rng(0), 1100, 40)
    found = rerank(rows[:60], rows[60:], Reranking(k1, k2), distance).dense()
    np.testing.assert_allclose(found, rerank_densely(rows[:60], rows[60:], k1, k2, 0.3, distance), rtol=0, atol=1e-5)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("count", [1, 7, 40])
def test_neighbours_equal_sorting_with_themselves_first(distance: Distance, count: int) -> None:
    rng = np.random.default_rng(count)
    drawn = rng.integers(0, len(SIGNS), 900)
    drawn[:500] = 3  # so many level rows that each is ordered alone
    rows = SIGNS[drawn] if distance == "cosine" else rng.integers(-2, 3, (900, 4)) / 4
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, lengths, out=np.zeros(rows.shape), where=lengths > 0)
    matrix = -unit @ unit.T if distance == "cosine" else ((rows[:, None] - rows) ** 2).sum(axis=2)
    np.fill_diagonal(matrix, -2)
    found = find_neighbours(make_points(rows, distance), count)
    np.testing.assert_array_equal(found.indices, np.argsort(matrix, axis=1, kind="stable")[:, :count])


def test_a_crop_with_other_neighbours_falls_behind() -> None:
    # The crowd is nearer to the query than the far end of its own line, but has neighbours of its own.
    rng = np.random.default_rng(0)
    line = np.linspace(0, 3, 12)[:, None] * [1.0, 0.0] + rng.normal(0, 0.01, (12, 2))
    crowd = np.array([0.0, 1.5]) + rng.normal(0, 0.05, (12, 2))
    query, gallery = line[:1], np.concatenate([line[1:], crowd])
    plain = np.linalg.norm(gallery - query, axis=1)
    reranked = rerank(query, gallery, Reranking(k1=4, k2=3)).dense()[0]
    assert plain[8] > plain[11:].max()
    assert reranked[2] < reranked[11:].min()
    assert reranked[11:].min() > 0.7  # nothing in common


@pytest.mark.parametrize("distance", DISTANCES)
def test_block_sizes_and_threads_change_nothing(distance: Distance, monkeypatch: pytest.MonkeyPatch) -> None:
    # Exact in float32, for blocks of a product may round differently.
    rng = np.random.default_rng(0)
    rows = rng.choice(SIGNS, 300) if distance == "cosine" else rng.integers(-9, 10, (300, 4)) / 4
    whole = rerank(rows[:50], rows[50:], distance=distance).dense()
    monkeypatch.setattr(comparison, "block_rows", lambda queries, gallery: 7)
    for module in (search_module, encoding):
        monkeypatch.setattr(module, "THREADS", 3)
    monkeypatch.setattr(encoding, "_BLOCK_BYTES", 4000)
    monkeypatch.setattr(neighbours, "_PAIR_BYTES", 100)
    monkeypatch.setattr(reranking, "_MOST_PAIRS", 20)
    np.testing.assert_array_equal(rerank(rows[:50], rows[50:], distance=distance).dense(), whole)


def test_rows_are_written_for_any_queries() -> None:
    rows = people(np.random.default_rng(0), 200, 12)
    reranked = rerank(rows[:30], rows[30:])
    whole = reranked.dense()
    chosen = np.array([7, 0, 29, 7])
    out = np.empty((4, 170), dtype=np.float32)
    reranked.compare(chosen, out)
    np.testing.assert_allclose(out, whole[chosen], rtol=0, atol=1e-6)
    assert reranked.shape == (30, 170)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_order_of_the_gallery_changes_nothing_without_ties(distance: Distance) -> None:
    rng = np.random.default_rng(0)
    rows = people(rng, 300, 20)
    order = rng.permutation(250)
    found = rerank(rows[:50], rows[50:], distance=distance).dense()
    shuffled = rerank(rows[:50], rows[50:][order], distance=distance).dense()
    np.testing.assert_allclose(shuffled, found[:, order], rtol=0, atol=1e-6)


def test_searching_a_reranked_gallery_equals_sorting_its_dense_distances() -> None:
    rows = people(np.random.default_rng(0), 200, 12)
    query, gallery = rows[:30], rows[30:]
    reranked = rerank(query, gallery, Reranking(lambda_value=0))  # all crops that share nothing are level
    whole = reranked.dense()
    found = search(query, gallery, 100, comparison=reranked)
    np.testing.assert_array_equal(found.indices, np.argsort(whole, axis=1, kind="stable")[:, :100])
    np.testing.assert_array_equal(found.distances, np.take_along_axis(whole, found.indices, axis=1))
    assert search(query, gallery, 1000, comparison=reranked).indices.shape == (30, 170)


def test_lambda_1_is_the_distance_divided_by_its_largest() -> None:
    rows = people(np.random.default_rng(0), 60, 5)
    squared = ((rows[:10, None] - rows[None]) ** 2).sum(axis=2)
    expected = (squared / squared.max(axis=1, keepdims=True))[:, 10:]
    np.testing.assert_allclose(
        rerank(rows[:10], rows[10:], Reranking(lambda_value=1)).dense(), expected, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [100.3, 7.7, 0.1]])
def test_a_gallery_of_copies_is_level(distance: Distance, vector: list[float]) -> None:
    reranked = rerank([vector] * 3, [vector] * 60, Reranking(k1=5, k2=1), distance).dense()
    assert np.unique(reranked[:, 10:]).size == 1
    assert ((reranked >= 0) & (reranked <= 1)).all()


def test_one_query_and_one_gallery_crop() -> None:
    # Each is the other's only neighbour: both encodings hold both, with the weights 1 and exp(-1) turned about.
    smaller = np.exp(-1) / (1 + np.exp(-1))
    jaccard = 1 - 2 * smaller / (2 - 2 * smaller)
    reranked = rerank([[1.0, 2.0]], [[3.0, 4.0]], Reranking(k2=1)).dense()
    assert reranked.tolist() == [[pytest.approx(0.7 * jaccard + 0.3)]]


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8])
def test_other_types_are_their_float32_values(kind: type[Any]) -> None:
    rows = np.random.default_rng(0).integers(-9, 10, (80, 6)).astype(kind)
    single = rows.astype(np.float32)
    np.testing.assert_array_equal(rerank(rows[:9], rows[9:]).dense(), rerank(single[:9], single[9:]).dense())


def test_memory_does_not_grow_with_all_crops_to_all_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = 3500
    rows = people(np.random.default_rng(0), crops, 250)
    out = np.empty((2, crops - 100), dtype=np.float32)
    monkeypatch.setattr(comparison, "block_rows", lambda queries, gallery: 64)
    monkeypatch.setattr(encoding, "_BLOCK_BYTES", 2**19)
    monkeypatch.setattr(reranking, "_MOST_CELLS", 2**15)
    tracemalloc.start()
    try:
        rerank(rows[:100], rows[100:]).compare(np.arange(2), out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < crops**2  # a byte each; as float32 they would be four


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k1": 0}, "k1 of re-ranking must be a whole number, at least 1; got 0"),
        ({"k1": 2.5}, "k1 of re-ranking .* got 2.5"),
        ({"k2": 0}, "k2 of re-ranking must be a whole number, at least 1; got 0"),
        ({"lambda_value": 1.5}, "from 0 .*to 1 .*got 1.5"),
        ({"lambda_value": float("nan")}, "got nan"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Reranking(**settings)
    with pytest.raises(SettingError, match=message):
        replace(Reranking(), **settings)


def test_wrong_arguments_are_named() -> None:
    one = np.zeros((1, 2))
    with pytest.raises(ShapeError, match="2 wide but gallery embeddings 3"):
        rerank(one, np.zeros((1, 3)))
    with pytest.raises(ShapeError, match="There are no gallery embeddings"):
        rerank(one, np.zeros((0, 2)))
    with pytest.raises(EmbeddingError, match="query embedding 0 .* has nan in column 1"):
        rerank([[0, np.nan]], one)
    with pytest.raises(EmbeddingError, match="gallery embedding 1 .* has inf in column 0"):
        rerank(one, np.array([[0, 0], [np.inf, 0]]))
    with pytest.raises(SettingError, match="distance: there is no 'dot'"):
        rerank(one, one, distance="dot")  # type: ignore[arg-type]
