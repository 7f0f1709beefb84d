"""A reader that stays open takes over what it has, and sees what one that reads everything sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from tests.gallery.tables import drawn_embeddings, filled, table_of

from omnireid.gallery import snapshot
from omnireid.gallery.database import Database
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions
from omnireid.gallery.schema import SIGHTINGS, IndexFacts
from omnireid.gallery.snapshot import Snapshot, rank_sightings, read_snapshot, refresh_snapshot
from omnireid.types import AnyArray

FILTERS = (
    SightingFilter(),
    SightingFilter(not_cameras=("1",)),
    SightingFilter(persons=("2",)),
    SightingFilter(where="sighting > 12 and camera != '0'"),
    SightingFilter(persons=("Anna",)),
)
INDEXES = (None, IndexFacts(64, 30, 1.0), IndexFacts(128, 12, 0.5))


@pytest.fixture
def embeddings_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each read of embeddings; -1 for a read of everything."""
    counts: list[int] = []
    batches, fetch = Database.batches, Database.fetch

    def counted_batches(self: Database, table: Any) -> Any:
        counts.append(-1)
        return batches(self, table)

    def counted_fetch(self: Database, query: Any) -> pa.Table:
        found = fetch(self, query)
        if "embedding" in found.column_names and "sighting" in found.column_names:
            counts.append(len(found))
        return found

    monkeypatch.setattr(Database, "batches", counted_batches)
    monkeypatch.setattr(Database, "fetch", counted_fetch)
    return counts


def rank_all(gallery: Gallery, seen: Snapshot, query: AnyArray) -> list[tuple[list[int], list[float]]]:
    """Numbers and distances of what is found, with each filter, exactly."""
    numbers = seen.sightings.table.column("sighting").to_numpy()
    answers = []
    for which in FILTERS:
        ranked = rank_sightings(seen, query, 6, which, "euclidean", None)
        rows = ranked.indices[ranked.indices >= 0]
        answers.append((numbers[rows].tolist(), ranked.distances.round(6).ravel().tolist()))
    return answers


def test_a_reader_sees_what_others_add_assign_and_remove(tmp_path: Path) -> None:
    writer = filled(tmp_path / "g")
    reader = Gallery.open(tmp_path / "g")
    added = table_of(3, seed=5)
    assert reader.search(added, 1)[2][0].distance > 0
    writer.add(added)
    found = reader.search(added, 1)
    assert [found[row][0].sighting.number for row in range(3)] == [31, 32, 33]
    writer.assign([32], "anna")
    assert reader.search(added, 1, SightingFilter(persons=("anna",)))[1][0].sighting.person == "anna"
    assert len(reader.search(added, 5, SightingFilter(persons=("anna",)))[0]) == 1
    writer.undo()
    assert reader.search(added, 1, SightingFilter(persons=("anna",)))[1] == ()
    writer.assign([31, 32, 33], "bert")  # all rows of a file, which LanceDB replaces by one with as many
    assert len(reader.search(added, 5, SightingFilter(persons=("bert",)))[0]) == 3
    writer.remove(ErasureOptions(where="sighting in (4, 32)"))
    numbers = {match.sighting.number for match in reader.search(added, 40)[1]}
    assert numbers == set(range(1, 34)) - {4, 32}


def test_only_new_embeddings_are_read(tmp_path: Path, embeddings_read: list[int]) -> None:
    writer = filled(tmp_path / "g")
    reader, query = Gallery.open(tmp_path / "g"), drawn_embeddings(1, seed=3)
    reader.search(query)
    assert embeddings_read == [-1]
    writer.add(table_of(4, seed=5))
    reader.search(query)
    writer.assign([2], "anna")
    reader.search(query)
    assert embeddings_read == [-1, 4, 1]  # the decision itself reads the one row that it writes
    writer.tidy()
    reader.search(query)
    writer.optimize()
    embeddings_read.clear()
    reader.search(query)
    writer.add(table_of(2, seed=6, bag=["red", "blue"]))
    reader.search(query, 3, SightingFilter(where="bag = 'red'"))
    assert embeddings_read == [-1]  # a column more: everything is read again


def test_what_was_only_appended_is_known_without_a_look_at_other_rows(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g")
    database = gallery.database
    first = database.table(SIGHTINGS).version
    for seed in (5, 6):
        gallery.add(table_of(3, seed=seed))
    assert database.only_appended(database.table(SIGHTINGS), first)
    gallery.assign([31, 32, 33], "bert")
    gallery.add(table_of(3, seed=7))
    assert not database.only_appended(database.table(SIGHTINGS), first)
    before = database.table(SIGHTINGS).version
    gallery.tidy()
    gallery.add(table_of(3, seed=8))
    assert not database.only_appended(database.table(SIGHTINGS), before)


def test_what_a_reader_had_before_stays_as_it_was(tmp_path: Path) -> None:
    """A search that is under way goes on in the version with which it began, while another one reads the next."""
    gallery = filled(tmp_path / "g")
    before = read_snapshot(gallery.database)
    query = drawn_embeddings(4, seed=3)
    expected, stored = rank_all(gallery, before, query), before.embeddings.copy()
    for seed in (5, 6):  # both go on from the same version, as after a read that failed
        gallery.add(table_of(40, seed=seed))
        after = refresh_snapshot(gallery.database, before)
        assert after is not None
        assert rank_all(gallery, after, query) == rank_all(gallery, read_snapshot(gallery.database), query)
    assert rank_all(gallery, before, query) == expected
    assert np.array_equal(before.embeddings, stored)


@pytest.mark.parametrize("seed", range(3))
def test_a_refreshed_snapshot_equals_one_that_was_read_anew(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_MOST_PARTS", 3)
    rng = np.random.default_rng(seed)
    gallery = filled(tmp_path / "g", 40)
    refreshed = read_snapshot(gallery.database)
    refreshes = 0
    for step in range(8):
        known = refreshed.sightings.table.column("sighting").to_pylist()
        some = [int(number) for number in rng.choice(known, size=4, replace=False)]
        action = rng.choice(["add", "add again", "assign", "undo", "remove", "tidy", "several"])
        if action in ("add", "several"):
            gallery.add(table_of(int(rng.integers(1, 30)), seed=100 + step))
        if action == "add again":  # the same embeddings by another camera: copies, in which ties show
            gallery.add(table_of(9, seed=0, people=[7] * 9, frame=[step] * 9))
        if action in ("assign", "several"):
            gallery.assign(some[:2], "Anna")
        if action == "undo" and any(not one.undone for one in gallery.decisions()):
            gallery.undo()
        if action in ("remove", "several") and len(known) > 30:
            gallery.remove(ErasureOptions(where=f"sighting in ({some[2]}, {some[3]})"))
        if action == "tidy":
            gallery.tidy()
        made = refresh_snapshot(gallery.database, refreshed)
        anew = read_snapshot(gallery.database)
        refreshes += made is not None
        refreshed = anew if made is None else made
        assert refreshed.sightings.table.equals(anew.sightings.table)
        assert np.array_equal(refreshed.embeddings, anew.embeddings)
        query = drawn_embeddings(3, seed=500 + step)
        assert rank_all(gallery, refreshed, query) == rank_all(gallery, anew, query)
        for index in INDEXES:  # prepares sketches too, which the next snapshot takes over
            found = rank_sightings(refreshed, query, 6, FILTERS[1], "euclidean", None, index)
            assert found.indices.shape == (3, 6)
    assert refreshes >= 6


def test_a_gallery_in_the_place_of_another_is_read_anew(tmp_path: Path) -> None:
    place = tmp_path / "g"
    filled(place, 12)
    reader, query = Gallery.open(place), table_of(12, seed=4)
    reader.search(query)
    place.rename(tmp_path / "old")
    Gallery.open(place).add(query)
    found = reader.search(query, 1)
    assert all(found[row][0].distance < 0.01 for row in range(12))


def test_a_rewritten_row_that_keeps_its_number_makes_a_reader_read_everything(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g", 12)
    before = read_snapshot(gallery.database)
    rows = gallery.database.rows(SIGHTINGS)
    rows = rows.replace_schema_metadata({b"weights_sha256": b"ab" * 32, b"reindex": b"1"})
    gallery.database.rewrite(SIGHTINGS, rows.to_reader())
    assert refresh_snapshot(gallery.database, before) is None


def test_what_lancedb_keeps_of_old_versions_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound, sessions, new_session = 40_000, [], lancedb.Session

    def session(**bounds: int) -> Any:
        sessions.append(new_session(**bounds))
        return sessions[-1]

    monkeypatch.setattr("omnireid.gallery.database._METADATA_CACHE_BYTES", bound)
    monkeypatch.setattr(lancedb, "Session", session)
    gallery, kept = filled(tmp_path / "g"), []
    for seed in range(1, 9):
        gallery.add(table_of(1, seed=seed))
        assert len(gallery.sightings()) == 30 + seed
        kept.append(sum(one.size_bytes for one in sessions))
    assert 0 < max(kept) <= 1.25 * bound
