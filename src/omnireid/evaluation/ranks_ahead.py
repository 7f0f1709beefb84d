"""The ranks of chosen columns in rows of values, found without sorting the rows.

Ahead of a column i with value t are the columns before i with a value ≤ t, and
the columns after i with a value < t, because ties go to the lower index. So one
comparison of the row for each chosen column gives its rank. To make one NumPy call
do this for many columns and rows:

- the row is cut into spans. The threshold is the next float after t in a span
  that lies before i (≤ t), and t itself in a span after i (< t);
- in the span that holds i, columns below t and columns below the next float after
  t are both counted. If the two counts differ by more than i itself, the span holds
  a tie, and the equal values before i are counted one by one. Ties are rare where
  embeddings are real numbers, and a span is a small part of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from omnireid.types import BoolArray, FloatArray, IntArray

_LANES = 255  # a byte can add up this many booleans without overflow
_PIECE = 8 * _LANES  # booleans that are counted together, eight bytes at a time
_SPAN = 2 * _PIECE  # columns compared at a time: 16 KiB of values stay in the first-level cache
_MASK_ROWS = 128  # comparisons of a span in one call: 0.5 MiB stays in the second-level cache


@dataclass(frozen=True, eq=False)
class _Span:
    """One span of columns, with the thresholds of each row.

    The first `extra` columns of `thresholds` are the next floats after the values
    of the chosen columns inside the span, the last column first. Rows with fewer
    such columns hold -inf there.
    """

    start: int
    stop: int
    extra: int
    inside: IntArray  # (B,) number of the row's chosen columns in the span
    before: IntArray  # (B,) number of its chosen columns before the span
    thresholds: FloatArray  # (B, extra + W)
    counts: npt.NDArray[np.int32]  # (B, extra + W) number of the span's values below each threshold


def _make_spans(gallery: int, columns: IntArray, chosen: FloatArray) -> list[_Span]:
    """Cut `gallery` columns into spans of nearly the same length, and compute their thresholds."""
    after = np.nextafter(chosen, np.float32(np.inf))
    length = -(-gallery // -(-gallery // _SPAN))
    before = np.zeros(len(columns), dtype=np.int64)
    spans = []
    for start in range(0, gallery, length):
        stop = min(start + length, gallery)
        reached = columns < stop
        inside = np.count_nonzero(reached, axis=1) - before
        extra = int(inside.max())
        order = np.arange(extra - 1, -1, -1)
        level = np.take_along_axis(after, np.minimum(before[:, None] + order, columns.shape[1] - 1), axis=1)
        level[order >= inside[:, None]] = -np.inf
        thresholds = np.concatenate([level, np.where(reached, chosen, after)], axis=1)
        counts = np.zeros(thresholds.shape, dtype=np.int32)
        spans.append(_Span(start, stop, extra, inside, before, thresholds, counts))
        before = before + inside
    return spans


class _Counter:
    """Counts values below thresholds, with scratch memory that all its groups of rows share."""

    def __init__(self, values: FloatArray, spans: Sequence[_Span]) -> None:
        self.values = values
        self.spans = spans
        pieces = -(-max(span.stop - span.start for span in spans) // _PIECE)
        # One mask for each length of span: what lies beyond that length is never written, and stays False.
        self.masks = {span.stop - span.start: np.zeros((_MASK_ROWS, pieces * _PIECE), dtype=bool) for span in spans}
        self.lanes = np.empty((_MASK_ROWS, pieces), dtype=np.uint64)
        self.is_equal = np.empty((min(_MASK_ROWS, len(values)), values.shape[1]), dtype=bool)

    def find_ties(self, group: slice, level: FloatArray, known: IntArray) -> BoolArray:
        """Find the rows of a group in which more values than the `known` number equal the row's entry in `level`."""
        is_equal = self.is_equal[: group.stop - group.start]
        np.equal(self.values[group], level[group, None], out=is_equal)
        if np.count_nonzero(is_equal) == known[group].sum():  # nearly always, and faster than with an axis
            return np.zeros(len(is_equal), dtype=bool)
        has_tie: BoolArray = np.count_nonzero(is_equal, axis=1) > known[group]
        return has_tie

    def count(self, group: slice, width: int, firsts: Sequence[int]) -> None:
        """Fill the counts of a group of rows, for each span from the column in `firsts` on."""
        rows = group.stop - group.start
        step = max(1, _MASK_ROWS // rows)
        for span, first in zip(self.spans, firsts, strict=True):
            length = span.stop - span.start
            values = self.values[group, None, span.start : span.stop]
            for low in range(first, span.extra + width, step):
                part = slice(low, min(low + step, span.extra + width))
                ahead = self.masks[length][: rows * (part.stop - low)]
                lanes = self.lanes[: len(ahead)]
                shape = rows, part.stop - low, -1
                np.less(values, span.thresholds[group, part, None], out=ahead.reshape(shape)[:, :, :length])
                np.add.reduce(ahead.view(np.uint64).reshape(*lanes.shape, _LANES), axis=-1, out=lanes)
                np.add.reduce(
                    lanes.view(np.uint8).reshape(shape), axis=-1, dtype=np.int32, out=span.counts[group, part]
                )


def _add_ties(values: FloatArray, span: _Span, columns: IntArray, chosen: FloatArray, ahead: IntArray) -> None:
    """Add the equal values that stand before each chosen column in its own span."""
    if not span.extra:
        return
    order = np.arange(span.extra)
    row, order = np.nonzero(order < span.inside[:, None])
    place = span.before[row] + order
    column = columns[row, place]
    level = span.counts[row, span.extra - 1 - order] - span.counts[row, span.extra + place]
    itself = values[row, column] == chosen[row, place]  # False for a hidden column
    for tied in np.flatnonzero(level > itself).tolist():
        at, k = row[tied], place[tied]
        ahead[at, k] += np.count_nonzero(values[at, span.start : columns[at, k]] == chosen[at, k])


def count_ahead(values: FloatArray, columns: IntArray, chosen: FloatArray) -> tuple[IntArray, BoolArray]:
    """Count the columns that are ahead of chosen columns in each row.

    It runs in one thread: two threads lost what they gained to handing the GIL back
    and forth.

    Args:
        values: (B, G) float32, smaller is ahead; +inf is ahead of nothing.
        columns: (B, W) the chosen columns, ascending in each row and followed by G where a row has fewer
            than W. It is fast where neighbouring rows have about as many.
        chosen: (B, W) values of the chosen columns, -inf where there is none. They may differ from `values`, in
            which a column can be hidden.

    Returns:
        (B, W) number of columns of the row that are ahead of the chosen one, where ties go to the lower column; and
        (B,) whether the smallest chosen value of the row also stands in a column that is not chosen.
    """
    total, gallery = values.shape
    spans = _make_spans(gallery, columns, chosen)
    is_chosen = columns < gallery
    widths = np.count_nonzero(is_chosen, axis=1)
    starts = np.arange(0, total, max(1, min(_MASK_ROWS, int(_MASK_ROWS / max(1, 1.3 * widths.mean())))))
    group_widths = np.maximum.reduceat(widths, starts).tolist()
    firsts = np.stack([span.extra - np.maximum.reduceat(span.inside, starts) for span in spans], axis=1).tolist()
    counter = _Counter(values, spans)
    smallest = np.where(is_chosen, chosen, np.float32(np.inf)).min(axis=1)
    present = np.take_along_axis(values, np.where(is_chosen, columns, 0), axis=1)  # +inf for a hidden column
    known = np.count_nonzero(is_chosen & (present == smallest[:, None]), axis=1)
    is_tied = np.empty(total, dtype=bool)
    for (start, stop), width, first in zip(pairwise([*starts.tolist(), total]), group_widths, firsts, strict=True):
        counter.count(slice(start, stop), width, first)
        is_tied[start:stop] = counter.find_ties(slice(start, stop), smallest, known)  # the rows are in the cache now
    ahead = np.zeros(columns.shape, dtype=np.int64)
    for span in spans:
        ahead += span.counts[:, span.extra :]
        _add_ties(values, span, columns, chosen, ahead)
    return ahead, is_tied
