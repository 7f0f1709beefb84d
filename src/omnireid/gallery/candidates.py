"""The sightings that fit a filter, ready to be compared with, and the ranking among them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from omnireid.gallery.conditions import Condition, named_columns
from omnireid.gallery.growing import LARGEST_OPERAND_BYTES, GrowingGallery, prepare_growing
from omnireid.gallery.sketches import Sketches, sketch_embeddings
from omnireid.retrieval.comparison import EmbeddingComparison
from omnireid.retrieval.distance import (
    ComparableGallery,
    convert_rows,
    make_factors,
    make_operand,
    prepare_gallery,
    squared_norms,
)
from omnireid.retrieval.search import RankedMatches, search, select_nearest
from omnireid.terms import Distance
from omnireid.types import AnyArray, BoolArray, FloatArray, IntArray

_KEPT_FILTERS = 8
"""Filters whose sightings are remembered: the cameras of a usual site, which exclude themselves in turn."""

_LARGEST_COPY = 1 / _KEPT_FILTERS
"""Share of the sightings up to which those that fit a filter are copied, so that all copies take at most the memory of
the gallery. Other filters compare every sighting and leave out those that do not fit."""

_COMPARED_WHOLE = 150_000
"""Up to so many sightings that fit a filter are compared by their whole embeddings: 100,000 took 12 ms on two cores."""

_PER_WANTED = 8
"""Sightings that are shortlisted, at least, for each one that is wanted."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Sightings that fit a filter, ready to be compared with.

    Attributes:
        compared: Their embeddings, or those of all sightings; or sketches, of which a search makes a shortlist.
        fits: (N,) whether each sighting of the snapshot fits; None where all do.
        rows: The row in the snapshot of each row of `compared`; None where it has all sightings.
        left_out: Rows of `compared` that do not fit the filter.
    """

    compared: ComparableGallery | Sketches
    fits: BoolArray | None = None
    rows: IntArray | None = None
    left_out: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.compared) - len(self.left_out)


@dataclass(frozen=True, eq=False)
class _FilteredComparison(EmbeddingComparison):
    """Queries and a gallery of which some rows are never found."""

    left_out: IntArray

    def compare(self, queries: IntArray, out: FloatArray) -> None:
        """Write the ranking values of (B,) queries and the whole gallery; +inf for what is left out."""
        super().compare(queries, out)
        out[:, self.left_out] = np.inf


class PreparedCandidates:
    """What was prepared to search a snapshot: its embeddings, sketches of them, and what fits the last few filters."""

    def __init__(self) -> None:
        """Nothing is prepared yet."""
        self._galleries: dict[Distance, GrowingGallery] = {}
        self._sketches: dict[tuple[Distance, int], Sketches] = {}
        self._filtered: OrderedDict[tuple[Condition | None, int], Candidates] = OrderedDict()
        self._lock = threading.Lock()
        self._preparing = threading.Lock()

    def successor(self, *, people_changed: bool) -> PreparedCandidates:
        """What still holds for the next snapshot, which has the same sightings and may have more behind them."""
        made = PreparedCandidates()
        with self._lock:
            made._galleries.update(self._galleries)
            made._sketches.update(self._sketches)
            for (where, bits), candidates in self._filtered.items():
                if where is not None and not (people_changed and "person" in named_columns(where)):
                    made._filtered[where, bits] = candidates
        return made

    def fitting(
        self,
        embeddings: AnyArray,
        distance: Distance,
        where: Condition | None,
        bits: int,
        fits_from: Callable[[int], BoolArray],
    ) -> Candidates | None:
        """The sightings that fit a filter; None where none does. The last few filters are remembered.

        Args:
            embeddings: (N, D) embeddings of the snapshot.
            distance: How they are compared.
            where: The filter; None where all sightings fit.
            bits: Number of bits of the sketches; 0 to compare whole embeddings.
            fits_from: Says which sightings from a row on fit.
        """
        if not len(embeddings):
            return None
        with self._lock:
            kept = self._filtered.get((where, bits))
        known = 0 if kept is None or kept.fits is None else len(kept.fits)
        if kept is not None and known == len(embeddings):
            made = kept
        elif where is None:
            return Candidates(self._all(embeddings, distance, bits))
        else:
            later = fits_from(known)
            fits = later if kept is None or kept.fits is None else np.concatenate([kept.fits, later])
            if not fits.any():
                return None
            if kept is not None and kept.rows is not None and not later.any():
                made = replace(kept, fits=fits)
            else:
                made = self._choose(embeddings, distance, fits, bits)
        with self._lock:
            self._filtered[where, bits] = made
            self._filtered.move_to_end((where, bits))
            while len(self._filtered) > _KEPT_FILTERS:
                self._filtered.popitem(last=False)
        return made

    def _choose(self, embeddings: AnyArray, distance: Distance, fits: BoolArray, bits: int) -> Candidates:
        rows = np.flatnonzero(fits)
        is_few = len(rows) <= _LARGEST_COPY * len(embeddings)
        if is_few and (not bits or len(rows) <= _COMPARED_WHOLE):
            copied = prepare_gallery(embeddings[rows], distance, largest_operand_bytes=LARGEST_OPERAND_BYTES)
            return Candidates(copied, fits, rows)
        compared = self._all(embeddings, distance, bits)
        if is_few and isinstance(compared, Sketches):
            return Candidates(compared.taken(rows), fits, rows)
        return Candidates(compared, fits, None, np.flatnonzero(~fits))

    def _all(self, embeddings: AnyArray, distance: Distance, bits: int) -> ComparableGallery | Sketches:
        """All sightings, which are prepared once; only new ones where others are prepared already."""
        with self._preparing:
            if not bits:
                gallery = self._galleries.get(distance) or prepare_growing(embeddings, distance)
                self._galleries[distance] = gallery.extended(embeddings)
                return self._galleries[distance].gallery
            sketches = self._sketches.get((distance, bits)) or sketch_embeddings(embeddings, distance, bits)
            self._sketches[distance, bits] = sketches.extended(embeddings)
            return self._sketches[distance, bits]


def rank_candidates(
    query: AnyArray, embeddings: AnyArray, distance: Distance, candidates: Candidates, count: int, shortlist: int
) -> RankedMatches:
    """Rank candidates for (Q, D) queries, as `omnireid.retrieval.search` does. Indices are rows of the snapshot.

    Where candidates are sketches, the nearest by these are shortlisted, and ranked by their whole embeddings. `search`
    looks for equal embeddings, so that ties go to the lower row; it is given no more than may be found.

    Args:
        query: The queries.
        embeddings: (N, D) embeddings of the snapshot.
        distance: How they are compared.
        candidates: What fits the filter.
        count: Number of sightings to find.
        shortlist: Number of sightings to shortlist.
    """
    count, compared = min(count, len(candidates)), candidates.compared
    if isinstance(compared, ComparableGallery):
        comparison = _FilteredComparison(query, compared, squared_norms(query, "query"), candidates.left_out)
        found = search(query, compared.embeddings, count, comparison=comparison)
        return found if candidates.rows is None else RankedMatches(candidates.rows[found.indices], found.distances)
    shortlist = min(max(shortlist, _PER_WANTED * count), len(candidates))
    shape = len(query), count
    indices, distances = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32)
    for place in range(len(query)):
        one = query[place : place + 1]
        listed = compared.shortlist(one, shortlist, candidates.left_out)
        rows = listed if candidates.rows is None else candidates.rows[listed]
        rows = _take_nearest(one, embeddings, rows, distance, _PER_WANTED * count)
        ranked = search(one, embeddings[rows], count, distance)
        indices[place], distances[place] = rows[ranked.indices[0]], ranked.distances[0]
    return RankedMatches(indices, distances)


def _take_nearest(query: AnyArray, embeddings: AnyArray, rows: IntArray, distance: Distance, count: int) -> IntArray:
    """The `count` of the rows that are nearest to a (1, D) query, ascending."""
    gallery, none = convert_rows(embeddings[rows]), np.empty(0, dtype=np.int64)
    factors = make_factors(squared_norms(gallery, "gallery"), distance)
    values = np.empty((1, len(rows)), dtype=np.float32)
    ComparableGallery(gallery, distance, factors, none, none, make_operand(gallery, factors, distance)).compare(
        query, values
    )
    nearest: IntArray = np.sort(rows[select_nearest(values, min(count, len(rows)))[0]])
    return nearest
