"""Searching for a person by all of their sightings."""

from __future__ import annotations

import numpy as np

from omnireid.errors import SettingError
from omnireid.gallery.found import GalleryMatches
from omnireid.gallery.options import METHODS, SearchMethod
from omnireid.retrieval.search import RankedMatches
from omnireid.types import AnyArray

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
    numbers = found.sightings.table.column("sighting").to_pylist()
    names = found.sightings.table.column("person").to_pylist()
    values: dict[int, float] = {}
    row_of: dict[int, int] = {}
    for rows, distances in zip(found.ranked.indices.tolist(), found.ranked.distances.tolist(), strict=True):
        pairs = zip(rows, distances, strict=True)
        others = [(row, value) for row, value in pairs if row >= 0 and names[row] != person]
        for rank, (row, value) in enumerate(others, start=1):
            number = numbers[row]
            row_of.setdefault(number, row)
            if method == "vote":
                share = (1 + _RANK_OFFSET) / (rank + _RANK_OFFSET) / len(found.ranked)
                values[number] = values.get(number, 1.0) - share
            else:
                values[number] = min(value, values.get(number, np.inf))
    best = sorted(values.items(), key=lambda entry: (entry[1], entry[0]))[:count]
    indices = np.array([row_of[number] for number, _ in best], dtype=np.int64).reshape(1, -1)
    return RankedMatches(indices, np.array([value for _, value in best], dtype=np.float32).reshape(1, -1))
