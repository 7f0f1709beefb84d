"""Sparse tables, stored by rows: only what re-ranking needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnireid.types import FloatArray, IntArray


def join_ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """Join integer ranges, each given by its start and length.

    >>> join_ranges(np.array([5, 0, 7]), np.array([2, 0, 3])).tolist()
    [5, 6, 7, 8, 9]
    """
    ends = np.cumsum(lengths)
    shifts: IntArray = np.repeat(starts - (ends - lengths), lengths)
    return shifts + np.arange(len(shifts))


@dataclass(frozen=True, eq=False)
class SparseRows:
    """N rows that hold E entries; everything else is 0.

    The entries of row n are ``values[offsets[n]:offsets[n + 1]]``, in the columns
    ``columns[offsets[n]:offsets[n + 1]]``.

    Attributes:
        offsets: (N + 1,) int64.
        columns: (E,) int32, ascending within a row.
        values: (E,) float32.
    """

    offsets: IntArray
    columns: npt.NDArray[np.int32]
    values: FloatArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, rows: npt.NDArray[np.integer]) -> IntArray:
        """Number of entries of each of `rows`."""
        lengths: IntArray = self.offsets[rows + 1] - self.offsets[rows]
        return lengths

    def entries(self, rows: npt.NDArray[np.integer]) -> IntArray:
        """Indices into `columns` and `values` of the entries of `rows`, one row after the other."""
        return join_ranges(self.offsets[rows], self.lengths(rows))

    def slice(self, start: int, stop: int) -> SparseRows:
        """Rows `start` to `stop`. Only the offsets are copied."""
        part = slice(self.offsets[start], self.offsets[stop])
        offsets = self.offsets[start : stop + 1] - self.offsets[start]
        return SparseRows(offsets, self.columns[part], self.values[part])

    def transpose(self, columns: int) -> SparseRows:
        """The transposed table, which has `columns` rows."""
        order = np.argsort(self.columns, kind="stable")
        rows = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(self.columns, minlength=columns))])
        return SparseRows(offsets, rows[order], self.values[order])


def join_rows(parts: Sequence[SparseRows]) -> SparseRows:
    """Stack the rows of all parts into one table."""
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return SparseRows(
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.values for part in parts]),
    )
