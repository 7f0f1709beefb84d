"""k-reciprocal encoding: each crop as a short list of the crops that are its neighbours and have it as theirs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from omnireid.retrieval.neighbours import Neighbours, Points
from omnireid.retrieval.search import THREADS, IndexArray
from omnireid.retrieval.sparse import SparseRows, join_rows
from omnireid.types import BoolArray, IntArray

_BLOCK_BYTES = 16 * 2**20  # that one thread works on at a time


def _make_in_blocks(make: Callable[[slice], SparseRows], rows: int, row_bytes: int) -> SparseRows:
    """Make `rows` sparse rows, a block at a time, in several threads."""
    step = max(1, _BLOCK_BYTES // row_bytes)
    blocks = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    with ThreadPoolExecutor(THREADS) as pool:
        return join_rows(list(pool.map(make, blocks)))


def _find_reciprocal(indices: IndexArray) -> BoolArray:
    """(N, K) whether each of a row's K neighbours has the row among its own K."""
    total, count = indices.shape
    reciprocal = np.empty(indices.shape, dtype=bool)
    step = max(1, _BLOCK_BYTES // (4 * count**2))
    for start in range(0, total, step):
        rows = np.arange(start, min(start + step, total), dtype=np.int32)
        theirs = indices[indices[rows]]
        np.any(theirs == rows[:, None, None], axis=2, out=reciprocal[rows[0] : rows[-1] + 1])
    return reciprocal


def encode_reciprocal(points: Points, neighbours: Neighbours, k1: int) -> SparseRows:
    """Encode each of N points by its k-reciprocal neighbours.

    The k-reciprocal set of a point holds those of its k1 neighbours that have the
    point among their own k1. Each member's own set, taken with half of k1, is added
    where more than two thirds of it are already in the set. The weight of a member
    at distance d is exp(−d / the largest d of the row), and the weights of a row are
    scaled to sum to 1.

    Args:
        points: The N embeddings.
        neighbours: At least k1 + 1 neighbours of each point, itself included; fewer where N is smaller.
        k1: Neighbourhood size, not counting the point itself.

    Returns:
        N sparse rows of N columns.
    """
    total = len(points)
    near = neighbours.indices[:, : k1 + 1]
    half = neighbours.indices[:, : round(k1 / 2) + 1]
    is_reciprocal, half_is_reciprocal = _find_reciprocal(near), _find_reciprocal(half)

    def encode(block: slice) -> SparseRows:
        inside = np.zeros((block.stop - block.start, total), dtype=bool)
        np.put_along_axis(inside, near[block], is_reciprocal[block], axis=1)
        sets = half[near[block]]
        is_member = half_is_reciprocal[near[block]] & is_reciprocal[block, :, None]
        places = sets.reshape(len(sets), -1)
        common = np.take_along_axis(inside, places, axis=1).reshape(sets.shape) & is_member
        is_wide = 3 * np.count_nonzero(common, axis=2) > 2 * np.count_nonzero(is_member, axis=2)
        row, place = np.nonzero((is_member & is_wide[:, :, None]).reshape(places.shape))
        inside[row, places[row, place]] = True
        row, column = np.divmod(np.flatnonzero(inside), total)
        weights = np.exp(-points.compare_pairs(row + block.start, column) * neighbours.inverse_farthest[block][row])
        lengths = np.bincount(row)  # no row is empty: a point is in its own set
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        weights /= np.repeat(np.add.reduceat(weights, offsets[:-1]), lengths)
        return SparseRows(offsets, column.astype(np.int32), weights)

    # One byte a point, and the gathered k1 × k1 / 2 neighbours of neighbours.
    return _make_in_blocks(encode, total, total + 8 * near.shape[1] * half.shape[1])


def average_neighbours(encoding: SparseRows, nearest: IndexArray) -> SparseRows:
    """Replace each row by the mean of the rows of its nearest points (local query expansion).

    Args:
        encoding: N sparse rows of N columns.
        nearest: (N, k2) indices of the rows to average, the row itself included.
    """
    total, count = nearest.shape

    def average(block: slice) -> SparseRows:
        sources = nearest[block].reshape(-1)
        entries = encoding.entries(sources)
        row = np.repeat(np.arange(len(sources), dtype=np.int64) // count, encoding.lengths(sources))
        keys = row * total + encoding.columns[entries]
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        row, column = np.divmod(keys[starts], total)
        values = np.add.reduceat(encoding.values[entries[order]], starts)
        values /= np.float32(count)
        offsets: IntArray = np.concatenate([[0], np.cumsum(np.bincount(row))])
        return SparseRows(offsets, column.astype(np.int32), values)

    mean_entries = -(-len(encoding.values) // total)
    return _make_in_blocks(average, total, 40 * count * mean_entries)
