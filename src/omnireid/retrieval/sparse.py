"""Tables of which almost all is zero, by rows: what re-ranking needs of them and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnireid.types import FloatArray, IntArray


def join_ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """The numbers from each start on, as many as its length says, one range after the other.

    >>> join_ranges(np.array([5, 0, 7]), np.array([2, 0, 3])).tolist()
    [5, 6, 7, 8, 9]
    """
    ends = np.cumsum(lengths)
    shifts: IntArray = np.repeat(starts - (ends - lengths), lengths)
    return shifts + np.arange(len(shifts))


@dataclass(frozen=True, eq=False)
class SparseRows:
    """N rows; row n has ``values[offsets[n]:offsets[n + 1]]`` in ``columns[offsets[n]:offsets[n + 1]]``, else 0.

    Attributes:
        offsets: (N + 1,).
        columns: (E,) int32, ascending within a row.
        values: (E,) float32.
    """

    offsets: IntArray
    columns: npt.NDArray[np.int32]
    values: FloatArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, rows: npt.NDArray[np.integer]) -> IntArray:
        """How many entries each of `rows` has."""
        lengths: IntArray = self.offsets[rows + 1] - self.offsets[rows]
        return lengths

    def entries(self, rows: npt.NDArray[np.integer]) -> IntArray:
        """Where the entries of `rows` are in `columns` and `values`, one row after the other."""
        return join_ranges(self.offsets[rows], self.lengths(rows))

    def slice(self, start: int, stop: int) -> SparseRows:
        """Rows `start` to `stop`; nothing but the offsets is copied."""
        part = slice(self.offsets[start], self.offsets[stop])
        offsets = self.offsets[start : stop + 1] - self.offsets[start]
        return SparseRows(offsets, self.columns[part], self.values[part])

    def transpose(self, columns: int) -> SparseRows:
        """The same table by its `columns` columns."""
        order = np.argsort(self.columns, kind="stable")
        rows = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(self.columns, minlength=columns))])
        return SparseRows(offsets, rows[order], self.values[order])


def join_rows(parts: Sequence[SparseRows]) -> SparseRows:
    """One table of the rows of all parts."""
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return SparseRows(
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.values for part in parts]),
    )
