from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.retrieval.sparse import SparseRows, join_rows
from omnireid.types import FloatArray


def from_dense(table: FloatArray) -> SparseRows:
    row, column = np.nonzero(table)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(table)))])
    return SparseRows(offsets, column.astype(np.int32), table[row, column])


def to_dense(rows: SparseRows, columns: int) -> FloatArray:
    table = np.zeros((len(rows), columns), dtype=np.float32)
    for row in range(len(rows)):
        part = slice(rows.offsets[row], rows.offsets[row + 1])
        table[row, rows.columns[part]] = rows.values[part]
    return table


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_equals_the_dense_table(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = (rng.integers(1, 9, (height, width)) * (rng.random((height, width)) < 0.4)).astype(np.float32)
    rows = from_dense(table)
    np.testing.assert_array_equal(to_dense(rows, width), table)
    np.testing.assert_array_equal(to_dense(rows.transpose(width), height), table.T)
    start = int(rng.integers(0, height))
    np.testing.assert_array_equal(to_dense(rows.slice(start, height), width), table[start:])
    np.testing.assert_array_equal(
        to_dense(join_rows([rows.slice(start, height), rows]), width)[height - start :], table
    )
    chosen = rng.integers(0, height, 5)
    assert rows.lengths(chosen).tolist() == np.count_nonzero(table[chosen], axis=1).tolist()
    assert rows.values[rows.entries(chosen)].tolist() == [value for row in table[chosen] for value in row if value]
