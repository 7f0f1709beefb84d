from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tests.data.fabrication import touch, write_csv

from omnireid.data.datasets import load_dataset
from omnireid.data.doctor import examine_dataset
from omnireid.data.manifest import list_manifest
from omnireid.errors import DataNotFoundError, ManifestError

HEADER = ("path", "person_id", "camera_id", "split")
ROWS = (
    ("a.jpg", "1", "1", "train"),
    ("b.jpg", "2", "1", "query"),
    ("c.jpg", "2", "2", "gallery"),
    ("d.jpg", "3", "2", "gallery"),
)


def manifest(folder: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER) -> Path:
    touch(folder, [str(row[0]) for row in rows])
    return write_csv(folder / "manifest.csv", header, rows)


def changed(row: int, column: str, value: object) -> list[list[object]]:
    rows: list[list[object]] = [list(values) for values in ROWS]
    rows[row][HEADER.index(column)] = value
    return rows


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


def test_an_own_column_of_a_type_python_lacks_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg"])
    stamps = pyarrow.array([1], pyarrow.timestamp("ns"))
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg"], "person_id": stamps}), tmp_path / "crops.parquet")
    with pytest.raises(ManifestError, match="person_id"):
        load_dataset(tmp_path / "crops.parquet")


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


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            changed(1, "person_id", ""),
            "Row 2 of .*, column person_id: there must be a whole number or a name, found ''",
        ),
        (changed(1, "person_id", "NaN"), "Row 2 of .*, column person_id: .*, found 'NaN'"),
        (changed(1, "person_id", "1.5"), "Row 2 of .*, column person_id: .*, found '1.5'"),
        (changed(1, "person_id", "-5"), "Row 2 of .*, column person_id: an id is not negative, found '-5'"),
        (changed(3, "camera_id", "-1"), "Row 4 of .*, column camera_id: an id is not negative, found '-1'"),
        (changed(3, "camera_id", " "), "column camera_id: .*, found ''.*leave out the whole column"),
        (changed(2, "path", ""), "Row 3 of .*, column path: there must be the path of a crop, found ''"),
        (changed(2, "split", "tset"), "Row 3 of .*, column split: there must be one of train, .*, found 'tset'"),
        (changed(2, "split", ""), "Row 3 of .*, column split: .*, found ''.*drop the column"),
        (changed(1, "split", "gallery"), "column split: no query. It names gallery, train"),
        (changed(1, "split", "test"), "column split: test stands beside query or gallery"),
        ([*ROWS, ROWS[3]], "Rows 4 and 5 of .* list the same crop .*d.jpg"),
        ([*ROWS, ("a.jpg", "1", "1", "query")], "Rows 1 and 5 of .* list the same crop .*a.jpg"),
        ([*ROWS, ("b.jpg", "9", "1", "gallery")], "Rows 2 and 5 of .* list the same crop .*b.jpg"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, rows: list[Sequence[object]], problem: str) -> None:
    touch(tmp_path, [str(row[0]) for row in rows if row[0]])
    with pytest.raises(ManifestError, match=problem):
        load_dataset(write_csv(tmp_path / "manifest.csv", HEADER, rows))


@pytest.mark.parametrize("value", ["N/A", "?"])
@pytest.mark.parametrize("column", ["person_id", "camera_id"])
def test_a_missing_id_is_missing_however_it_is_written(tmp_path: Path, column: str, value: str) -> None:
    with pytest.raises(ManifestError, match=rf"Row 3 of .*, column {column}: there must be .*Fill it in"):
        load_dataset(manifest(tmp_path, changed(2, column, value)))
    columns: dict[str, list[object]] = {
        name: list(values) for name, values in zip(HEADER, zip(*ROWS, strict=True), strict=True)
    }
    columns[column][2] = value
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "crops.parquet")
    with pytest.raises(ManifestError, match=rf"Row 3 of .*, column {column}: there must be .*Fill it in"):
        load_dataset(tmp_path / "crops.parquet")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("1.2E+05", "a spreadsheet wrote this number with an exponent"),
        ("1,23457e+11", "a spreadsheet wrote this number with an exponent"),
        ("18446744073709551615", "this is -1 stored as an unsigned number"),
        ("4294967295", "this is -1 stored as an unsigned number"),
    ],
)
def test_a_number_that_a_program_spoiled_is_named(tmp_path: Path, value: str, problem: str) -> None:
    with pytest.raises(ManifestError, match=f"Row 3 of .*, column person_id: {problem}.*, found '{re.escape(value)}'"):
        load_dataset(manifest(tmp_path, changed(2, "person_id", value)))


def test_numbers_in_parquet_that_lost_digits_or_their_sign_are_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "b.jpg"])
    file = tmp_path / "crops.parquet"
    for wrong, problem in (
        (np.array([1, 2**64 - 1], dtype=np.uint64), "-1 stored as an unsigned"),
        ([1.0, 2.0**60], "no more than 15 digits"),
    ):
        pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg", "b.jpg"], "person_id": wrong}), file)
        with pytest.raises(ManifestError, match=f"Row 2 of .*, column person_id: .*{problem}"):
            load_dataset(file)


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


def test_one_crop_under_two_paths_is_one_crop(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    rows = changed(2, "path", "a/../b.jpg")
    with pytest.raises(ManifestError, match=r"Rows 2 and 3 of .* list the same crop under two paths, .*b.jpg and .*a/"):
        load_dataset(manifest(tmp_path, rows))


@pytest.mark.skipif(os.name == "nt", reason="there are no named pipes in folders there")
def test_a_listed_pipe_is_not_read(tmp_path: Path) -> None:
    file = manifest(tmp_path, ROWS)
    (tmp_path / "c.jpg").unlink()
    os.mkfifo(tmp_path / "c.jpg")
    with pytest.raises(ManifestError, match=r"1 of the 4 crops .* not there: .*c.jpg is no regular file"):
        load_dataset(file)


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


def test_lines_are_counted_from_the_declared_separator(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").write_text("sep=,\npath,person_id\na.jpg,1\nb.jpg,1,2\n")
    with pytest.raises(ManifestError, match="Line 4 of .* has 3 values"):
        load_dataset(tmp_path / "crops.csv")


def test_backslashes_of_windows_are_read_everywhere(tmp_path: Path) -> None:
    touch(tmp_path, ["crops/a.jpg"])
    file = write_csv(tmp_path / "manifest.csv", HEADER[:2], [("crops\\a.jpg", 1)])
    assert [path.as_posix() for path in list_manifest(file).paths] == [(tmp_path / "crops" / "a.jpg").as_posix()]


def test_a_doubled_crop_without_cameras_is_refused(tmp_path: Path) -> None:
    rows = [("a.jpg", "1", "query"), ("a.jpg", "1", "gallery")]
    with pytest.raises(ManifestError, match="Rows 1 and 2"):
        load_dataset(manifest(tmp_path, rows, ("path", "person_id", "split")))


def test_nan_in_parquet_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "b.jpg"])
    file = tmp_path / "crops.parquet"
    for wrong in (float("nan"), None, 1.5):
        pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg", "b.jpg"], "person_id": [1.0, wrong]}), file)
        with pytest.raises(ManifestError, match=f"Row 2 of .*, column person_id: .*, found {wrong!r}"):
            load_dataset(file)
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg"], "person_id": [True]}), file)
    with pytest.raises(ManifestError, match="found True"):
        load_dataset(file)


def test_files_that_are_not_there_are_counted_and_named(tmp_path: Path) -> None:
    file = manifest(tmp_path, ROWS)
    (tmp_path / "c.jpg").unlink()
    (tmp_path / "d.jpg").unlink()
    with pytest.raises(
        ManifestError, match=r"2 of the 4 crops listed in .* are not there: .*c.jpg, .*d.jpg \(the first in row 3\)"
    ):
        load_dataset(file)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("file,person_id\na.jpg,1\n", "has no column 'path'; its columns are file, person_id"),
        ("path;person_id\na.jpg;1\n", "is separated by semicolons, not by commas"),
        ("path\tperson_id\na.jpg\t1\n", "is separated by tabs"),
        ("path,person_id,path\na.jpg,1,b.jpg\n", "has the column 'path' twice"),
        ("path,person_id\na.jpg,1\nb.jpg,1,2\n", "Line 3 of .* has 3 values, but the header names 2 columns"),
        ('path,person_id\n"a.jpg,1\n', "is not CSV"),
        ("path,person_id,person_name\na.jpg,1,x\n", "has a column 'person_name', kept for ids"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    touch(tmp_path, ["a.jpg", "b.jpg"])
    file = tmp_path / "crops.csv"
    file.write_text(text)
    with pytest.raises(ManifestError, match=problem):
        load_dataset(file)


def test_an_empty_manifest_is_not_found(tmp_path: Path) -> None:
    file = tmp_path / "crops.csv"
    file.write_text("\n")
    with pytest.raises(DataNotFoundError, match="crops.csv is empty"):
        load_dataset(file)
    file.write_text("path,person_id\n")
    with pytest.raises(DataNotFoundError, match="lists no crop"):
        load_dataset(file)


def test_text_that_is_not_utf8_and_parquet_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").write_bytes("path,person_id\nä.jpg,1".encode("latin-1"))
    with pytest.raises(ManifestError, match="is not UTF-8 text"):
        load_dataset(tmp_path / "crops.csv")
    (tmp_path / "crops.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(ManifestError, match="is not a readable Parquet file"):
        load_dataset(tmp_path / "crops.parquet")


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    file = manifest(tmp_path, ROWS)
    file.write_text("\ufeff" + file.read_text().replace("\n", "\n\n"), encoding="utf-8")
    assert len(load_dataset(file).gallery) == 2


def test_two_manifests_in_one_folder_are_refused(tmp_path: Path) -> None:
    manifest(tmp_path, ROWS)
    touch(tmp_path, ["manifest.parquet"])
    with pytest.raises(ManifestError, match="holds both manifest.csv and manifest.parquet"):
        load_dataset(tmp_path)


def test_the_layout_manifest_needs_a_manifest(tmp_path: Path) -> None:
    from omnireid.errors import IncompleteDatasetError

    touch(tmp_path, ["a/1.jpg"])
    with pytest.raises(
        IncompleteDatasetError, match=r"Neither .* nor a folder in it is a manifest. Expected: manifest.csv"
    ):
        load_dataset(tmp_path, "manifest")


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


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="There is no manifest .*none.csv"):
        list_manifest(tmp_path / "none.csv")


def test_paths_that_no_file_can_have_are_missing(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "manifest.csv", ("path", "person_id"), [("x" * 300 + "/a.jpg", 1), ("a\0b/c.jpg", 1)])
    with pytest.raises(ManifestError, match=r"2 of the 2 crops listed in .* are not there"):
        load_dataset(file)
