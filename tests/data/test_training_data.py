from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.data import fabrication

from omnireid.data.datasets import load_dataset
from omnireid.data.training_data import TrainingData, load_training_data
from omnireid.errors import DataError


@pytest.fixture
def market(tmp_path: Path) -> Path:
    return fabrication.market(tmp_path / "market")


@pytest.fixture
def msmt17(tmp_path: Path) -> Path:
    root = fabrication.msmt17(tmp_path / "msmt17")
    (root / "train" / "0001").mkdir()
    (root / "train" / "0001" / "0001_000_09_0303noon_0015_0.jpg").touch()
    with (root / "list_train.txt").open("a") as lines:
        lines.write("0001/0001_000_09_0303noon_0015_0.jpg 1\n")
    return root


def manifest(folder: Path, rows: Sequence[Sequence[object]]) -> Path:
    fabrication.touch(folder, [str(row[0]) for row in rows])
    header = ("path", "person_id", "camera_id", "split")[: len(rows[0])]
    return fabrication.write_csv(folder / "manifest.csv", header, rows)


def test_only_the_train_split_in_its_own_order_numbered_from_0(market: Path) -> None:
    data = load_training_data([market])
    assert data.paths == load_dataset(market).train.paths
    assert data.identities.tolist() == [0, 0, 1]
    assert data.cameras is not None
    assert data.cameras.tolist() == [0, 1, 0]
    assert (len(data), data.identity_count, data.names) == (3, 2, ("market1501",))
    assert data.titles == ("market",)  # other people in Market-1501's layout are not Market-1501
    assert data.licence == "research only; no distribution, no commercial use"


def test_the_test_identities_come_without_junk_and_distractors(market: Path) -> None:
    data = load_training_data([market], use_test_identities=True)
    people = [path.name[:4] for path in data.paths]
    assert people == ["0001", "0001", "0002", "0003", "0004", "0003", "0003", "0004"]
    assert data.identities.tolist() == [0, 0, 1, 2, 3, 2, 2, 3]


def test_sources_are_kept_apart(market: Path, msmt17: Path) -> None:
    data = load_training_data([market, msmt17])
    assert data.identities.tolist() == [0, 0, 1, 2, 2, 3]
    assert data.cameras is not None
    assert data.cameras.tolist() == [0, 1, 0, *(2 + _ranks([7, 12, 9]))]
    assert data.names == ("market1501", "msmt17")
    assert data.licence.count("; research only, under the agreement") == 1
    other = load_training_data([msmt17, market])
    assert other.identities.tolist() == [0, 0, 1, 2, 2, 3]


def _ranks(cameras: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    ranks: np.ndarray[tuple[int], np.dtype[np.int64]] = np.unique(cameras, return_inverse=True)[1]
    return ranks


def test_train_and_test_of_msmt17_are_numbered_apart_but_share_cameras(msmt17: Path) -> None:
    data = load_training_data([msmt17], use_test_identities=True)
    halves = [path.relative_to(msmt17).parts[0] for path in data.paths]
    assert halves == ["train"] * 4 + ["test"] * 4
    assert data.identities.tolist() == [0, 0, 1, 0, 2, 3, 2, 3]
    assert data.cameras is not None
    numbers = [int(path.name.split("_")[2]) for path in data.paths]
    assert data.cameras.tolist() == _ranks(numbers).tolist()


def test_one_person_in_both_halves_of_a_manifest_is_one_and_0_is_a_person(tmp_path: Path) -> None:
    rows = [("a.jpg", 0, 1, "train"), ("b.jpg", 5, 1, "train"), ("c.jpg", 5, 2, "query"), ("d.jpg", 0, 2, "gallery")]
    root = manifest(tmp_path / "own", [*rows, ("e.jpg", 7, 1, "validation"), ("f.jpg", -1, 1, "gallery")])
    assert load_training_data([root]).identities.tolist() == [0, 1]
    data = load_training_data([root], use_test_identities=True)
    assert [path.name for path in data.paths] == ["a.jpg", "b.jpg", "e.jpg", "c.jpg", "d.jpg"]
    assert data.identities.tolist() == [0, 1, 2, 1, 0]


def test_a_folder_with_market_names_has_distractors_and_one_with_names_has_none(tmp_path: Path) -> None:
    names = [f"{person:04d}_c{camera}_1.jpg" for person in range(5) for camera in (1, 2)]
    styled = fabrication.touch(tmp_path / "styled", names)
    assert load_training_data([styled], use_test_identities=True).identity_count == 4
    named = fabrication.touch(tmp_path / "named", [f"{who}/{crop}.jpg" for who in "01234" for crop in "ab"])
    assert load_training_data([named], use_test_identities=True).identity_count == 5


def test_a_crop_folder_without_a_split_trains_on_half_of_its_people_or_on_all(crop_folder: Path) -> None:
    with pytest.raises(DataError, match=r"Only one identity to learn from, in 4 crop.*--use-test-identities"):
        load_training_data([crop_folder])
    data = load_training_data([crop_folder], use_test_identities=True)
    assert (len(data), data.identity_count) == (12, 3)
    assert sorted(data.paths) == sorted(crop_folder.iterdir())


def test_cameras_are_unknown_where_one_source_knows_none(market: Path, tmp_path: Path) -> None:
    own = fabrication.touch(tmp_path / "own", [f"{who}/{crop}.jpg" for who in "abcd" for crop in "12"])
    data = load_training_data([market, own])
    assert data.cameras is None
    assert data.identity_count == 4


def test_no_root() -> None:
    with pytest.raises(DataError, match="Nothing to learn from: no data set was given"):
        load_training_data([])


def test_the_same_root_twice(market: Path) -> None:
    with pytest.raises(DataError, match=r"market was given twice: .* Give each data set once"):
        load_training_data([market, market.parent / ".." / market.parent.name / "market"])


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_the_same_data_under_two_paths(market: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(market, target_is_directory=True)
    with pytest.raises(DataError, match="link was given twice"):
        load_training_data([market, tmp_path / "link"])
    (tmp_path / "around").mkdir()
    for part in market.iterdir():
        (tmp_path / "around" / part.name).symlink_to(part)
    with pytest.raises(DataError, match=r"3 crop\(s\) belong to both .*market and .*around"):
        load_training_data([market, tmp_path / "around"])
    shutil.copytree(market, tmp_path / "copy")
    with pytest.raises(DataError, match=r"3 crop\(s\) are byte for byte both in .*market and in .*copy: one is a copy"):
        load_training_data([market, tmp_path / "copy"])


def test_crops_of_two_data_sets(market: Path) -> None:
    crops = market / "bounding_box_train"
    rows = [(f"bounding_box_train/{path.name}", int(path.name[3]), 1, "train") for path in sorted(crops.iterdir())]
    rows += [("query/0003_c1s1_000001_00.jpg", 3, 1, "query"), ("query/0004_c2s1_000002_00.JPG", 3, 2, "gallery")]
    header = ("path", "person_id", "camera_id", "split")
    own = fabrication.write_csv(market.parent / "own.csv", header, [(f"market/{name}", *ids) for name, *ids in rows])
    with pytest.raises(DataError, match=r"3 crop\(s\) belong to both .*market and .*own\.csv: .*Leave one"):
        load_training_data([market, own])


def test_no_training_crops(tmp_path: Path) -> None:
    root = manifest(
        tmp_path / "own", [("c.jpg", 5, 2, "query"), ("d.jpg", 5, 1, "gallery"), ("e.jpg", 6, 1, "gallery")]
    )
    with pytest.raises(DataError, match=r"own in .* has no crop to learn from: its train split is empty. Add train"):
        load_training_data([root])
    assert load_training_data([root], use_test_identities=True).identity_count == 2


def test_nothing_but_distractors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, market: Path) -> None:
    dataset = load_dataset(market)
    nobody = dataset.gallery.select(dataset.gallery.person_ids == 0)
    none = dataset.train.select(np.zeros(3, dtype=bool))
    empty = replace(dataset, train=none, query=none, gallery=nobody)
    monkeypatch.setattr("omnireid.data.training_data.load_dataset", lambda *_, **__: empty)
    with pytest.raises(DataError, match="market1501 in .* has no crop of a person to learn from"):
        load_training_data([tmp_path], use_test_identities=True)


def test_arrays_of_different_lengths() -> None:
    with pytest.raises(DataError, match=r"must be aligned, one entry a crop; the lengths are \{'paths': 1, 'ident"):
        TrainingData((Path("a"),), np.array([0, 1]), None, ("a",), "none")


def test_no_crops_have_no_identities() -> None:
    assert TrainingData((), np.empty(0, np.int64), None, (), "none").identity_count == 0


def test_the_fingerprint_of_a_moved_data_set_is_the_same(market: Path, tmp_path: Path) -> None:
    before = load_training_data([market]).fingerprint
    assert len(before) == 64
    assert load_training_data([market]).fingerprint == before
    moved = tmp_path / "elsewhere" / "deep" / "m"
    shutil.copytree(market, moved)
    assert load_training_data([moved]).fingerprint == before
    assert load_training_data([moved], use_test_identities=True).fingerprint != before


def test_the_fingerprint_of_a_moved_manifest_is_the_same(tmp_path: Path) -> None:
    rows = [("x/a.jpg", 0, 1, "train"), ("b.jpg", 5, 1, "train"), ("c.jpg", 5, 2, "query"), ("d.jpg", 5, 1, "gallery")]
    file = manifest(tmp_path / "own", rows)
    shutil.copytree(tmp_path / "own", tmp_path / "there" / "own")
    moved = tmp_path / "there" / "own" / "manifest.csv"
    assert load_training_data([file]).fingerprint == load_training_data([moved]).fingerprint


def test_the_fingerprint_sees_name_size_identity_camera_and_data_set(market: Path) -> None:
    data = load_training_data([market])
    assert data.cameras is not None
    fingerprints = [
        data.fingerprint,
        replace(data, identities=data.identities[::-1]).fingerprint,
        replace(data, cameras=1 - data.cameras).fingerprint,
        replace(data, cameras=None).fingerprint,
        replace(data, names=("other",)).fingerprint,
        replace(data, roots=()).fingerprint,
    ]
    data.paths[0].rename(data.paths[0].with_name("0001_c1s1_000001_02.jpg"))
    fingerprints.append(load_training_data([market]).fingerprint)
    data.paths[1].write_bytes(data.paths[1].read_bytes() + b"x")
    fingerprints.append(load_training_data([market]).fingerprint)
    assert len(set(fingerprints)) == len(fingerprints)


def test_the_fingerprint_of_a_crop_that_is_gone(market: Path) -> None:
    data = load_training_data([market])
    data.paths[1].unlink()
    with pytest.raises(DataError, match=r"Cannot look at .*0001_c2s1_000002_01\.jpg: No such file"):
        _ = data.fingerprint
