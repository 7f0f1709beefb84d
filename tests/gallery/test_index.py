from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.gallery.tables import drawn_embeddings, filled, table_of

from omnireid import search
from omnireid.gallery import index
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery that is large enough for an index, which is kept even where it is slower, as it is here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "LEAST_SIGHTINGS", 1000)
        patch.setattr(index, "_QUERIES", 5)
        timed = index._time

        def slow_if_exact(find: Any, *rest: Any) -> Any:
            found, median = timed(find, *rest)
            return found, 1e9 if find.__name__ == "exactly" else median

        patch.setattr(index, "_time", slow_if_exact)
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
    assert facts.recall >= index.TARGET_RECALL
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
    added = table_of(3, seed=9)
    indexed.add(added)
    assert indexed.search(added, 1)[2][0].sighting.number == 1503


def test_an_index_is_made_anew_when_sightings_are_erased(indexed: Gallery) -> None:
    """The index holds copies of embeddings, so it must not outlive them."""
    receipt = indexed.remove(ErasureOptions(person=("3",)))
    assert (receipt.sightings, receipt.verified) == (300, True)
    needle = drawn_embeddings(1500)[3].astype(np.float16).tobytes()
    files = [path for path in Path(indexed.database.uri).rglob("*") if path.is_file()]
    assert any("_indices" in str(path) for path in files)
    assert not [path for path in files if needle in path.read_bytes()]
    found = indexed.search(drawn_embeddings(5), 10)
    assert found.index_recall is not None
    assert all(match.sighting.person != "3" for row in range(5) for match in found[row])


def test_an_index_that_is_no_faster_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "LEAST_SIGHTINGS", 100)
    monkeypatch.setattr(index, "_QUERIES", 3)
    monkeypatch.setattr(index, "TARGET_RECALL", 1.1)
    gallery = filled(tmp_path / "g", 300)
    report = gallery.optimize()
    assert not report.index_kept
    assert "it is not used" in report.table()
    assert gallery.search(drawn_embeddings(1), 3).index_recall is None
    assert not (Path(gallery.database.uri) / "sightings.lance" / "_indices").is_dir() or not list(
        (Path(gallery.database.uri) / "sightings.lance" / "_indices").rglob("*.idx")
    )
