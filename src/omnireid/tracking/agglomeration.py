"""Grouping by pairwise log odds: the two groups whose pairs agree most are merged, as long as that speaks for them.

The objective is stated pair by pair: two groups become one where the mean log
odds over all their pairs is above a threshold and nothing keeps them apart,
best first (average linkage). Pairs of one group share their crops, so their
evidence is taken as one opinion, not as many independent ones: the mean, not
the sum.

Shapes: N members.
"""

from __future__ import annotations

import numpy as np

from omnireid.types import BoolArray, DoubleArray, IntArray


def group_members(log_odds: DoubleArray, apart: BoolArray, groups: IntArray, least: float) -> IntArray:
    """Merge groups while the mean log odds between two of them is above the threshold.

    Memory is three times that of the log odds; time grows with the square of the number of groups at the start, for
    each merge with their number.

    Args:
        log_odds: (N, N) log odds that two members are one person, symmetric.
        apart: (N, N) whether two members cannot be one person, symmetric. Groups with such a pair are never merged.
        groups: (N,) group of each member at the start, numbered from 0 without gaps.
        least: Mean log odds above which two groups are merged.

    Returns:
        (N,) groups, numbered from 0 in the order of their first members.
    """
    count = int(groups.max(initial=-1)) + 1
    if count == 0:
        return groups
    sums, blocked = _group_sums(log_odds, apart, groups, count)
    sizes = np.bincount(groups, minlength=count).astype(np.float64)
    values = sums / np.outer(sizes, sizes)
    values[blocked] = -np.inf
    np.fill_diagonal(values, -np.inf)
    labels = np.arange(count)
    partners, best = values.argmax(axis=1), values.max(axis=1)
    while (first := int(best.argmax())) >= 0 and best[first] > least:
        kept, gone = sorted((first, int(partners[first])))
        labels[labels == gone] = kept
        sizes[kept] += sizes[gone]
        sums[kept] += sums[gone]
        sums[:, kept] = sums[kept]
        blocked[kept] |= blocked[gone]
        blocked[:, kept] = blocked[kept]
        values[gone], values[:, gone], best[gone] = -np.inf, -np.inf, -np.inf
        blocked[gone], blocked[:, gone] = True, True
        row = np.where(blocked[kept], -np.inf, sums[kept] / (sizes[kept] * sizes))
        row[kept] = -np.inf
        values[kept], values[:, kept] = row, row
        stale = (partners == kept) | (partners == gone)
        better = (row > best) & ~stale
        partners[better], best[better] = kept, row[better]
        stale[kept], stale[gone] = True, False
        for group in [*np.flatnonzero(stale & np.isfinite(best)).tolist(), kept]:
            partners[group] = values[group].argmax()
            best[group] = values[group, partners[group]]
    found = labels[groups]
    _, places, order = np.unique(found, return_index=True, return_inverse=True)
    ranks = np.argsort(np.argsort(places))
    result: IntArray = ranks[order]
    return result


def _group_sums(log_odds: DoubleArray, apart: BoolArray, groups: IntArray, count: int) -> tuple[DoubleArray, BoolArray]:
    """Sums of log odds between groups, and which groups cannot be merged."""
    if count == len(groups) and (groups == np.arange(count)).all():
        return log_odds.copy(), apart.copy()
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(count))
    grid = np.ix_(order, order)
    sums = np.add.reduceat(np.add.reduceat(log_odds[grid], starts, axis=0), starts, axis=1)
    blocked = np.logical_or.reduceat(np.logical_or.reduceat(apart[grid], starts, axis=0), starts, axis=1)
    return sums, blocked
