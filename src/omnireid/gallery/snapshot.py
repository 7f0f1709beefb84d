"""The sightings of one moment in memory, and the exact search among them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from omnireid.gallery.database import Database
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.schema import SIGHTINGS
from omnireid.gallery.sightings import Sightings
from omnireid.retrieval.comparison import EmbeddingComparison
from omnireid.retrieval.distance import ComparableGallery, prepare_gallery, squared_norms
from omnireid.retrieval.search import RankedMatches, search
from omnireid.terms import Distance
from omnireid.types import AnyArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pyarrow as pa

_KEPT_FILTERS = 8
"""Filters whose sightings are remembered: the cameras of a usual site, which exclude themselves in turn."""

_LARGEST_COPY = 1 / _KEPT_FILTERS
"""Share of the sightings up to which those that fit a filter are copied, so that all copies take at most the memory of
the gallery. Other filters compare every sighting and leave out those that do not fit."""

_LARGEST_OPERAND_BYTES = 5 * 2**29
"""A million embeddings of 512 values are kept in float32, in which a single query compares them ten times as fast as
in float16. A larger gallery is compared in pieces until `optimize` has made an index."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Sightings that fit a filter, ready to be compared with.

    Attributes:
        gallery: Embeddings of these sightings, or of all sightings.
        rows: The row in the snapshot of each embedding; None where they are those of all sightings.
        left_out: Rows of `gallery` that do not fit the filter.
    """

    gallery: ComparableGallery
    rows: IntArray | None = None
    left_out: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.gallery) - len(self.left_out)


@dataclass(frozen=True, eq=False)
class _FilteredComparison(EmbeddingComparison):
    """Queries and a gallery of which some rows are never found."""

    left_out: IntArray

    def compare(self, queries: IntArray, out: FloatArray) -> None:
        """Write the ranking values of (B,) queries and the whole gallery; +inf for what is left out."""
        super().compare(queries, out)
        out[:, self.left_out] = np.inf


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All sightings of one version of a gallery, in the order in which they were added.

    Attributes:
        sightings: Everything but the embeddings.
        embeddings: (N, D) in the type that is stored.
        handle: The table, opened at this version.
    """

    sightings: Sightings
    embeddings: AnyArray
    handle: Any = field(repr=False)
    _prepared: OrderedDict[str | None, Candidates] = field(default_factory=OrderedDict, repr=False)
    _whole: dict[Distance, ComparableGallery] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _preparing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __len__(self) -> int:
        return len(self.sightings)

    def candidates(self, database: Database, where: str | None, distance: Distance) -> Candidates | None:
        """The sightings that fit a filter; None where none does. The last few filters are remembered."""
        with self._lock:
            if where in self._prepared:
                self._prepared.move_to_end(where)
                return self._prepared[where]
        made = self._prepare(database, where, distance)
        with self._lock:
            if made is not None:
                self._prepared[where] = made
            while len(self._prepared) > _KEPT_FILTERS:
                self._prepared.popitem(last=False)
        return made

    def _prepare(self, database: Database, where: str | None, distance: Distance) -> Candidates | None:
        if where is None:
            return Candidates(self._all(distance))
        rows = self.rows(database, where)
        if not len(rows):
            return None
        if len(rows) <= _LARGEST_COPY * len(self):
            return Candidates(prepare_gallery(self.embeddings[rows], distance), rows)
        left_out = np.ones(len(self), dtype=bool)
        left_out[rows] = False
        return Candidates(self._all(distance), left_out=np.flatnonzero(left_out))

    def _all(self, distance: Distance) -> ComparableGallery:
        """All sightings, which are prepared once."""
        with self._preparing:
            made = self._whole.get(distance)
            if made is None:
                made = prepare_gallery(self.embeddings, distance, largest_operand_bytes=_LARGEST_OPERAND_BYTES)
                self._whole[distance] = made
            return made

    def rows(self, database: Database, where: str | None) -> IntArray:
        """Rows of the sightings that fit a filter, ascending."""
        if where is None:
            return np.arange(len(self), dtype=np.int64)
        numbers = database.read(self.handle, ["sighting"], where).column("sighting").to_numpy()
        return np.flatnonzero(np.isin(self.sightings.table.column("sighting").to_numpy(), numbers))


def read_snapshot(database: Database) -> Snapshot:
    """Read all sightings of the newest version."""
    handle = database.table(SIGHTINGS)
    table = database.read(handle)
    order = _order(table)
    if (np.diff(order) < 0).any():  # taking copies everything, and rows are written in this order as a rule
        table = table.take(order)
    embeddings = embeddings_of(table)
    return Snapshot(Sightings(table.drop_columns(["embedding"])), embeddings, handle)


def embeddings_of(table: pa.Table) -> AnyArray:
    """(N, D) embeddings of a table of sightings, in the type that is stored."""
    column = table.column("embedding").combine_chunks()
    width = column.type.list_size
    return cast("AnyArray", column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width))


def _order(table: pa.Table) -> IntArray:
    """The order in which sightings were added, which decides ties."""
    return np.argsort(table.column("sighting").to_numpy(), kind="stable")


def rank_sightings(
    database: Database,
    snapshot: Snapshot,
    query: AnyArray,
    count: int,
    which: SightingFilter,
    distance: Distance,
    left_out: Sequence[str] | None,
) -> RankedMatches:
    """Rank the sightings that fit a filter for (Q, D) queries.

    Args:
        database: The gallery's database.
        snapshot: Its sightings.
        query: The embeddings that are searched for.
        count: Number of sightings to find for each.
        which: The filter.
        distance: How embeddings are compared.
        left_out: For each query, the camera whose sightings are left out for it.

    Returns:
        (Q, K) rows of the snapshot and their distances, K = min(count, N); -1 where fewer than K fit.
    """
    shape = len(query), min(count, len(snapshot))
    indices, distances = np.full(shape, -1, dtype=np.int64), np.full(shape, np.inf, dtype=np.float32)
    cameras: list[str | None] = [None] if left_out is None else [*sorted(set(left_out))]
    for camera in cameras:
        rows = np.array([left_out is None or left_out[row] == camera for row in range(len(query))]).nonzero()[0]
        candidates = snapshot.candidates(database, which.sql(snapshot.handle.schema, not_camera=camera), distance)
        if candidates is not None:
            ranked = _rank_exactly(query[rows], candidates, count)
            width = ranked.indices.shape[1]
            indices[rows, :width], distances[rows, :width] = ranked.indices, ranked.distances
    return RankedMatches(indices, distances)


def _rank_exactly(query: AnyArray, candidates: Candidates, count: int) -> RankedMatches:
    """Rank sightings for (Q, D) queries, as `omnireid.retrieval.search` does. Indices are rows of the snapshot."""
    gallery = candidates.gallery
    comparison = _FilteredComparison(query, gallery, squared_norms(query, "query"), candidates.left_out)
    found = search(query, gallery.embeddings, min(count, len(candidates)), comparison=comparison)
    return found if candidates.rows is None else RankedMatches(candidates.rows[found.indices], found.distances)
