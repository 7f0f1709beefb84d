"""The index of a large gallery: made, measured against the exact answer, and kept only where it pays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from omnireid.gallery.audit import compact_audit, log_action
from omnireid.gallery.database import Database
from omnireid.gallery.decision_writing import apply_decisions
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.schema import BLOCKED, DECISIONS, FACTS, SIGHTINGS, GalleryFacts, IndexFacts, write_facts
from omnireid.gallery.sightings import Sightings
from omnireid.gallery.snapshot import Snapshot, embeddings_of, rank_sightings, read_snapshot
from omnireid.retrieval.distance import check_distance
from omnireid.retrieval.search import RankedMatches, search
from omnireid.terms import Distance
from omnireid.types import AnyArray, IntArray

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_SIGHTINGS = 10_000
"""Below this no index is tried: what LanceDB does for a search through one takes longer than comparing every sighting.
From here on both are measured."""
TARGET_RECALL = 0.98
_QUERIES = 50
_RECALL_AT = 10
_ITERATIONS = 10
"""Rounds in which the cells are formed. LanceDB's own 50 take several times as long among a million sightings, and what
they gain in recall a few more cells give too; how many it takes is measured."""
_PROBES = (8, 16, 32, 64, 128, 256)
_NAME = "embedding"


@dataclass(frozen=True)
class OptimizeReport:
    """What an `optimize` found and chose.

    Attributes:
        sightings: Number of sightings.
        exact_ms: Median time of an exact search in milliseconds; None where no index was tried.
        index_ms: Median time of a search through the index.
        recall: Share of the true nearest ten that the index finds, without a filter or with one, whichever is lower.
        probes: Cells of the index that a search looks into.
        partitions: Cells of the index.
        index_kept: Whether searches use the index from now on.
        bytes_before: Size of the gallery's files before; None where they cannot be listed.
        bytes_after: Size of its files after.
    """

    sightings: int
    exact_ms: float | None = None
    index_ms: float | None = None
    recall: float | None = None
    probes: int | None = None
    partitions: int | None = None
    index_kept: bool = False
    bytes_before: int | None = None
    bytes_after: int | None = None

    def json(self) -> dict[str, Any]:
        """The report as plain values."""
        return dict(vars(self))

    def table(self) -> str:
        """The report as text."""
        lines = [f"{self.sightings:,} sightings"]
        if self.exact_ms is None:
            lines.append(f"no index: below {LEAST_SIGHTINGS:,} sightings an exact search is fast enough")
        else:
            lines.append(f"exact search: {self.exact_ms:.1f} ms (median of {_QUERIES} single queries)")
            found = f"{self.index_ms:.1f} ms, recall@{_RECALL_AT} {self.recall:.4f} against the exact answer"
            lines.append(f"index: {found}, {self.probes} of {self.partitions} cells")
            why = "it is used from now on" if self.index_kept else "it is not used: slower, or below the wanted recall"
            lines.append(f"{why} (recall wanted: {TARGET_RECALL})")
        if self.bytes_before is not None and self.bytes_after is not None:
            lines.append(f"size: {self.bytes_before / 1e6:,.1f} MB before, {self.bytes_after / 1e6:,.1f} MB after")
        return "\n".join(lines)


def build_index(database: Database, facts: GalleryFacts, partitions: int) -> None:
    """Make the index anew over all sightings."""
    from lancedb.index import IvfFlat

    handle = database.table(SIGHTINGS)
    with database.writing(SIGHTINGS):
        distance = _lance_distance(facts.model.distance)
        kind = IvfFlat(distance_type=distance, num_partitions=partitions, max_iterations=_ITERATIONS)
        handle.create_index(_NAME, config=kind, replace=True, name=_NAME)


def drop_index(database: Database) -> None:
    """Remove the index, if there is one."""
    handle = database.table(SIGHTINGS)
    with database.writing(SIGHTINGS):
        if any(index.name == _NAME for index in handle.list_indices()):
            handle.drop_index(_NAME)


def choose_index(database: Database, facts: GalleryFacts, *, seed: int = 0) -> tuple[GalleryFacts, OptimizeReport]:
    """Make an index where the gallery is large enough, measure it, and keep it where it is fast and good enough.

    The queries are sightings of the gallery, moved a little. As few cells are searched as give the recall that is
    wanted, without a filter and with one for the camera that saw most.
    """
    snapshot = read_snapshot(database)
    report = OptimizeReport(len(snapshot))
    if len(snapshot) < LEAST_SIGHTINGS:
        drop_index(database)
        return _with_index(database, facts, None), report
    partitions = 2 ** round(math.log2(math.sqrt(len(snapshot))))
    build_index(database, facts, partitions)
    handle, distance = database.table(SIGHTINGS), check_distance(facts.model.distance)
    queries = _draw_queries(snapshot.embeddings, np.random.default_rng(seed))
    filters = [SightingFilter(), *_largest_camera(snapshot)]

    def exactly(query: AnyArray, which: SightingFilter) -> IntArray:
        ranked = rank_sightings(database, snapshot, query, _RECALL_AT, which, distance, None)
        return _numbers(ranked, snapshot.sightings)

    truth, exact_ms = _time(exactly, queries, filters)
    index = IndexFacts(partitions, 0, 0.0)
    index_ms = math.inf
    for probes in _PROBES:
        index = IndexFacts(partitions, min(probes, partitions), 0.0)

        def through(query: AnyArray, which: SightingFilter, index: IndexFacts = index) -> IntArray:
            ranked, seen = search_index(database, handle, query, _RECALL_AT, which, distance, index, None)
            return _numbers(ranked, seen)

        found, index_ms = _time(through, queries, filters)
        index = replace(index, recall=_worst_recall(truth, found))
        if index.recall >= TARGET_RECALL or probes >= partitions:
            break
    kept = index.recall >= TARGET_RECALL and index_ms < exact_ms
    if not kept:
        drop_index(database)
    report = replace(
        report,
        exact_ms=exact_ms,
        index_ms=index_ms,
        recall=index.recall,
        probes=index.probes,
        partitions=partitions,
        index_kept=kept,
    )
    return _with_index(database, facts, index if kept else None), report


def search_index(
    database: Database,
    handle: Any,
    query: AnyArray,
    count: int,
    which: SightingFilter,
    distance: Distance,
    index: IndexFacts,
    left_out: Sequence[str] | None,
) -> tuple[RankedMatches, Sightings]:
    """Rank the candidates that the index gives for each of (Q, D) queries, as `omnireid.retrieval.search` does.

    Sightings that were added after the index was made are compared one by one.

    Args:
        database: The gallery's database.
        handle: The table of sightings, opened.
        query: The embeddings that are searched for.
        count: Number of sightings to find for each.
        which: The filter.
        distance: How embeddings are compared.
        index: What the index is.
        left_out: For each query, the camera whose sightings are left out for it.

    Returns:
        (Q, K) rows of the sightings that are returned, and their distances.
    """
    import pyarrow as pa

    columns = [name for name in handle.schema.names if name != "embedding"]
    indices, distances = (
        np.full((len(query), count), -1, dtype=np.int64),
        np.full((len(query), count), np.inf, np.float32),
    )
    tables: list[pa.Table] = []
    start = 0
    for row, embedding in enumerate(query):
        where = which.sql(handle.schema, not_camera=None if left_out is None else left_out[row])
        asked = handle.search(np.asarray(embedding, dtype=np.float32), vector_column_name="embedding")
        asked = asked.distance_type(_lance_distance(distance)).minimum_nprobes(index.probes).maximum_nprobes(0)
        asked = asked if where is None else asked.where(where, prefilter=True)
        found = database.fetch(asked.select([*columns, "embedding", "_distance"]).limit(count))
        found = found.take(np.argsort(found.column("sighting").to_numpy()))
        if len(found):
            ranked = search(query[row : row + 1], embeddings_of(found), count, distance)
            width = ranked.indices.shape[1]
            indices[row, :width], distances[row, :width] = start + ranked.indices[0], ranked.distances[0]
        tables.append(found.select(columns))
        start += len(found)
    width = max(1, int((indices >= 0).sum(axis=1).max(initial=0)))
    sightings = Sightings(pa.concat_tables(tables))
    return RankedMatches(indices[:, :width], distances[:, :width]), sightings


def _numbers(ranked: RankedMatches, sightings: Sightings) -> IntArray:
    """Numbers of the sightings found for one query."""
    rows = ranked.indices[0]
    numbers: IntArray = sightings.table.column("sighting").to_numpy()[rows[rows >= 0]]
    return numbers


def _with_index(database: Database, facts: GalleryFacts, index: IndexFacts | None) -> GalleryFacts:
    if facts.index != index:
        facts = replace(facts, index=index)
        write_facts(database, facts)
    return facts


def _lance_distance(distance: str) -> Literal["l2", "cosine"]:
    return "l2" if distance == "euclidean" else "cosine"


def _draw_queries(embeddings: AnyArray, rng: np.random.Generator) -> AnyArray:
    """Sightings moved by a tenth of their spread, so that none is found at distance zero."""
    chosen = np.sort(rng.choice(len(embeddings), size=min(_QUERIES, len(embeddings)), replace=False))
    drawn = embeddings[chosen].astype(np.float32)
    moved: AnyArray = (drawn + 0.1 * drawn.std(axis=0) * rng.standard_normal(drawn.shape)).astype(np.float32)
    return moved


def _largest_camera(snapshot: Snapshot) -> list[SightingFilter]:
    """A filter for the camera that saw most; none where no camera is known."""
    import pyarrow.compute as pc

    counts = pc.value_counts(snapshot.sightings.table.column("camera").drop_null()).to_pylist()
    if not counts:
        return []
    return [SightingFilter(cameras=(max(counts, key=lambda entry: entry["counts"])["values"],))]


def _time(
    find: Callable[[AnyArray, SightingFilter], IntArray], queries: AnyArray, filters: Sequence[SightingFilter]
) -> tuple[list[list[IntArray]], float]:
    """What is found for each filter and query, and the slowest filter's median time in milliseconds."""
    found, medians = [], []
    for which in filters:
        find(queries[:1], which)
        times, answers = [], []
        for row in range(len(queries)):
            began = time.perf_counter()
            answers.append(find(queries[row : row + 1], which))
            times.append(1000 * (time.perf_counter() - began))
        found.append(answers)
        medians.append(float(np.median(times)))
    return found, max(medians)


def _worst_recall(truth: list[list[IntArray]], found: list[list[IntArray]]) -> float:
    """The lowest recall of any filter."""
    recalls = []
    for true_answers, answers in zip(truth, found, strict=True):
        hits = sum(len(np.intersect1d(one, two)) for one, two in zip(true_answers, answers, strict=True))
        recalls.append(hits / max(1, sum(map(len, true_answers))))
    return float(min(recalls))


def optimize_gallery(database: Database, facts: GalleryFacts) -> OptimizeReport:
    """Bring names up to date, choose an index, join small files and delete old versions. The caller holds the lock."""
    apply_decisions(database)
    facts, report = choose_index(database, facts)
    compact_tables(database)
    log_action(database, "optimize", {"sightings": report.sightings, "index_kept": report.index_kept})
    return report


def compact_tables(database: Database) -> None:
    """Join the small files of all tables, and delete their old versions. The caller holds the lock."""
    for name in (SIGHTINGS, FACTS, BLOCKED, DECISIONS):
        database.compact(name)
    with database.sole_writer("log"):
        compact_audit(database)
