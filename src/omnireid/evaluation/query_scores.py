"""Scores of single queries: the only place where average precision is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnireid.errors import ShapeError
from omnireid.types import BoolArray, DoubleArray, IntArray


@dataclass(frozen=True, eq=False)
class MatchScores:
    """Scores of N queries that each have a true match.

    Attributes:
        true_matches: (N,) number of true matches.
        first_rank: (N,) rank, from 1, of the first true match.
        average_precision: (N,) mean of the precision at each true match, without trapezoids.
        inverse_negative_penalty: (N,) number of true matches / rank of the last one.
    """

    true_matches: IntArray
    first_rank: IntArray
    average_precision: DoubleArray
    inverse_negative_penalty: DoubleArray

    def table(self, ranks: Sequence[int]) -> DoubleArray:
        """(N, K + 2): whether a true match is among the first k crops for each k of `ranks`; then AP and INP."""
        found = [self.first_rank <= rank for rank in ranks]
        return np.stack([*found, self.average_precision, self.inverse_negative_penalty], axis=1).astype(np.float64)


def score_matches(query: IntArray, rank: IntArray) -> MatchScores:
    """Score each query by the ranks of its true matches.

    Args:
        query: (M,) the query of each true match, ascending. No query is left out.
        rank: (M,) its rank, from 1, in any order within a query.
    """
    ranks = np.sort((query << 32) + rank) & 0xFFFFFFFF  # by query, then rank
    starts = np.flatnonzero(np.diff(query, prepend=-1))
    lengths = np.diff(np.append(starts, len(query)))
    found = np.arange(len(query)) - np.repeat(starts, lengths) + 1
    return MatchScores(
        true_matches=lengths,
        first_rank=ranks[starts],
        average_precision=np.add.reduceat(found / ranks, starts) / lengths,
        inverse_negative_penalty=lengths / ranks[starts + lengths - 1],
    )


@dataclass(frozen=True, eq=False)
class QueryScores:
    """Scores of each of Q queries, counted or not, in their order.

    Where several random galleries were drawn (``single-gallery-shot``), each score
    is a mean over the galleries.

    Attributes:
        is_counted: (Q,) whether the query has a true match. The scores of other queries are NaN.
        true_matches: (Q,) number of true matches; 0 for a query that is not counted.
        first_rank: (Q,) rank, from 1, of the first true match.
        average_precision: (Q,) mean of the precision at each true match.
        inverse_negative_penalty: (Q,) number of true matches / rank of the last one.
        is_tied: (Q,) whether a crop of somebody else is exactly as near as the first true match, so that the order
            of the gallery decides between them.

    Raises:
        ShapeError: the arrays are not all (Q,).
    """

    is_counted: BoolArray
    true_matches: IntArray
    first_rank: DoubleArray
    average_precision: DoubleArray
    inverse_negative_penalty: DoubleArray
    is_tied: BoolArray

    def __post_init__(self) -> None:
        shapes = {name: np.shape(values) for name, values in vars(self).items()}
        if set(shapes.values()) != {(len(self.is_counted),)}:
            raise ShapeError(f"The scores of queries must be aligned, one entry a query; their shapes are {shapes}.")

    def __len__(self) -> int:
        return len(self.is_counted)


def spread_scores(
    counted: IntArray, queries: int, scores: Sequence[MatchScores], ties: Sequence[BoolArray]
) -> QueryScores:
    """Put the scores of counted queries in the order of all queries.

    Args:
        counted: (N,) index of each counted query.
        queries: Number of all queries, Q.
        scores: Scores of the counted queries in each gallery that was drawn; one for a whole gallery.
        ties: (N,) for each gallery, whether a tie decides the first true match. A query counts as tied if it is in
            most of the galleries.
    """

    def spread(name: str) -> DoubleArray:
        result = np.full(queries, np.nan)
        result[counted] = np.mean([getattr(one, name) for one in scores], axis=0)
        return result

    is_counted, is_tied = np.zeros(queries, dtype=bool), np.zeros(queries, dtype=bool)
    true_matches = np.zeros(queries, dtype=np.int64)
    is_counted[counted] = True
    is_tied[counted] = np.mean(ties, axis=0) > 0.5
    true_matches[counted] = scores[0].true_matches
    return QueryScores(
        is_counted=is_counted,
        true_matches=true_matches,
        first_rank=spread("first_rank"),
        average_precision=spread("average_precision"),
        inverse_negative_penalty=spread("inverse_negative_penalty"),
        is_tied=is_tied,
    )
