"""The sightings of one moment in memory, brought up to date by what is new, and the search among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from omnireid.gallery.candidates import Candidates, PreparedCandidates, rank_candidates
from omnireid.gallery.conditions import Condition, find_fitting
from omnireid.gallery.database import Database
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.growing import GrowingRows
from omnireid.gallery.schema import SIGHTINGS, IndexFacts
from omnireid.gallery.sightings import Sightings
from omnireid.retrieval.search import RankedMatches
from omnireid.terms import Distance
from omnireid.types import AnyArray, BoolArray, IntArray

if TYPE_CHECKING:
    import pyarrow as pa

_NOT_KEPT = ("embedding", "key")
"""Columns that are not among the sightings of a snapshot: embeddings are an array of their own, and nobody asks for
keys."""

_MOST_PARTS = 64
"""Parts of a table, one for each refresh, after which they are joined."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All sightings of one version of a gallery, in the order in which they were added.

    Attributes:
        sightings: Everything but the embeddings, and the keys of crops.
        embeddings: (N, D) in the type that is stored.
        handle: The table, opened at this version.
    """

    sightings: Sightings
    embeddings: AnyArray
    handle: Any = field(repr=False)
    _growing: GrowingRows = field(repr=False)
    _prepared: PreparedCandidates = field(default_factory=PreparedCandidates, repr=False)

    def __len__(self) -> int:
        return len(self.sightings)

    @property
    def last_number(self) -> int:
        """The highest number of a sighting; 0 where there is none."""
        return int(self.sightings.table.column("sighting")[-1].as_py()) if len(self) else 0

    def candidates(self, where: Condition | None, distance: Distance, index: IndexFacts | None) -> Candidates | None:
        """The sightings that fit a filter; None where none does. The last few filters are remembered."""

        def fits_from(start: int) -> BoolArray:
            return self._fits(where, start)

        bits = 0 if index is None else index.bits
        return self._prepared.fitting(self.embeddings, distance, where, bits, fits_from)

    def rows(self, where: Condition | None) -> IntArray:
        """Rows of the sightings that fit a filter, ascending."""
        return np.flatnonzero(self._fits(where, 0))

    def _fits(self, where: Condition | None, start: int) -> BoolArray:
        """Whether each sighting from row `start` on fits a filter."""
        table = self.sightings.table.slice(start)
        return np.ones(len(table), dtype=bool) if where is None else find_fitting(where, table)


def read_snapshot(database: Database) -> Snapshot:
    """Read all sightings of the newest version."""
    import pyarrow as pa

    handle = database.table(SIGHTINGS)
    column = handle.schema.field("embedding").type
    growing = GrowingRows.reserve(handle.count_rows(), (column.list_size,), column.value_type.to_pandas_dtype())
    embeddings = growing.append(0, np.empty((0, column.list_size)))
    parts = []
    for batch in database.batches(handle):
        part = pa.Table.from_batches([batch])
        embeddings = growing.append(len(embeddings), embeddings_of(part))
        parts.append(_without_embeddings(part))
    empty = _without_embeddings(handle.schema.empty_table())
    table = pa.concat_tables([empty, *parts]).combine_chunks()
    order = np.argsort(_numbers(table), kind="stable")
    if (np.diff(order) < 0).any():  # taking copies everything, and rows are written in this order as a rule
        table, embeddings = table.take(order), embeddings[order]
        growing = GrowingRows(embeddings)
    return Snapshot(Sightings(table), embeddings, handle, growing)


def refresh_snapshot(database: Database, old: Snapshot) -> Snapshot | None:
    """The newest version of a snapshot's gallery. Of embeddings, only those of new sightings are read.

    A number is never given twice, and of what is kept of a sighting only its person is ever written again, unless the
    columns or the model change. So the numbers and people of the newest version tell what is gone, what is new and
    what is changed. Where rows were only appended, only these are read.

    Returns:
        The snapshot; None where the columns or the model have changed, or numbers are not as they should be: then
        everything has to be read again.
    """
    import pyarrow as pa

    handle = database.table(SIGHTINGS)
    if not handle.schema.equals(old.handle.schema, check_metadata=True):
        return None
    if database.only_appended(handle, old.handle.version):
        fresh = database.read_behind(handle, len(old))
        if len(old) + len(fresh) == handle.count_rows() and _numbers(fresh).min() > old.last_number:
            prepared = old._prepared.successor(people_changed=False)
            return _with_rows(old.sightings.table, old.embeddings, old._growing, fresh, handle, prepared)
    before = _numbers(old.sightings.table)
    last = old.last_number
    light = database.read(handle, ["sighting", "person"])
    numbers = _numbers(light)
    if (np.diff(numbers) < 0).any():
        light = light.take(np.argsort(numbers, kind="stable"))
        numbers = _numbers(light)
    stays = np.isin(before, numbers)
    count = int(np.searchsorted(numbers, last, side="right"))
    if not np.array_equal(before[stays], numbers[:count]):
        return None
    people = light.column("person")
    table, embeddings, growing = old.sightings.table, old.embeddings, old._growing
    people_changed = True
    if not stays.all():
        table, embeddings = table.filter(pa.array(stays)), embeddings[stays]
        growing, prepared = GrowingRows(embeddings), PreparedCandidates()
    else:
        people_changed = not people.slice(0, count).equals(table.column("person"))
        prepared = old._prepared.successor(people_changed=people_changed)
    if people_changed:
        table = table.set_column(table.schema.get_field_index("person"), "person", people.slice(0, count))
    fresh = database.read(handle, None, f"sighting > {last}") if count < len(numbers) else None
    return _with_rows(table, embeddings, growing, fresh, handle, prepared)


def _with_rows(
    table: pa.Table,
    embeddings: AnyArray,
    growing: GrowingRows,
    fresh: pa.Table | None,
    handle: Any,
    prepared: PreparedCandidates,
) -> Snapshot:
    """A snapshot of what is known and of new rows behind it."""
    import pyarrow as pa

    if fresh is not None:
        fresh = fresh.take(np.argsort(_numbers(fresh), kind="stable"))
        embeddings = growing.append(len(embeddings), embeddings_of(fresh))
        table = pa.concat_tables([table, _without_embeddings(fresh)])
    if table.column("sighting").num_chunks > _MOST_PARTS:
        table = table.combine_chunks()
    return Snapshot(Sightings(table), embeddings, handle, growing, prepared)


def embeddings_of(table: pa.Table) -> AnyArray:
    """(N, D) embeddings of a table of sightings, in the type that is stored."""
    column = table.column("embedding").combine_chunks()
    width = column.type.list_size
    return cast("AnyArray", column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width))


def _numbers(table: pa.Table) -> IntArray:
    numbers: IntArray = table.column("sighting").to_numpy()
    return numbers


def _without_embeddings(table: pa.Table) -> pa.Table:
    return table.drop_columns([name for name in _NOT_KEPT if name in table.column_names])


def rank_sightings(
    snapshot: Snapshot,
    query: AnyArray,
    count: int,
    which: SightingFilter,
    distance: Distance,
    left_out: Sequence[str] | None,
    index: IndexFacts | None = None,
) -> RankedMatches:
    """Rank the sightings that fit a filter for (Q, D) queries.

    Args:
        snapshot: The sightings of a gallery.
        query: The embeddings that are searched for.
        count: Number of sightings to find for each.
        which: The filter.
        distance: How embeddings are compared.
        left_out: For each query, the camera whose sightings are left out for it.
        index: How sightings are shortlisted; None to compare every one, without a miss.

    Returns:
        (Q, K) rows of the snapshot and their distances, K = min(count, N); -1 where fewer than K fit.
    """
    shape = len(query), min(count, len(snapshot))
    indices, distances = np.full(shape, -1, dtype=np.int64), np.full(shape, np.inf, dtype=np.float32)
    cameras: list[str | None] = [None] if left_out is None else [*sorted(set(left_out))]
    for camera in cameras:
        rows = np.array([left_out is None or left_out[row] == camera for row in range(len(query))]).nonzero()[0]
        where = which.condition(snapshot.handle.schema, not_camera=camera)
        candidates = snapshot.candidates(where, distance, index)
        if candidates is not None:
            shortlist = 0 if index is None else index.shortlist
            ranked = rank_candidates(query[rows], snapshot.embeddings, distance, candidates, count, shortlist)
            width = ranked.indices.shape[1]
            indices[rows, :width], distances[rows, :width] = ranked.indices, ranked.distances
    return RankedMatches(indices, distances)
