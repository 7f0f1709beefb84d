from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.evaluation import ranks_ahead
from omnireid.evaluation.ranks_ahead import count_ahead
from omnireid.types import IntArray


def ahead_by_sorting(values: npt.NDArray[np.float32], columns: IntArray) -> list[list[int]]:
    ahead = []
    for row, chosen in zip(values, columns, strict=True):
        place = np.empty(len(row), dtype=int)
        place[np.lexsort((np.arange(len(row)), row))] = np.arange(len(row))
        ahead.append([int(place[column]) if column < len(row) else 0 for column in chosen])
    return ahead


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 12),
    st.sampled_from([1, 7, 100, 2039, 2040, 2041, 4080, 4081, 9000]),
    st.integers(1, 30),
    st.sampled_from([2, 1000, 10**9]),
    st.integers(0, 2**32 - 1),
)
def test_equals_sorting(rows: int, gallery: int, width: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-levels, levels, (rows, gallery)).astype(np.float32)
    columns = np.full((rows, width), gallery)
    for row in columns:
        count = rng.integers(0, min(width, gallery) + 1)
        row[:count] = np.sort(rng.choice(gallery, count, replace=False))
    real = columns < gallery
    chosen = np.where(real, np.take_along_axis(values, np.where(real, columns, 0), axis=1), -np.inf).astype(np.float32)
    ahead, is_tied = count_ahead(values, columns, chosen)
    assert np.where(real, ahead, 0).tolist() == ahead_by_sorting(values, columns)
    others = values.copy()
    others[np.nonzero(real)[0], columns[real]] = np.inf
    smallest = np.where(real, chosen, np.inf).min(axis=1)
    assert is_tied.tolist() == ((others == smallest[:, None]).any(axis=1) & real.any(axis=1)).tolist()


def test_a_hidden_column_is_ahead_of_nothing_but_has_a_place() -> None:
    values = np.array([[1, np.inf, 2, 1, np.nan, 3]], dtype=np.float32)
    ahead, is_tied = count_ahead(values, np.array([[1, 5]]), np.array([[1, 3]], dtype=np.float32))
    assert ahead.tolist() == [[1, 3]]
    assert is_tied.tolist() == [True]


@pytest.mark.parametrize("scratch", [3, 17])
def test_more_comparisons_than_the_scratch_holds(scratch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks_ahead, "_MASK_ROWS", scratch)
    values = np.random.default_rng(0).integers(0, 50, (4, 60)).astype(np.float32)
    columns = np.tile(np.arange(0, 60, 2), (4, 1))
    chosen = np.take_along_axis(values, columns, axis=1)
    assert count_ahead(values, columns, chosen)[0].tolist() == ahead_by_sorting(values, columns)
