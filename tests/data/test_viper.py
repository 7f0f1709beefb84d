from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.data import fabrication

from omnireid.data.datasets import load_dataset
from omnireid.errors import DataError, IncompleteDatasetError, MissingDependencyError

PEOPLE = (0, 3, 45, 873)  # the real names have gaps too
PARTITIONS = [((1, 4), (3, 2))] + [((2, 3), (1, 4))] * 11


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fabrication.viper(tmp_path / "viper" / "VIPeR", PEOPLE, PARTITIONS)


def test_the_file_counts_crops_from_1_in_sorted_order(root: Path) -> None:
    dataset = load_dataset(root)
    assert sorted(set(dataset.train.person_ids.tolist())) == [0, 873]
    assert len(dataset.train) == 4
    assert dataset.query.person_ids.tolist() == [3, 45]
    assert dataset.split_count == 20


def test_odd_splits_are_the_reverse_direction(root: Path) -> None:
    forth, back = load_dataset(root, split=0), load_dataset(root, split=1)
    assert {path.parent.name for path in forth.query.paths} == {"cam_a"}
    assert {path.parent.name for path in forth.gallery.paths} == {"cam_b"}
    assert forth.query.paths == back.gallery.paths
    assert forth.gallery.paths == back.query.paths
    assert forth.train.paths == back.train.paths
    assert back.split_index == 1


def test_the_next_partition_begins_at_split_2(root: Path) -> None:
    assert sorted(set(load_dataset(root, split=2).train.person_ids.tolist())) == [3, 45]


def test_the_partitions_may_lie_one_folder_above(root: Path) -> None:
    (root / "partition_viper.mat").rename(root.parent / "partition_viper.mat")
    assert len(load_dataset(root.parent).query) == 2


def test_without_partitions_no_random_split_is_made(root: Path) -> None:
    (root / "partition_viper.mat").unlink()
    with pytest.raises(IncompleteDatasetError, match=r"partition_viper.mat is missing.*never on fresh random ones"):
        load_dataset(root)


def test_a_person_in_one_camera_only_is_named(root: Path) -> None:
    (root / "cam_b" / "873_0.bmp").unlink()
    with pytest.raises(IncompleteDatasetError, match=r"1 person\(s\) are in only one of cam_a/ and cam_b/: 873"):
        load_dataset(root)


@pytest.mark.parametrize("name", ["x_45.bmp", "003_180.bmp"])
def test_a_strange_or_second_crop_is_named(root: Path, name: str) -> None:
    fabrication.touch(root, [f"cam_a/{name}"])
    with pytest.raises(DataError, match=r"(x|003)_\d+.bmp is not the one crop of a person"):
        load_dataset(root)


def test_partitions_over_other_people_are_refused(root: Path) -> None:
    fabrication.touch(root, ["cam_a/100_0.bmp", "cam_b/100_0.bmp"])
    with pytest.raises(DataError, match="Partition 0 of .* is over 4 people, but .* has 5"):
        load_dataset(root)


def test_a_file_with_too_few_partitions_is_refused(tmp_path: Path) -> None:
    root = fabrication.viper(tmp_path, PEOPLE, PARTITIONS[:2])
    with pytest.raises(DataError, match="holds no partition 5"):
        load_dataset(root, split=10)


def test_a_split_out_of_range_is_refused(root: Path) -> None:
    for split in (-1, 20):
        with pytest.raises(DataError, match=rf"viper has 20 split\(s\), counted from 0; there is no split {split}"):
            load_dataset(root, split=split)


def test_another_matlab_file_is_refused(root: Path) -> None:
    from scipy.io import savemat

    savemat(root / "partition_viper.mat", {"other": 1})
    with pytest.raises(DataError, match="has no variable parti; it has other"):
        load_dataset(root)


def test_a_truncated_matlab_file_is_refused(root: Path) -> None:
    file = root / "partition_viper.mat"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"partition_viper.mat is not a readable MATLAB file"):
        load_dataset(root)


def test_without_scipy_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingDependencyError, match=r"needs scipy.*pip install 'omnireid\[matlab\]'"):
        load_dataset(root)


def test_own_people_seen_by_cam_a_and_cam_b_are_no_viper(tmp_path: Path) -> None:
    fabrication.touch(
        tmp_path,
        [f"{who}/{cam}/{n}.jpg" for who in ("alice", "bob", "eve") for cam in ("cam_a", "cam_b") for n in (1, 2)],
    )
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "folder"
    assert set(dataset.query.columns["camera_name"]) == {"cam_a", "cam_b"}


def test_with_its_partitions_the_images_may_be_of_another_format(root: Path) -> None:
    for path in [*root.glob("cam_*/*.bmp")]:
        path.rename(path.with_suffix(".png"))
    assert load_dataset(root).layout == "viper"
    (root / "partition_viper.mat").rename(root.parent / "partition_viper.mat")
    assert load_dataset(root).layout == "viper"


def test_a_number_too_long_for_a_person_is_named(root: Path) -> None:
    fabrication.touch(root, [f"cam_a/{2**63}_0.bmp"])
    with pytest.raises(DataError, match=r"9223372036854775808_0.bmp is not the one crop of a person"):
        load_dataset(root)


@pytest.mark.real
def test_the_real_partitions(shared: Path, tmp_path: Path) -> None:
    from scipy.io import loadmat

    people = sorted(np.random.default_rng(0).choice(874, 632, replace=False).tolist())
    root = fabrication.viper(tmp_path, people, PARTITIONS)
    partitions = shared / "data" / "splits" / "viper" / "partition_viper.mat"
    (root / "partition_viper.mat").write_bytes(partitions.read_bytes())
    stored = loadmat(partitions)["parti"][0]
    for split in range(20):
        dataset = load_dataset(root, split=split)
        assert dataset.notes == ()
        expected = sorted(people[i - 1] for i in stored[split // 2]["tstSet"].ravel().tolist())
        assert dataset.query.person_ids.tolist() == expected
        assert dataset.gallery.person_ids.tolist() == expected
        assert not set(expected) & set(dataset.train.person_ids.tolist())
