"""What is read from a manifest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tests.data.fabrication import touch, write_csv
from tests.data.manifests import HEADER, ROWS, changed, manifest

from omnireid.data.datasets import load_dataset
from omnireid.data.doctor import examine_dataset
from omnireid.data.manifest import list_manifest
from omnireid.errors import ManifestError


def test_a_csv_with_everything(tmp_path: Path) -> None:
    rows = [[*row, f"colour {index}"] for index, row in enumerate(ROWS)]
    file = manifest(tmp_path, rows, [*HEADER, "shirt"])
    dataset = load_dataset(file)
    assert (dataset.name, dataset.layout, dataset.root) == (tmp_path.name, "manifest", file)
    assert dataset.protocol == "single-query"
    assert dataset.notes == ()
    assert dataset.gallery.paths == (tmp_path / "c.jpg", tmp_path / "d.jpg")
    assert dataset.gallery.person_ids.tolist() == [2, 3]
    assert dataset.gallery.columns == {"shirt": ("colour 2", "colour 3")}
    assert load_dataset(tmp_path).gallery.paths == dataset.gallery.paths


def test_parquet_gives_the_same(tmp_path: Path) -> None:
    by_csv = load_dataset(manifest(tmp_path, ROWS))
    columns: dict[str, Sequence[object]] = dict(zip(HEADER, zip(*ROWS, strict=True), strict=True))
    columns |= {"person_id": (1.0, 2.0, 2.0, 3.0), "camera_id": (1, 1, 2, 2), "weight": (0.5, None, 1.5, 2.5)}
    file = tmp_path / "crops.parquet"
    pyarrow.parquet.write_table(pyarrow.table({name: list(values) for name, values in columns.items()}), file)
    dataset = load_dataset(file)
    for name, split in by_csv.splits.items():
        assert dataset.splits[name].paths == split.paths
        assert dataset.splits[name].person_ids.tolist() == split.person_ids.tolist()
    assert dataset.query.columns == {"weight": pyarrow.chunked_array([[None]], pyarrow.float64())}


def test_further_parquet_columns_of_any_type_are_kept(tmp_path: Path) -> None:
    touch(tmp_path, [row[0] for row in ROWS])
    columns = dict(zip(HEADER, map(pyarrow.array, zip(*ROWS, strict=True)), strict=True))
    columns |= {
        "time": pyarrow.array([1, 2, 3, None], pyarrow.timestamp("ns")),
        "length": pyarrow.array([1, 2, 3, 4], pyarrow.duration("ns")),
        "boxes": pyarrow.array([[{"x": 1}], [], None, [{"x": 4}]]),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "crops.parquet")
    kept = load_dataset(tmp_path / "crops.parquet").gallery.columns
    for name in ("time", "length", "boxes"):
        assert kept[name] == pyarrow.chunked_array([columns[name].take([2, 3])]), name


def test_names_are_numbered_in_sorted_order_and_kept(tmp_path: Path) -> None:
    rows = [
        (path, {"1": "zoe", "2": "Ann", "3": "bob"}[person], f"cam{camera}", split)
        for path, person, camera, split in ROWS
    ]
    dataset = load_dataset(manifest(tmp_path, rows))
    assert dataset.gallery.person_ids.tolist() == [0, 1]
    assert dataset.train.person_ids.tolist() == [2]
    assert dataset.gallery.columns == {"person_name": ("Ann", "bob"), "camera_name": ("cam2", "cam2")}


def test_without_cameras_the_protocol_says_so(tmp_path: Path) -> None:
    dataset = load_dataset(
        manifest(tmp_path, [(row[0], row[1], row[3]) for row in ROWS], ("path", "person_id", "split"))
    )
    assert dataset.protocol == "no-cameras"
    assert dataset.query.camera_ids is None


def test_without_a_split_one_is_made_whatever_the_order_of_rows(tmp_path: Path) -> None:
    rows = [(f"{person}_{camera}_{n}.png", person, camera) for person in range(9) for camera in (1, 2) for n in (1, 2)]
    one = load_dataset(manifest(tmp_path, rows, HEADER[:3]), seed=7)
    other = load_dataset(manifest(tmp_path, rows[::-1], HEADER[:3]), seed=7)
    assert {name: split.paths for name, split in one.splits.items()} == {n: s.paths for n, s in other.splits.items()}
    assert len(np.unique(one.train.person_ids)) == 4
    assert load_dataset(tmp_path, seed=8).train.paths != one.train.paths


def test_other_words_for_a_split_are_understood(tmp_path: Path) -> None:
    rows = [*changed(0, "split", "Val"), ("e.jpg", "4", "1", " PROBE "), ("f.jpg", "4", "2", "multi_query")]
    dataset = load_dataset(manifest(tmp_path, rows))
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 0,
        "validation": 1,
        "query": 2,
        "gallery": 2,
        "multi_query": 1,
    }


def test_junk_is_dropped_and_person_0_is_a_person(tmp_path: Path) -> None:
    rows = [(*row[:1], {"2": "0", "3": "-1"}.get(row[1], row[1]), *row[2:]) for row in ROWS]
    dataset = load_dataset(manifest(tmp_path, rows))
    assert dataset.query.person_ids.tolist() == [0]
    assert dataset.gallery.person_ids.tolist() == [0]
    assert dataset.notes == ("1 crop(s) of person -1 left out; -1 marks junk, a crop that counts neither way.",)


def test_a_manifest_may_be_there_to_learn_from_only(tmp_path: Path) -> None:
    dataset = load_dataset(manifest(tmp_path, [(*row[:3], "train") for row in ROWS]))
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (4, 0, 0)
    found = [finding for finding in examine_dataset(dataset, decode=False).findings if finding.severity == "error"]
    assert [finding.check for finding in found] == ["no-test-crops"]


def test_junk_among_names_is_junk(tmp_path: Path) -> None:
    rows = [(path, {"1": "-1", "2": "ann", "3": "bob"}[person], camera, split) for path, person, camera, split in ROWS]
    dataset = load_dataset(manifest(tmp_path, rows))
    assert len(dataset.train) == 0
    assert dataset.gallery.person_ids.tolist() == [0, 1]


def test_one_crop_may_be_query_and_gallery_where_its_camera_is_known(tmp_path: Path) -> None:
    assert len(load_dataset(manifest(tmp_path, [*ROWS, ("b.jpg", "2", "1", "gallery")])).gallery) == 3


def test_names_like_exponents_are_names(tmp_path: Path) -> None:
    rows = [
        (path, {"1": "1E5", "2": "2e10", "3": "bob"}[person], camera, split) for path, person, camera, split in ROWS
    ]
    assert load_dataset(manifest(tmp_path, rows)).gallery.columns["person_name"] == ("2e10", "bob")


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system does not tell the two forms apart there")
def test_one_name_in_two_normal_forms_is_one_person_and_one_path(tmp_path: Path) -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    touch(tmp_path, [f"{decomposed}.jpg", "b.jpg"])
    rows = [(f"{composed}.jpg", composed), ("b.jpg", decomposed)]
    crops = list_manifest(write_csv(tmp_path / "manifest.csv", HEADER[:2], rows))
    assert crops.paths == (tmp_path / f"{decomposed}.jpg", tmp_path / "b.jpg")
    assert crops.columns["person_name"] == (composed, composed)
    rows.append((f"{decomposed}.jpg", composed))
    with pytest.raises(ManifestError, match="Rows 1 and 3 of .* list the same crop"):
        load_dataset(write_csv(tmp_path / "manifest.csv", HEADER[:2], rows))


@pytest.mark.parametrize(
    "text",
    [
        "sep=,\npath,person_id,camera_id,split\n{rows}",
        "\ufeffSEP=;\r\npath;person_id;camera_id;split\r\n{semicolons}",
        '"sep=,"\npath,person_id,camera_id,split,,\n{commas}',
        "path,person_id,camera_id,split\n{commas}",
        "path,person_id,camera_id,split,\n{rows}",
    ],
)
def test_what_spreadsheets_add_to_a_csv_does_no_harm(tmp_path: Path, text: str) -> None:
    touch(tmp_path, [row[0] for row in ROWS])
    lines = "".join(",".join(row) + "\n" for row in ROWS)
    text = text.format(rows=lines, semicolons=lines.replace(",", ";"), commas=lines.replace("\n", ",,\n"))
    (tmp_path / "crops.csv").write_text(text, encoding="utf-8")
    dataset = load_dataset(tmp_path / "crops.csv")
    assert dataset.gallery.person_ids.tolist() == [2, 3]
    assert dataset.gallery.columns == {}


def test_backslashes_of_windows_are_read_everywhere(tmp_path: Path) -> None:
    touch(tmp_path, ["crops/a.jpg"])
    file = write_csv(tmp_path / "manifest.csv", HEADER[:2], [("crops\\a.jpg", 1)])
    assert [path.as_posix() for path in list_manifest(file).paths] == [(tmp_path / "crops" / "a.jpg").as_posix()]


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    file = manifest(tmp_path, ROWS)
    file.write_text("\ufeff" + file.read_text().replace("\n", "\n\n"), encoding="utf-8")
    assert len(load_dataset(file).gallery) == 2


def test_a_manifest_can_be_listed_as_it_is(tmp_path: Path) -> None:
    rows = [("b.jpg", "ann", "2", "train", "x"), ("a.jpg", "-1", "1", "train", "y")]
    crops = list_manifest(manifest(tmp_path, rows, [*HEADER, "more"]))
    assert crops.paths == (tmp_path / "b.jpg", tmp_path / "a.jpg")
    assert crops.person_ids is not None
    assert crops.camera_ids is not None
    assert (crops.person_ids.tolist(), crops.camera_ids.tolist()) == ([0, -1], [2, 1])
    assert crops.columns == {"more": ("x", "y"), "split": ("train", "train"), "person_name": ("ann", "-1")}


def test_a_list_of_paths_alone_has_no_labels(tmp_path: Path) -> None:
    crops = list_manifest(manifest(tmp_path, [("a.jpg",)], ["path"]))
    assert (crops.paths, crops.labels, crops.columns) == ((tmp_path / "a.jpg",), None, {})
    labels = list_manifest(manifest(tmp_path, [("a.jpg", "4")], ["path", "person_id"])).labels
    assert labels is not None
    assert (labels.person_ids.tolist(), labels.camera_ids) == ([4], None)
