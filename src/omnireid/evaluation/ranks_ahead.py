"""The places of chosen columns in rows of values, found without sorting the rows.

A column i with value t has ahead of it the columns before i with a value ≤ t
and the columns after i with a value < t: the rule that ties go to the lower
index. So one comparison of the row for each chosen column gives its place. To
make it one numpy call for many columns and rows at a time:

- the row is cut into spans; in a span that lies before i the threshold is the
  next float after t (≤ t), in a span after i it is t itself (< t);
- in the span that holds i it is t, and the next float after t is counted as
  well. If the two counts differ by more than i itself, there is a tie in that
  span, and the equal values before i are counted one by one. Ties are rare
  where embeddings are real numbers, and a span is a small part of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from omnireid.types import FloatArray, IntArray

_LANES = 255  # a byte adds up this many booleans without overflow
_PIECE = 8 * _LANES  # booleans counted together, eight bytes at a time
_SPAN = 2 * _PIECE  # columns compared at a time: 16 KiB of values stay in the first-level cache
_MASK_ROWS = 128  # comparisons of a span in one call: 0.5 MiB stays in the second-level cache


@dataclass(frozen=True, eq=False)
class _Span:
    """One span of columns, and what each row is compared with in it.

    The first `extra` columns of `thresholds` are the next floats after the
    values of the chosen columns inside the span, the last one first; -inf where
    a row has fewer.
    """

    start: int
    stop: int
    extra: int
    inside: IntArray  # (B,) how many chosen columns of the row lie in the span
    before: IntArray  # (B,) how many lie before it
    thresholds: FloatArray  # (B, extra + W)
    counts: npt.NDArray[np.int32]  # (B, extra + W) the result


def _make_spans(gallery: int, columns: IntArray, chosen: FloatArray) -> list[_Span]:
    """Cut `gallery` columns into spans of nearly equal length, with their thresholds."""
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
    """Scratch memory, and the loop that uses it."""

    def __init__(self, values: FloatArray, spans: Sequence[_Span]) -> None:
        self.values = values
        self.spans = spans
        pieces = -(-max(span.stop - span.start for span in spans) // _PIECE)
        # Never written beyond a span's length, so what is there stays False; a shorter span has its own.
        self.masks = {span.stop - span.start: np.zeros((_MASK_ROWS, pieces * _PIECE), dtype=bool) for span in spans}
        self.lanes = np.empty((_MASK_ROWS, pieces), dtype=np.uint64)

    def count(self, group: slice, width: int, firsts: Sequence[int]) -> None:
        """Fill the counts of a group of rows: of each span those from its entry in `firsts` on."""
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
    """Add, to the chosen columns inside the span, the equal values that stand before them in it."""
    if not span.extra:
        return
    order = np.arange(span.extra)
    row, order = np.nonzero(order < span.inside[:, None])
    place = span.before[row] + order
    column = columns[row, place]
    level = span.counts[row, span.extra - 1 - order] - span.counts[row, span.extra + place]
    itself = values[row, column] == chosen[row, place]  # unless it is hidden
    for tied in np.flatnonzero(level > itself).tolist():
        at, k = row[tied], place[tied]
        ahead[at, k] += np.count_nonzero(values[at, span.start : columns[at, k]] == chosen[at, k])


def count_ahead(values: FloatArray, columns: IntArray, chosen: FloatArray) -> IntArray:
    """Count what stands ahead of chosen columns in each row.

    One thread does it all: two of them spent what they gained on handing the
    interpreter lock to and fro.

    Args:
        values: (B, G) float32, small is ahead; +inf is ahead of nothing.
        columns: (B, W) the chosen columns, ascending in each row and followed by G where a row has fewer
            than W. Fast where neighbouring rows have about as many.
        chosen: (B, W) their values, -inf where there is none. They need not be those in `values`: a
            column can be hidden there.

    Returns:
        (B, W) how many columns of the row are ahead of the chosen one; ties go to the lower column.
    """
    total, gallery = values.shape
    spans = _make_spans(gallery, columns, chosen)
    widths = np.sum(columns < gallery, axis=1)
    starts = np.arange(0, total, max(1, min(_MASK_ROWS, int(_MASK_ROWS / max(1, 1.3 * widths.mean())))))
    group_widths = np.maximum.reduceat(widths, starts).tolist()
    firsts = np.stack([span.extra - np.maximum.reduceat(span.inside, starts) for span in spans], axis=1).tolist()
    counter = _Counter(values, spans)
    for (start, stop), width, first in zip(pairwise([*starts.tolist(), total]), group_widths, firsts, strict=True):
        counter.count(slice(start, stop), width, first)
    ahead = np.zeros(columns.shape, dtype=np.int64)
    for span in spans:
        ahead += span.counts[:, span.extra :]
        _add_ties(values, span, columns, chosen, ahead)
    return ahead
