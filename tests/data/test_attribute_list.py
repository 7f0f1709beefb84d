from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnireid import synthesize
from omnireid.data.attribute_sources import load_attributed_crops, read_attributes, select_split
from omnireid.errors import DataError, DataNotFoundError, ManifestError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"not read here")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_list_of_crops_has_its_people_and_splits(folder: Path) -> None:
    file = write(
        folder, "path,person_id,split,hat,lower=black\na.jpg,4,train,1,0\nb.jpg,5,gallery,0,1\nc.jpg,5,val,0,0\n"
    )
    read = read_attributes(file)
    assert read.names == ("hat", "lower=black")
    assert read.values.tolist() == [[True, False], [False, True], [False, False]]
    assert read.splits == ("train", "gallery", "validation")
    assert read.name == folder.name
    gallery = load_attributed_crops(read, "test")
    assert gallery.paths == (folder / "b.jpg",)
    assert gallery.person_ids is not None
    assert gallery.person_ids.tolist() == [5]
    test = select_split(read, "test")
    assert test.values.tolist() == [[False, True]]
    assert test.crops is not None
    assert test.crops.paths == gallery.paths
    with pytest.raises(DataError, match=r"no split 'query'. It has: train, gallery, validation"):
        select_split(read, "query")
    unsplit = read_attributes(write(folder, "path,hat\na.jpg,1\nb.jpg,0\n"))
    assert select_split(unsplit, "test") is unsplit


def test_a_parquet_file_may_hold_booleans(folder: Path) -> None:
    file = folder / "mine.parquet"
    pq.write_table(pa.table({"person_id": [3, 1], "hat": [True, False], "bag": np.array([0, 1])}), file)
    read = read_attributes(file)
    assert read.person_ids is not None
    assert read.person_ids.tolist() == [3, 1]
    assert read.values.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "path,hat\na.jpg,1\nb.jpg,2\n",
            ManifestError,
            "Row 2 of .*mine.csv, column hat: an attribute is 0 or 1; found '2'",
        ),
        ("path,hat\na.jpg,\n", ManifestError, "Row 1 of .*column hat: .*found ''"),
        ("name,hat\na,1\n", ManifestError, "neither a column 'path' nor 'person_id'; its columns are name, hat"),
        ("person_id\n1\n", ManifestError, "has no attribute"),
        ("person_id,hat\nAnna,1\n", ManifestError, "Row 1 of .*person_id: .*found 'Anna'"),
        ("person_id,hat\n1,1\n1,0\n", DataError, "two rows for 1"),
        ("path,hat\nabsent.jpg,1\n", ManifestError, "1 of the 1 crops listed in .* are not there: .*absent.jpg"),
        ("path,split,hat\na.jpg,somewhere,1\n", ManifestError, "Row 1 of .*column split: .*found 'somewhere'"),
        ("person_id,hat\n", DataNotFoundError, "has a header and no row"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder: Path, text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_attributes(write(folder, text))


def test_places_without_attributes_say_what_is_expected(folder: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"neither attributes.csv nor annotation.mat.*--attributes"):
        read_attributes(folder)
    with pytest.raises(DataNotFoundError, match="There is no .*gone"):
        read_attributes(folder / "gone")
    with pytest.raises(DataError, match=r"a.jpg is no file of attributes that is known here"):
        read_attributes(folder / "a.jpg")


def test_the_attributes_of_real_people_are_not_given_to_drawn_ones_of_the_same_number(tmp_path: Path) -> None:
    drawn = synthesize(tmp_path / "drawn", identities=4, cameras=2, per_camera=1, height=32, workers=1)
    own = read_attributes(drawn)
    assert len(load_attributed_crops(own, "train", drawn)) == 4
    with pytest.raises(DataError, match=r"people of market1501, but the crops are of synthetic, whose people have"):
        load_attributed_crops(replace(own, name="market1501"), "train", drawn)
