"""Searching for a person by all of their sightings."""

from __future__ import annotations

import numpy as np

from omnireid.errors import SettingError
from omnireid.gallery.found import GalleryMatches
from omnireid.gallery.options import METHODS, SearchMethod
from omnireid.retrieval.search import RankedMatches
from omnireid.types import AnyArray, BoolArray, IntArray

LEAST_VOTES = 50
"""Each sighting of a person votes for at least so many others."""

_RANK_OFFSET = 60
"""Of reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009, who chose it on other data."""


def check_method(method: str) -> SearchMethod:
    """Check the name of a way to search by several sightings.

    Raises:
        SettingError: there is no such way.
    """
    for known in METHODS:
        if method == known:
            return known
    raise SettingError(f"method: there is no {method!r}. Known: {', '.join(METHODS)}.")


def person_queries(embeddings: AnyArray, distance: str, method: SearchMethod) -> AnyArray:
    """The (Q, D) float32 queries for a person with N embeddings: these, or (1, D) their mean.

    For cosine distance it is the mean of their directions.
    """
    rows: AnyArray = embeddings.astype(np.float32)
    if method != "mean":
        return rows
    if distance == "cosine":
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    mean: AnyArray = rows.mean(axis=0, keepdims=True)
    return mean


def combine(found: GalleryMatches, person: str, count: int, method: SearchMethod) -> RankedMatches:
    """One ranking from those of a person's sightings, without the person's own.

    ``best`` orders by the smallest distance to any of the sightings. ``vote`` lets each sighting vote for what it
    found, 1/(60 + rank) each; the distance that is given is one minus the share of the votes that were possible.
    ``mean`` has one ranking, which stays in its order.

    Args:
        found: What was found for each of the person's sightings, or for their mean.
        person: Name of the person.
        count: Number of sightings to find.
        method: How the rankings are combined.

    Returns:
        A ranking of one row, K = count at most. Ties go to the sighting that was added first.
    """
    import pyarrow.compute as pc

    is_own = pc.fill_null(pc.equal(found.sightings.table.column("person"), person), fill_value=False).to_numpy()
    numbers = found.sightings.table.column("sighting").to_numpy()
    return fuse_rankings(found.ranked, is_own, numbers, count, method)


def fuse_rankings(
    ranked: RankedMatches, left_out: BoolArray, numbers: IntArray, count: int, method: SearchMethod
) -> RankedMatches:
    """Fuse the rankings of Q queries for one person into one, as `combine` says.

    Args:
        ranked: (Q, K) rows of N candidates.
        left_out: (N,) candidates that are not ranked.
        numbers: (N,) what decides ties: the lower number comes first.
        count: Number of candidates to find.
        method: How the rankings are fused.
    """
    shown = ranked.indices >= 0
    shown &= ~left_out[np.where(shown, ranked.indices, 0)]
    rows = ranked.indices[shown]
    if method == "vote":
        ranks = np.cumsum(shown, axis=1)[shown]
        values = np.ones(len(left_out), dtype=np.float64)
        np.subtract.at(values, rows, (1 + _RANK_OFFSET) / (ranks + _RANK_OFFSET) / len(ranked))
    else:
        values = np.full(len(left_out), np.inf)
        np.minimum.at(values, rows, ranked.distances[shown])
    found = np.unique(rows)
    order = found[np.lexsort((numbers[found], values[found]))][:count]
    return RankedMatches(order.reshape(1, -1), values[order].astype(np.float32).reshape(1, -1))
