"""Manifests that are refused: the row, the column and the value are named."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tests.data.fabrication import touch, write_csv
from tests.data.manifests import HEADER, ROWS, changed, manifest

from omnireid.data.datasets import load_dataset
from omnireid.data.manifest import list_manifest
from omnireid.errors import DataNotFoundError, IncompleteDatasetError, ManifestError


def test_an_own_column_of_a_type_python_lacks_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg"])
    stamps = pyarrow.array([1], pyarrow.timestamp("ns"))
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg"], "person_id": stamps}), tmp_path / "crops.parquet")
    with pytest.raises(ManifestError, match="person_id"):
        load_dataset(tmp_path / "crops.parquet")


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


def test_lines_are_counted_from_the_declared_separator(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").write_text("sep=,\npath,person_id\na.jpg,1\nb.jpg,1,2\n")
    with pytest.raises(ManifestError, match="Line 4 of .* has 3 values"):
        load_dataset(tmp_path / "crops.csv")


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


def test_two_manifests_in_one_folder_are_refused(tmp_path: Path) -> None:
    manifest(tmp_path, ROWS)
    touch(tmp_path, ["manifest.parquet"])
    with pytest.raises(ManifestError, match="holds both manifest.csv and manifest.parquet"):
        load_dataset(tmp_path)


def test_the_layout_manifest_needs_a_manifest(tmp_path: Path) -> None:
    touch(tmp_path, ["a/1.jpg"])
    with pytest.raises(
        IncompleteDatasetError, match=r"Neither .* nor a folder in it is a manifest. Expected: manifest.csv"
    ):
        load_dataset(tmp_path, "manifest")


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="There is no manifest .*none.csv"):
        list_manifest(tmp_path / "none.csv")


def test_paths_that_no_file_can_have_are_missing(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "manifest.csv", ("path", "person_id"), [("x" * 300 + "/a.jpg", 1), ("a\0b/c.jpg", 1)])
    with pytest.raises(ManifestError, match=r"2 of the 2 crops listed in .* are not there"):
        load_dataset(file)
