"""The index of a large gallery: chosen by what it finds and how long it takes, against the exact answer.

It is a sketch of every embedding, in memory (`sketches.py`). A search compares sketches, and then the whole embeddings
of the sightings whose sketches are nearest. Nothing of it is stored but two numbers and the measured recall, so an
erasure leaves nothing behind in it, and new sightings are in it at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omnireid.gallery.audit import compact_audit, log_action
from omnireid.gallery.database import Database
from omnireid.gallery.decision_writing import apply_decisions
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.schema import BLOCKED, DECISIONS, FACTS, SIGHTINGS, GalleryFacts, IndexFacts, write_facts
from omnireid.gallery.snapshot import Snapshot, rank_sightings, read_snapshot
from omnireid.retrieval.distance import check_distance
from omnireid.types import AnyArray, IntArray

LEAST_SIGHTINGS = 10_000
"""Below this no index is tried: comparing every sighting takes less than a millisecond. From here on both are
measured."""
WANTED_RECALL = 0.99
"""0.98 is promised; another sample of queries may give a percentage point less than the one that is measured."""
_QUERIES = 100
_RECALL_AT = 10
_SIZES = ((256, 250), (256, 1000), (512, 1000), (512, 4000), (1024, 4000))
"""Bits of a sketch and sightings on a shortlist that are tried, those that take the least time first."""


@dataclass(frozen=True)
class OptimizeReport:
    """What an `optimize` found and chose.

    Attributes:
        sightings: Number of sightings.
        exact_ms: Median time of an exact search in milliseconds; None where no index was tried.
        index_ms: Median time of a search through the index.
        recall: Share of the true nearest ten that the index finds, without a filter or with one, whichever is lower.
        bits: Number of bits in the sketch of an embedding.
        shortlist: Number of sightings whose whole embeddings are compared.
        index_kept: Whether searches use the index from now on.
        bytes_before: Size of the gallery's files before; None where they cannot be listed.
        bytes_after: Size of its files after.
    """

    sightings: int
    exact_ms: float | None = None
    index_ms: float | None = None
    recall: float | None = None
    bits: int | None = None
    shortlist: int | None = None
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
            lines.append(f"index: {found}; sketches of {self.bits} bits, {self.shortlist} sightings shortlisted")
            why = "it is used from now on" if self.index_kept else "it is not used: slower, or below the wanted recall"
            lines.append(f"{why} (recall wanted: {WANTED_RECALL})")
        if self.bytes_before is not None and self.bytes_after is not None:
            lines.append(f"size: {self.bytes_before / 1e6:,.1f} MB before, {self.bytes_after / 1e6:,.1f} MB after")
        return "\n".join(lines)


def choose_index(database: Database, facts: GalleryFacts, *, seed: int = 0) -> tuple[GalleryFacts, OptimizeReport]:
    """Measure searches through sketches where the gallery is large enough, and keep them where they are good enough.

    The queries are sightings of the gallery, moved a little; the sighting itself does not count as found. The first
    size is taken that gives the recall that is wanted, without a filter and with one for the camera that saw most.
    """
    snapshot = read_snapshot(database)
    report = OptimizeReport(len(snapshot))
    if len(snapshot) < LEAST_SIGHTINGS:
        return _with_index(database, facts, None), report
    distance = check_distance(facts.model.distance)
    drawn = _draw_sightings(snapshot, np.random.default_rng(seed))
    filters = [SightingFilter(), *_largest_camera(snapshot)]
    numbers = snapshot.sightings.table.column("sighting").to_numpy()

    def find_by(index: IndexFacts | None) -> _Find:
        def find(row: int, which: SightingFilter) -> IntArray:
            query = drawn.queries[row : row + 1]
            ranked = rank_sightings(snapshot, query, _RECALL_AT + 1, which, distance, None, index)
            rows = ranked.indices[0]
            others: IntArray = numbers[rows[(rows >= 0) & (rows != drawn.rows[row])][:_RECALL_AT]]
            return others

        return find

    truth, exact_ms = _time(find_by(None), len(drawn.rows), filters)
    for bits, shortlist in _SIZES:
        possible = IndexFacts(bits, shortlist, 0.0)
        found, index_ms = _time(find_by(possible), len(drawn.rows), filters)
        index = replace(possible, recall=_worst_recall(truth, found))
        if index.recall >= WANTED_RECALL:
            break
    kept = index.recall >= WANTED_RECALL and index_ms < exact_ms
    report = replace(
        report,
        exact_ms=exact_ms,
        index_ms=index_ms,
        recall=index.recall,
        bits=index.bits,
        shortlist=index.shortlist,
        index_kept=kept,
    )
    return _with_index(database, facts, index if kept else None), report


def _with_index(database: Database, facts: GalleryFacts, index: IndexFacts | None) -> GalleryFacts:
    if facts.index != index:
        facts = replace(facts, index=index)
        write_facts(database, facts)
    return facts


@dataclass(frozen=True, eq=False)
class _DrawnSightings:
    """Rows of a snapshot, and queries that are near them."""

    rows: IntArray
    queries: AnyArray


def _draw_sightings(snapshot: Snapshot, rng: np.random.Generator) -> _DrawnSightings:
    """Sightings, and their embeddings moved by a tenth of their spread, as queries are never quite what is stored."""
    count = len(snapshot)
    rows = np.sort(rng.choice(count, size=min(_QUERIES, count), replace=False))
    embeddings = snapshot.embeddings[rows].astype(np.float32)
    moved = embeddings + 0.1 * embeddings.std(axis=0) * rng.standard_normal(embeddings.shape)
    return _DrawnSightings(rows, moved.astype(np.float32))


def _largest_camera(snapshot: Snapshot) -> list[SightingFilter]:
    """A filter for the camera that saw most; none where no camera is known."""
    import pyarrow.compute as pc

    counts = pc.value_counts(snapshot.sightings.table.column("camera").drop_null()).to_pylist()
    if not counts:
        return []
    return [SightingFilter(cameras=(max(counts, key=lambda entry: entry["counts"])["values"],))]


_Find = Callable[[int, SightingFilter], IntArray]
"""Gives the numbers of the sightings that are found for one of the queries, with a filter."""


def _time(find: _Find, queries: int, filters: Sequence[SightingFilter]) -> tuple[list[list[IntArray]], float]:
    """What is found for each filter and query, and the slowest filter's median time in milliseconds."""
    found, medians = [], []
    for which in filters:
        find(0, which)
        times, answers = [], []
        for row in range(queries):
            began = time.perf_counter()
            answers.append(find(row, which))
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
