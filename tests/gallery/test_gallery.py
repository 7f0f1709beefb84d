from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.gallery.tables import PROVENANCE, WIDTH, crops_of, drawn_embeddings, filled, mean_embedder, table_of

from omnireid import search
from omnireid.data.listing import list_crops
from omnireid.errors import (
    DataError,
    EmbeddingError,
    FilterError,
    GalleryError,
    GalleryModelError,
    ImageError,
    SettingError,
)
from omnireid.gallery.database import Database
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.natural_order import natural_order
from omnireid.gallery.schema import AUDIT, SIGHTINGS


def test_what_a_search_ranks_is_what_search_ranks(gallery: Gallery) -> None:
    query, stored = drawn_embeddings(7, seed=5), drawn_embeddings(30)
    found, expected = gallery.search(query, 12), search(query, stored, 12)
    assert np.array_equal(found.ranked.indices, expected.indices)
    assert np.array_equal(found.ranked.distances, expected.distances)
    assert found[0][0].sighting.number == expected.indices[0, 0] + 1
    assert found[0][0].sighting.person == str(expected.indices[0, 0] % 5)


def test_a_filter_ranks_what_is_left(gallery: Gallery) -> None:
    query, stored = drawn_embeddings(4, seed=6), drawn_embeddings(30)
    for which, rows in {
        SightingFilter(cameras=("0", "2")): [row for row in range(30) if row % 3 != 1],
        SightingFilter(not_cameras=("0",)): [row for row in range(30) if row % 3],
        SightingFilter(persons=("4",), where="sighting > 5"): [row for row in range(5, 30) if row % 5 == 4],
    }.items():
        expected = search(query, stored[rows], 30)
        found = gallery.search(query, 30, which)
        kept = found.ranked.indices[:, : len(rows)]
        assert np.array_equal(kept, np.array(rows)[expected.indices])
        assert (found.ranked.indices[:, len(rows) :] == -1).all()
        assert len(gallery.sightings(which)) == len(rows)
    assert gallery.search(query, 3, SightingFilter(cameras=("9",)))[0] == ()


def test_each_query_leaves_out_its_own_camera(gallery: Gallery) -> None:
    query = table_of(6, seed=7)
    found = gallery.search(query, 30, not_same_camera=True)
    for row in range(6):
        assert {match.sighting.camera for match in found[row]} == {"0", "1", "2"} - {str(row % 3)}
        alone = gallery.search(query.embeddings[row : row + 1], 30, SightingFilter(not_cameras=(str(row % 3),)))
        assert [match.sighting for match in alone[0]] == [match.sighting for match in found[row]]
    with pytest.raises(SettingError, match="needs the camera of every query"):
        gallery.search(query.embeddings, not_same_camera=True)


def test_ties_go_to_the_sighting_that_was_added_first(tmp_path: Path) -> None:
    table = table_of(6)
    level = replace(table, embeddings=np.ones((6, WIDTH), dtype=np.float32))
    gallery = Gallery.open(tmp_path / "g")
    gallery.add(level)
    found = gallery.search(np.zeros((1, WIDTH), dtype=np.float32), 6)
    # The same embedding by the same camera is the same crop: three cameras, three sightings.
    assert [match.sighting.number for match in found[0]] == [1, 2, 3]


def test_adding_again_adds_nothing_and_says_so(gallery: Gallery) -> None:
    summary = gallery.add(table_of(40))
    assert (summary.added, summary.found) == (10, 30)
    assert gallery.info().sightings == 40
    again = gallery.add(table_of(40))
    assert (again.added, again.found) == (0, 40)


def test_the_same_crop_by_two_cameras_is_two_sightings(tmp_path: Path, crop_folder: Path) -> None:
    path = sorted(crop_folder.iterdir())[0]
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    assert gallery.add(crops_of([path, path], [1, 1], [1, 2])).added == 2
    assert gallery.add(crops_of([path, path], [1, 1], [1, 1])).found == 2
    copy = tmp_path / "copy.jpg"
    shutil.copy(path, copy)
    assert gallery.add(crops_of([copy], [1], [2])).found == 1
    assert gallery.add(crops_of([copy], [1], [2], time=["2026-03-01T10:00:00+01:00"])).added == 1
    assert gallery.add(crops_of([copy], [1], [2], time=["2026-03-01T09:00:00Z"])).found == 1
    assert [s.time.isoformat() for s in gallery.sightings() if s.time is not None] == ["2026-03-01T09:00:00+00:00"]


def test_crops_are_embedded_and_described(tmp_path: Path, crop_folder: Path) -> None:
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    crops = list_crops([str(crop_folder)])
    assert gallery.add(crops, progress=False).added == 12
    first = gallery.sightings()[0]
    assert (first.path, first.person, first.camera, first.time) == (str(crops.paths[0]), "1", "1", None)
    found = gallery.search(crops.paths[:3], 1)
    assert [found[row][0].sighting.number for row in range(3)] == [1, 2, 3]
    assert [person.json()["sightings"] for person in gallery.people()] == [4, 4, 4]
    assert json.loads(json.dumps(gallery.info().json()))["cameras"] == {"1": 6, "2": 6}
    assert "12, of which 0 of nobody named" in gallery.info().table()


def test_nobody_is_junk_or_a_distractor(tmp_path: Path) -> None:
    paths = (Path("-1_c1s1_1_1.jpg"), Path("0000_c1s1_1_2.jpg"), Path("other.jpg"), Path("0007_c1s1_1_3.jpg"))
    table = replace(table_of(4), crops=crops_of(paths, [-1, 0, 0, 7], [1, 1, 1, 1]))
    gallery = Gallery.open(tmp_path / "g")
    gallery.add(table)
    assert [sighting.person for sighting in gallery.sightings()] == [None, None, "0", "7"]


def test_an_empty_name_is_nobody_and_no_camera(tmp_path: Path) -> None:
    named = {"person_name": ["", "anna", "-1"], "camera_name": ["", "gate", "3"]}
    gallery = Gallery.open(tmp_path / "g")
    gallery.add(replace(table_of(3), crops=crops_of(["a", "b", "c"], [-1, 0, -1], [0, 1, 2], **named)))
    assert [sighting.person for sighting in gallery.sightings()] == [None, "anna", None]
    assert [sighting.camera for sighting in gallery.sightings()] == [None, "gate", "3"]
    assert [person.name for person in gallery.people()] == ["anna"]


def test_names_with_numbers_come_in_the_order_that_people_expect(tmp_path: Path) -> None:
    names = ["10", "anna", "2", "cam 10", "cam 9", "02", "9" * 5000, "", "2b"]
    ordered = ["", "02", "2", "2b", "10", "9" * 5000, "anna", "cam 9", "cam 10"]
    assert sorted(names, key=natural_order) == ordered
    gallery = Gallery.open(tmp_path / "g")
    gallery.add(replace(table_of(3), crops=crops_of(["a", "b", "c"], [10, 9, 100], [10, 2, 1])))
    assert [person.name for person in gallery.people()] == ["9", "10", "100"]
    assert list(gallery.info().cameras) == ["1", "2", "10"]


def test_columns_of_ones_own_come_and_stay(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g", 4, bag=["red", "blue", "red", ""], age=[1, 2, 3, 4])
    gallery.add(table_of(2, seed=1, hat=[True, False]))
    assert [s.columns["hat"] for s in gallery.sightings()] == [None, None, None, None, True, False]
    assert [s.number for s in gallery.sightings(SightingFilter(where="bag = 'red' and age > 1"))] == [3]
    assert [s.number for s in gallery.sightings(SightingFilter(where="bag is none"))] == [5, 6]
    with pytest.raises(DataError, match="The column 'age' holds int64 in the gallery and string"):
        gallery.add(table_of(1, seed=2, age=["old"]))
    for columns, message in (
        ({"embedding": [1]}, "taken by the gallery"),
        ({"bag colour": [1]}, "letters, digits and underscores"),
        ({"bags": [["red"]]}, "cannot store the column 'bags' of type list"),
        ({"time": ["2026-03-01 10:00:00"]}, "states no zone"),
        ({"time": ["noon"]}, "'noon' is no time"),
        ({"box_xyxy": ["3 4 2 9"]}, "the box '3 4 2 9' is none"),
    ):
        with pytest.raises(DataError) as refused:
            gallery.add(table_of(1, seed=3, **columns))
        assert message in str(refused.value)
    seen = table_of(1, seed=3, time=["2026-07-01 10:00"], box_xyxy=["10 20 30 40"], track=[7])
    gallery.add(seen, timezone="Europe/Berlin")
    newest = gallery.sightings()[6]
    assert newest.time is not None
    assert (newest.time.isoformat(), newest.box_xyxy, newest.track) == (
        "2026-07-01T08:00:00+00:00",
        (10, 20, 30, 40),
        "7",
    )
    with pytest.raises(SettingError, match="no zone 'Mars'"):
        gallery.add(table_of(1, seed=4), timezone="Mars")


def test_times_filter_from_since_to_before_until(tmp_path: Path) -> None:
    hours = [f"2026-03-01T{hour:02d}:00:00+00:00" for hour in range(5)] + [""]
    gallery = filled(tmp_path / "g", 6, time=hours)
    which = SightingFilter(since="2026-03-01T02:00:00+01:00", until="2026-03-01T03:00:00Z")
    assert [sighting.number for sighting in gallery.sightings(which)] == [2, 3]
    with pytest.raises(FilterError, match="since: the time 2026-03-01T02:00:00 states no zone"):
        SightingFilter(since="2026-03-01T02:00:00")
    with pytest.raises(FilterError, match="cameras must be a list"):
        SightingFilter(cameras="1")  # type: ignore[arg-type]


def test_a_gallery_belongs_to_one_model(gallery: Gallery) -> None:
    query = table_of(2, seed=3)
    for provenance, message in (
        (replace(PROVENANCE, weights_sha256="ef" * 32), "not to osnet_x0_25 with weights efefefefefef"),
        (replace(PROVENANCE, preprocessing={"height": 128}), "preprocessing"),
        (replace(PROVENANCE, distance="cosine"), "distance euclidean, and these embeddings with cosine"),
    ):
        other = replace(query, provenance=provenance)
        for refused in (gallery.search, gallery.add):
            with pytest.raises(GalleryModelError, match=message):
                refused(other)
    with pytest.raises(GalleryModelError, match="width 8"):
        gallery.search(np.ones((1, 9), dtype=np.float32))
    with pytest.raises(GalleryModelError, match="not to means"):
        Gallery.open(gallery.database.uri, mean_embedder())


def test_values_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    table = table_of(3)
    large = replace(table, embeddings=table.embeddings + np.float32(70000))
    with pytest.raises(EmbeddingError, match="which float16 cannot hold"):
        Gallery.open(tmp_path / "g").add(large)
    exact = Gallery.open(tmp_path / "h", float_type="float32")
    exact.add(large)
    assert exact.search(large.embeddings, 1).ranked.distances.max() == 0
    with pytest.raises(SettingError, match="float_type must be float16 or float32"):
        Gallery.open(tmp_path / "i", float_type="float8").add(table)  # type: ignore[arg-type]


def test_queries_without_a_person_are_refused(tmp_path: Path, crop_folder: Path) -> None:
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    gallery.add(list_crops([str(crop_folder)]))
    dot, empty = tmp_path / "dot.png", tmp_path / "empty.jpg"
    Image.new("RGB", (1, 1)).save(dot)
    empty.touch()
    with pytest.raises(ImageError, match="1 × 1 pixels: too small to show a person"):
        gallery.search([dot])
    with pytest.raises(ImageError, match="is empty"):
        gallery.search([empty])
    with pytest.raises(SettingError, match="no query"):
        gallery.search([])
    with pytest.raises(SettingError, match="needs the model"):
        Gallery.open(gallery.database.uri).search([dot])
    with pytest.raises(SettingError, match="count must be"):
        gallery.search(np.ones((1, 3), dtype=np.float32), 0)


def test_unreadable_crops_stop_an_add_or_are_listed(tmp_path: Path, crop_folder: Path) -> None:
    gone, bad = tmp_path / "gone.jpg", tmp_path / "bad.jpg"
    bad.write_text("no image")
    crops = [*sorted(crop_folder.iterdir()), gone, bad]
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    with pytest.raises(ImageError, match=r"gone\.jpg is not there"):
        gallery.add(crops)
    summary = gallery.add(crops, skip_unreadable=True)
    assert summary.added == 12
    assert [Path(path).name for path, _ in summary.left_out] == ["gone.jpg", "bad.jpg"]


def in_fork(gallery: Gallery, answer: object) -> None:
    try:
        gallery.people()
    except GalleryError as error:
        answer.send(str(error))  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore")  # Python and LanceDB warn about the fork, each in its own words
def test_a_fork_is_told_to_open_its_own(gallery: Gallery) -> None:
    forked = multiprocessing.get_context("fork")
    here, there = forked.Pipe()
    process = forked.Process(target=in_fork, args=(gallery, there))
    process.start()
    assert here.poll(30)
    assert "was opened before this process was forked" in here.recv()
    process.join()


def test_a_gallery_travels_by_pickle(gallery: Gallery) -> None:
    there = pickle.loads(pickle.dumps(gallery))
    assert there.info() == gallery.info()


def test_a_reader_sees_what_another_writer_added(gallery: Gallery) -> None:
    reader = Gallery.open(gallery.database.uri)
    assert len(reader.sightings()) == 30
    gallery.add(table_of(3, seed=9))
    assert [s.number for s in reader.sightings()][-3:] == [31, 32, 33]
    assert reader.search(table_of(3, seed=9), 1)[2][0].sighting.number == 33


def test_places_that_are_no_gallery_are_refused(tmp_path: Path, gallery: Gallery) -> None:
    with pytest.raises(GalleryError, match=r"no gallery at .*gone yet"):
        Gallery.open(tmp_path / "gone").people()
    assert not (tmp_path / "gone").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(GalleryError, match=r"a folder without a gallery: it holds a\.jpg"):
        Gallery.open(tmp_path / "photos")
    (tmp_path / "file").touch()
    with pytest.raises(GalleryError, match="is a file"):
        Gallery.open(tmp_path / "file")
    Database(str(tmp_path / "other")).create("recipes", gallery.sightings().table.schema)
    with pytest.raises(GalleryError, match=r"no gallery: it has the tables \['recipes'\]"):
        Gallery.open(tmp_path / "other")
    for value in (3, b"name", ""):
        with pytest.raises(SettingError, match="uri must be"):
            Gallery.open(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("facts.lance", "its table 'facts' is missing"),
        ("sightings.lance", "its table 'sightings' is missing"),
        ("audit.lance", "its table 'audit' is missing"),
        ("sightings.lance/data", "damaged or incomplete"),
        ("sightings.lance/_versions", "damaged or incomplete"),
    ],
)
def test_a_half_deleted_gallery_is_refused(gallery: Gallery, removed: str, message: str) -> None:
    shutil.rmtree(Path(gallery.database.uri) / removed)
    with pytest.raises(GalleryError, match=message):
        Gallery.open(gallery.database.uri).search(drawn_embeddings(1))


def test_a_gallery_of_a_newer_version_is_refused(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnireid.gallery.schema.FORMAT_VERSION", 0)
    with pytest.raises(GalleryError, match=r"made by a newer omnireid \(format 1"):
        Gallery.open(gallery.database.uri)


def test_what_is_acknowledged_was_flushed(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[Path] = set()

    def flush(path: str) -> bool:
        flushed.add(Path(path))
        return True

    monkeypatch.setattr("omnireid.gallery.database._flush", flush)
    folder = Path(gallery.database.uri) / "sightings.lance"
    before = {path for path in folder.rglob("*") if path.is_file()}
    gallery.add(table_of(3, seed=9))
    written = {path for path in folder.rglob("*") if path.is_file()} - before
    assert len(written) >= 2
    assert written | {folder / "data", folder / "_versions"} <= flushed


def test_a_check_finds_what_is_wrong(gallery: Gallery) -> None:
    gallery.optimize()  # which moves the log to its table
    assert gallery.check().problems == ()
    rows = gallery.database.rows(SIGHTINGS)
    gallery.database.append(SIGHTINGS, rows.slice(0, 2))
    assert gallery.check().problems == (
        "2 sightings have the number of another one.",
        "2 sightings have the key of another one.",
    )
    shutil.rmtree(Path(gallery.database.uri) / f"{AUDIT}.lance" / "data")
    assert "damaged or incomplete" in gallery.check().problems[0]
