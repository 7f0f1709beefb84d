from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.gallery.tables import drawn_embeddings, filled, table_of

from omnireid import search
from omnireid.gallery import candidates, index
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions
from omnireid.gallery.schema import FACTS, IndexFacts, write_facts


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery that is large enough for an index, which is kept even where it is slower, as it is here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "LEAST_SIGHTINGS", 1000)
        patch.setattr(index, "_QUERIES", 20)
        patch.setattr(index, "_SIZES", ((64, 40), (512, 250)))
        patch.setattr(candidates, "_COMPARED_WHOLE", 20)
        timed = index._time
        medians: list[float] = []

        def slow_at_first(*what: Any) -> Any:
            """The exact search is timed first."""
            medians.append(1e9 if not medians else 1.0)
            return timed(*what)[0], medians[-1]

        patch.setattr(index, "_time", slow_at_first)
        place = tmp_path_factory.mktemp("indexed") / "g"
        assert filled(place, 1500).optimize().index_kept
    return place


@pytest.fixture
def indexed(made: Path, tmp_path: Path) -> Gallery:
    """A copy of the gallery, to change."""
    return Gallery.open(shutil.copytree(made, tmp_path / "copy"))


def test_a_small_gallery_needs_no_index(gallery: Gallery) -> None:
    report = gallery.optimize()
    assert not report.index_kept
    assert "below 10,000 sightings" in report.table()
    assert gallery.facts.index is None
    assert gallery.check().problems == ()


def test_an_index_is_measured_and_searched(indexed: Gallery) -> None:
    facts = indexed.facts.index
    assert facts is not None
    assert facts.recall >= index.WANTED_RECALL
    assert facts.bits == 512  # what was tried before finds too little
    stored, query = drawn_embeddings(1500), drawn_embeddings(20, seed=8)
    found, expected = indexed.search(query, 10), search(query, stored, 10)
    assert found.index_recall == facts.recall
    numbers = [{match.sighting.number - 1 for match in found[row]} for row in range(20)]
    hits = sum(len(numbers[row] & set(expected.indices[row].tolist())) for row in range(20))
    assert hits >= 0.9 * 200
    for row in range(20):
        for match in found[row]:
            exact = np.linalg.norm(stored[match.sighting.number - 1] - query[row])
            assert match.distance == pytest.approx(exact, abs=1e-5)
    assert "through an index" in indexed.info().table()
    assert json.loads(json.dumps(indexed.info().json()))["index_recall"] == facts.recall


def test_an_exact_search_passes_the_index_by(indexed: Gallery) -> None:
    query = drawn_embeddings(20, seed=8)
    found, expected = indexed.search(query, 10, exact=True), search(query, drawn_embeddings(1500), 10)
    assert np.array_equal(found.ranked.indices, expected.indices)
    assert np.array_equal(found.ranked.distances, expected.distances)
    assert found.index_recall is None


def test_filters_hold_in_an_index_however_few_fit(indexed: Gallery) -> None:
    found = indexed.search(table_of(3, seed=8), 50, SightingFilter(where="sighting < 30"), not_same_camera=True)
    for row in range(3):
        cameras = [match.sighting.camera for match in found[row]]
        assert len(cameras) == 29 - sum(1 for number in range(1, 30) if (number - 1) % 3 == row)
        assert str(row) not in cameras
    assert indexed.search(drawn_embeddings(2), 5, SightingFilter(cameras=("9",)))[1] == ()


def test_what_is_added_after_is_found_too(indexed: Gallery) -> None:
    added, others = table_of(3, seed=9), SightingFilter(not_cameras=("0",))
    for which in (SightingFilter(), others):
        indexed.search(added, 1, which)
    indexed.add(added)
    for which in (SightingFilter(), others):
        assert indexed.search(added, 1, which)[2][0].sighting.number == 1503
    assert indexed.search(added, 1, others)[0][0].sighting.number != 1501


def test_an_index_holds_nothing_of_what_was_erased(indexed: Gallery) -> None:
    reader, which = Gallery.open(indexed.database.uri), SightingFilter(not_cameras=("0",))
    assert {match.sighting.person for match in reader.search(drawn_embeddings(5), 300, which)[0]} > {"3"}
    receipt = indexed.remove(ErasureOptions(person=("3",)))
    assert (receipt.sightings, receipt.verified) == (300, True)
    needle = drawn_embeddings(1500)[3].astype(np.float16).tobytes()
    files = [path for path in Path(indexed.database.uri).rglob("*") if path.is_file()]
    assert not [path for path in files if needle in path.read_bytes()]
    for gallery in (indexed, reader):
        found = gallery.search(drawn_embeddings(5), 300, which)
        assert found.index_recall is not None
        assert all(match.sighting.person != "3" for row in range(5) for match in found[row])


def test_few_that_fit_a_filter_are_found_by_sketches_of_their_own(
    indexed: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_COMPARED_WHOLE", 20)
    which, query = SightingFilter(where="sighting <= 150"), drawn_embeddings(4, seed=8)
    found, expected = indexed.search(query, 10, which), search(query, drawn_embeddings(1500)[:150], 10)
    hits = [
        len({match.sighting.number - 1 for match in found[row]} & {*expected.indices[row].tolist()}) for row in range(4)
    ]
    assert sum(hits) >= 36


def test_an_index_of_an_earlier_kind_counts_as_none(gallery: Gallery) -> None:
    write_facts(gallery.database, replace(gallery.facts, index=IndexFacts(256, 20, 0.99)))
    record = json.loads(gallery.database.rows(FACTS).column("record").to_pylist()[-1])
    record["index"] = {"partitions": 256, "probes": 8, "recall": 0.99}
    gallery.database.append(FACTS, pa.table({"record": [json.dumps(record)]}))
    assert Gallery.open(gallery.database.uri).facts.index is None


def test_an_index_that_is_no_faster_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "LEAST_SIGHTINGS", 100)
    monkeypatch.setattr(index, "_QUERIES", 3)
    monkeypatch.setattr(index, "WANTED_RECALL", 1.1)
    gallery = filled(tmp_path / "g", 300)
    report = gallery.optimize()
    assert not report.index_kept
    assert "it is not used" in report.table()
    assert gallery.search(drawn_embeddings(1), 3).index_recall is None
