from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.data import fabrication

from omnireid.data.datasets import load_dataset
from omnireid.errors import DataError, IncompleteDatasetError


@pytest.mark.parametrize(
    ("folder", "train", "test"),
    [
        ("MSMT17_V1", "train", "test"),
        ("MSMT17_V2", "mask_train_v2", "mask_test_v2"),
        ("MSMT17", "train", "test"),
    ],
)
def test_both_releases_are_read_from_their_lists(tmp_path: Path, folder: str, train: str, test: str) -> None:
    root = fabrication.msmt17(tmp_path / folder, train, test)
    dataset = load_dataset(tmp_path)
    assert (dataset.name, dataset.root) == ("msmt17", root)
    assert [path.relative_to(root).as_posix() for path in dataset.train.paths] == [
        f"{train}/0000/0000_010_07_0303morning_0008_2.jpg",
        f"{train}/0000/0000_045_12_0303morning_0006_2.jpg",
    ]
    assert dataset.train.camera_ids is not None
    assert dataset.train.camera_ids.tolist() == [7, 12]
    assert dataset.query.person_ids.tolist() == [0, 1]  # 0 is a person here, no distractor
    assert dataset.gallery.paths[0].parts[-3:-1] == (test, "0000")
    assert dataset.validation is not None
    assert dataset.validation.camera_ids is not None
    assert dataset.validation.camera_ids.tolist() == [4]


def test_a_missing_list_or_folder_is_named(tmp_path: Path) -> None:
    root = fabrication.msmt17(tmp_path)
    (root / "list_val.txt").unlink()
    (root / "test").rename(root / "tests")
    with pytest.raises(
        IncompleteDatasetError, match=r"list_val.txt, mask_test_v2 or test/ missing. There: list_gallery"
    ):
        load_dataset(root)


def test_listed_crops_that_are_not_there_are_counted_and_named(tmp_path: Path) -> None:
    root = fabrication.msmt17(tmp_path)
    (root / "test/0001/0001_019_05_0303noon_0029_1.jpg").unlink()
    with pytest.raises(
        IncompleteDatasetError, match=r"1 of the 2 crops in list_gallery.txt are not in .*: test/0001/0001_019_05"
    ):
        load_dataset(root)


@pytest.mark.parametrize(
    "line",
    ["0000/0000_045_12_x.jpg", "0000/nocamera.jpg 0", "0000/0000_045_12_x.jpg zero", f"0000/0000_045_12_x.jpg {2**63}"],
)
def test_a_wrong_line_of_a_list_is_named(tmp_path: Path, line: str) -> None:
    root = fabrication.msmt17(tmp_path)
    (root / "list_query.txt").write_text(f"{fabrication.MSMT17_LISTS['list_query.txt'][0]}\n\n{line}\n")
    with pytest.raises(DataError, match=r"Line 3 of .*list_query.txt is not of the form"):
        load_dataset(root)


def test_a_listed_crop_that_cannot_be_there_is_missing(tmp_path: Path) -> None:
    root = fabrication.msmt17(tmp_path)
    lines = [f"0000/0000_000_01_{'x' * 300}.jpg 0", "/elsewhere/0000_000_01_x.jpg 0", "a\0b/0000_000_01_x.jpg 0"]
    (root / "list_query.txt").write_text("\n".join(lines))
    with pytest.raises(
        IncompleteDatasetError, match=r"3 of the 3 crops in list_query.txt are not in .*/elsewhere/0000"
    ):
        load_dataset(root)


@pytest.mark.real
def test_the_real_lists_have_the_published_counts(shared: Path, tmp_path: Path) -> None:
    lists = shared / "data" / "splits" / "msmt17"
    root = tmp_path / "MSMT17_V1"
    for file in sorted(lists.glob("list_*.txt")):
        half = root / ("train" if file.name in ("list_train.txt", "list_val.txt") else "test")
        text = file.read_text()
        root.mkdir(exist_ok=True)
        (root / file.name).write_text(text)
        drawn: dict[str, Path] = {}  # one picture a person, linked under the person's other names
        for line in text.splitlines():
            path = half / line.split()[0]
            if path.parent.name in drawn:
                os.link(drawn[path.parent.name], path)
            else:
                drawn[path.parent.name] = fabrication.draw(path, len(drawn), 16, 8)
    dataset = load_dataset(root)
    assert dataset.notes == ()
    sizes = {name: (len(split), len(np.unique(split.person_ids))) for name, split in dataset.splits.items()}
    assert sizes == {
        "train": (30_248, 1_041),
        "validation": (2_373, 1_041),
        "query": (11_659, 3_060),
        "gallery": (82_161, 3_060),
    }
    for split in dataset.splits.values():
        assert split.camera_ids is not None
        assert np.unique(split.camera_ids).tolist() == list(range(1, 16))
    next((root / "test" / "3059").iterdir()).unlink()
    with pytest.raises(IncompleteDatasetError, match=r"1 of the (11,659|82,161) crops"):
        load_dataset(root)
