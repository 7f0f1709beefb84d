from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from omnireid.errors import DataError, LabelsError
from omnireid.types import Crops, Dataset, Labels, Sample, Split


def split_of(count: int, **columns: list[object]) -> Split:
    return Split(tuple(Path(f"{i}.jpg") for i in range(count)), np.arange(count), np.arange(count) % 2, columns=columns)


def test_labels_are_copies_that_nobody_can_change() -> None:
    ids = np.array([3, 1, 2], dtype=np.int32)
    labels = Labels(ids)  # type: ignore[arg-type]
    ids[0] = 99
    assert labels.person_ids.tolist() == [3, 1, 2]
    assert labels.person_ids.dtype == np.int64
    assert labels.camera_ids is None
    with pytest.raises(ValueError, match="read-only"):
        labels.person_ids[0] = 5


@pytest.mark.parametrize(
    ("person_ids", "camera_ids", "message"),
    [
        (["a", "b"], None, r"person_ids must be integers.*np\.unique"),
        ([0.5, 1.0], None, "person_ids must be integers; got float64"),
        ([[1, 2]], None, r"one-dimensional.*\(1, 2\)"),
        ([1, 2, 3], [1, 2], "3 person ids but 2 camera ids"),
        ([[1], [2, 3]], None, "person_ids must be an array, or lists of one length; got a list"),
        (np.array([2**64 - 1], np.uint64), None, "holds 18446744073709551615, which is more than an id can be"),
    ],
)
def test_labels_refuse(person_ids: list[object], camera_ids: list[int] | None, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        Labels(person_ids, camera_ids)  # type: ignore[arg-type]


def test_labels_take_lists() -> None:
    labels = Labels([2, 1], [0, 1])  # type: ignore[arg-type]
    assert labels.person_ids.tolist() == [2, 1]


def test_crops_may_be_of_unknown_people_but_a_split_may_not() -> None:
    crops = Crops((Path("a.jpg"), Path("b.jpg")))
    assert (len(crops), crops.labels, crops.select([1]).paths) == (2, None, (Path("b.jpg"),))
    with pytest.raises(LabelsError, match="camera_ids but no person_ids"):
        Crops((Path("a.jpg"),), None, np.array([1]))
    with pytest.raises(LabelsError, match="A split needs person_ids"):
        Split((Path("a.jpg"),), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("paths", ["a.jpg", Path("a.jpg"), [None], None, 3])
def test_paths_that_are_no_list_of_paths(paths: object) -> None:
    with pytest.raises(DataError, match="paths must be a list of paths, one a crop; got a"):
        Crops(paths)  # type: ignore[arg-type]


def test_columns_that_are_no_columns() -> None:
    with pytest.raises(DataError, match="columns must be a dict from name to values; got a list"):
        Crops((Path("a.jpg"),), columns=[1])  # type: ignore[arg-type]
    for values in ("x", 3):
        with pytest.raises(DataError, match=r"columns\['note'\] must be a list of values, one a crop; got a"):
            Crops((Path("a.jpg"),), columns={"note": values})


def test_names_are_text_in_composed_form() -> None:
    assert split_of(1, person_name=["Zoe\u0308"]).columns["person_name"] == ("Zo\u00eb",)
    with pytest.raises(DataError, match="Row 2 of the column 'camera_name' must be a name; found None"):
        split_of(2, camera_name=["hall", None])


def test_split_is_aligned_and_selectable() -> None:
    split = split_of(4, colour=["red", "blue", "green", "black"])
    assert pickle.loads(pickle.dumps(split))[2] == split[2]  # spawned workers are sent splits
    assert split[2] == Sample(Path("2.jpg"), 2, 0)
    chosen = split.select([3, 0])
    assert [path.name for path in chosen.paths] == ["3.jpg", "0.jpg"]
    assert chosen.columns["colour"] == ("black", "red")
    assert split.select(split.person_ids > 1).person_ids.tolist() == [2, 3]
    assert len(split_of(0).select([])) == 0
    with pytest.raises(DataError, match=r"must be aligned.*'paths': 1, 'person_ids': 2"):
        Split((Path("a.jpg"),), np.array([1, 2]))
    with pytest.raises(DataError, match="'colour': 1"):
        split_of(2, colour=["red"])


def test_dataset_names_its_splits() -> None:
    empty = split_of(0)
    dataset = Dataset("mine", "folder", Path(), train=empty, query=split_of(1), gallery=split_of(2))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 0, "query": 1, "gallery": 2}
    with pytest.raises(DataError, match="No protocol 'other'"):
        Dataset("mine", "folder", Path(), empty, empty, empty, protocol="other")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="Split 3 of mine does not exist; it has 2"):
        Dataset("mine", "folder", Path(), empty, empty, empty, split_index=3, split_count=2)
