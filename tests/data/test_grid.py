from __future__ import annotations

from pathlib import Path

import pytest
from tests.data import fabrication

from omnireid.data.datasets import load_dataset, load_splits
from omnireid.errors import DataError, IncompleteDatasetError

TRAIN_PEOPLE = [(1, 4)] + [(2, 3)] * 9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fabrication.grid(tmp_path / "grid" / "underground_reid", TRAIN_PEOPLE)


def test_training_people_give_both_crops_and_distractors_stay_in_the_gallery(root: Path) -> None:
    dataset = load_dataset(root.parent.parent)
    assert (dataset.name, dataset.root, dataset.split_count) == ("grid", root, 10)
    assert sorted(dataset.train.person_ids.tolist()) == [1, 1, 4, 4]
    assert dataset.query.person_ids.tolist() == [2, 3]
    assert dataset.query.camera_ids is not None
    assert dataset.query.camera_ids.tolist() == [2, 3]
    assert dataset.gallery.person_ids.tolist() == [0, 0, 2, 3]


def test_each_split_has_its_own_training_people(root: Path) -> None:
    assert load_dataset(root, split=9).query.person_ids.tolist() == [1, 4]
    splits = load_splits(root)
    assert [split.split_index for split in splits] == list(range(10))
    assert [split.query.person_ids.tolist() for split in splits] == [[2, 3], *[[1, 4]] * 9]


def test_a_missing_split_file_is_named(root: Path) -> None:
    (root / "features_and_partitions.mat").unlink()
    with pytest.raises(IncompleteDatasetError, match=r"features_and_partitions.mat is missing"):
        load_dataset(root)


def test_a_missing_gallery_is_named(root: Path) -> None:
    (root / "gallery").rename(root / "elsewhere")
    with pytest.raises(IncompleteDatasetError, match=r"not a complete grid: gallery/ is missing"):
        load_dataset(root)


def test_a_strange_name_is_named(root: Path) -> None:
    fabrication.touch(root, ["probe/holiday.jpeg"])
    with pytest.raises(DataError, match=r"1 image file\(s\) in .*probe are not named like .*: holiday.jpeg"):
        load_dataset(root)


def test_training_people_without_a_crop_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Split 0 .* trains on people without a crop in probe/: 77"):
        load_dataset(fabrication.grid(tmp_path, [(1, 77)] * 10))


def test_a_file_of_another_shape_is_refused(root: Path) -> None:
    from scipy.io import savemat

    savemat(root / "features_and_partitions.mat", {"trainIdxAll": [1, 2, 3]})
    with pytest.raises(DataError, match="holds no split 1 as GRID's does"):
        load_dataset(root, split=1)


def test_own_probe_and_gallery_are_no_grid(tmp_path: Path) -> None:
    fabrication.touch(tmp_path, ["probe/ann/1/a.jpg", "gallery/ann/2/b.jpg", "gallery/bob/1/c.jpg"])
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "folder"
    assert list(dataset.query.columns["person_name"]) == ["ann"]
    assert list(dataset.gallery.columns["person_name"]) == ["ann", "bob"]


def test_a_number_too_long_for_a_person_is_named(root: Path) -> None:
    fabrication.touch(root, [f"probe/{2**63}_1_25004_107_32_106_221.jpeg"])
    with pytest.raises(DataError, match=r"are not named like .*: 9223372036854775808_1_25004"):
        load_dataset(root)
