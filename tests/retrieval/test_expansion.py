from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.reference import expand_densely

from omnireid.errors import EmbeddingError, SettingError, ShapeError
from omnireid.retrieval import expansion
from omnireid.retrieval.expansion import expand_queries
from omnireid.retrieval.options import QueryExpansion
from omnireid.terms import DISTANCES, Distance


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(DISTANCES),
    st.integers(1, 6),
    st.integers(1, 40),
    st.integers(1, 50),
    st.sampled_from([0.0, 0.5, 3.0]),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.integers(0, 2**32 - 1),
)
def test_equals_the_dense_reference(
    distance: Distance, queries: int, crops: int, count: int, alpha: float, kind: type[Any], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    query: npt.NDArray[Any] = rng.standard_normal((queries, 8)).astype(kind)
    gallery: npt.NDArray[Any] = rng.standard_normal((crops, 8)).astype(kind)
    gallery[: crops // 8] = 0
    found = expand_queries(query, gallery, QueryExpansion(count, alpha), distance)
    np.testing.assert_allclose(found, expand_densely(query, gallery, count, alpha, distance), rtol=0, atol=1e-5)
    assert found.dtype == np.float32


def test_alpha_takes_weight_off_what_is_unlike_the_query() -> None:
    query, gallery = [[1.0, 0.0]], [[1.0, 1.0], [-1.0, 0.0]]
    assert expand_queries(query, gallery, QueryExpansion(2)).tolist() == [[pytest.approx(1 / 3), pytest.approx(1 / 3)]]
    # Similarities are √½ and −1: the first weighs ½, the second nothing.
    assert expand_queries(query, gallery, QueryExpansion(2, alpha=2)).tolist() == [
        [pytest.approx(1), pytest.approx(1 / 3)]
    ]


def test_ties_go_to_the_lower_index() -> None:
    assert expand_queries([[0.0]], [[9.0], [2.0], [-2.0]], QueryExpansion(1)).tolist() == [[1.0]]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.integers(-9, 10, (23, 8)), rng.integers(-9, 10, (100, 8))
    whole = expand_queries(query, gallery, QueryExpansion(7, 2.0))
    monkeypatch.setattr(expansion, "_BLOCK_BYTES", 4 * 7 * 8 * 5)
    np.testing.assert_array_equal(expand_queries(query, gallery, QueryExpansion(7, 2.0)), whole)


def test_wrong_arguments_are_named() -> None:
    one = np.ones((1, 2))
    with pytest.raises(SettingError, match="count of query expansion must be a whole number, at least 1; got 0"):
        QueryExpansion(0)
    with pytest.raises(SettingError, match="got 1.5"):
        QueryExpansion(1.5)  # type: ignore[arg-type]
    for alpha in (-1.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match=f"alpha of query expansion must be 0 .*got {alpha}"):
            QueryExpansion(alpha=alpha)
    with pytest.raises(ShapeError, match="2 wide but gallery embeddings 3"):
        expand_queries(one, np.ones((1, 3)))
    with pytest.raises(EmbeddingError, match="gallery embedding 0 .* has nan"):
        expand_queries(one, [[np.nan, 1]])
