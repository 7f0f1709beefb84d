from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data import fabrication

from omnireid.data.datasets import load_dataset
from omnireid.errors import DataError, IncompleteDatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fabrication.market(tmp_path / "Market-1501-v15.09.15")


def test_ids_come_from_the_names_and_the_order_is_sorted(root: Path) -> None:
    dataset = load_dataset(root)
    assert (dataset.name, dataset.layout, dataset.root) == ("market1501", "market1501", root)
    assert dataset.protocol == "single-query"
    assert dataset.train.person_ids.tolist() == [1, 1, 2]
    assert dataset.query.person_ids.tolist() == [3, 4]
    assert dataset.query.labels.camera_ids is not None
    assert dataset.query.labels.camera_ids.tolist() == [1, 2]
    names = [path.name for path in dataset.gallery.paths]
    assert names == sorted(names)


def test_junk_is_dropped_and_distractors_stay_in_the_gallery(root: Path) -> None:
    dataset = load_dataset(root)
    assert dataset.gallery.person_ids.tolist() == [0, 3, 3, 4]


def test_a_suffix_counts_in_any_case_and_other_files_are_ignored(root: Path) -> None:
    names = [path.name for path in load_dataset(root).query.paths]
    assert names == ["0003_c1s1_000001_00.jpg", "0004_c2s1_000002_00.JPG"]


def test_a_distractor_is_never_a_query_nor_learned(root: Path) -> None:
    fabrication.touch(root, ["query/0000_c1s1_000001_00.jpg", "bounding_box_train/0000_c1s1_000001_00.jpg"])
    dataset = load_dataset(root)
    assert 0 not in dataset.query.person_ids
    assert 0 not in dataset.train.person_ids
    assert [note for note in dataset.notes if "crop(s) of person 0 left out" in note] == [
        "train: 1 crop(s) of person 0 left out; in Market-style names 0 marks a distractor, no person.",
        "query: 1 crop(s) of person 0 left out; in Market-style names 0 marks a distractor, no person.",
    ]


def test_gt_bbox_of_each_querys_person_and_camera_is_multi_query(root: Path) -> None:
    assert load_dataset(root).multi_query is None
    fabrication.touch(
        root / "gt_bbox",
        ["0001_c1s1_000001_00.jpg", "0003_c1s1_000001_00.jpg", "0003_c1s1_000002_00.jpg", "0003_c2s1_000001_00.jpg"],
    )
    multi_query = load_dataset(root).multi_query
    assert multi_query is not None
    # The query of person 3 was seen by camera 1: its box in camera 2 would be a query of its own.
    assert [path.name for path in multi_query.paths] == ["0003_c1s1_000001_00.jpg", "0003_c1s1_000002_00.jpg"]


def test_counts_that_are_not_the_published_ones_are_told(root: Path) -> None:
    assert (
        "gallery has 4 images (published: 15,913) and 3 identities (published: 751); "
        "scores are not comparable with published ones."
    ) in load_dataset(root).notes


def test_the_drawn_set_is_named_so_and_has_no_published_counts(root: Path) -> None:
    (root / "synthetic.json").write_text('{"kind": "omnireid_synthetic"}')
    dataset = load_dataset(root)
    assert (dataset.name, dataset.layout, dataset.notes) == ("synthetic", "market1501", ())
    assert dataset.licence == "drawn by omnireid; free to use (Apache-2.0)"


def test_another_synthetic_json_does_not_make_it_the_drawn_set(root: Path) -> None:
    (root / "synthetic.json").write_text('{"kind": "a game"}')
    assert load_dataset(root).name == "market1501"


def test_a_name_that_does_not_parse_is_an_error_that_names_it(root: Path) -> None:
    fabrication.touch(root, [f"query/holiday{index}.jpg" for index in range(5)])
    with pytest.raises(
        DataError, match=r"5 image file\(s\) in .*query are not named like .*holiday0.jpg.* and 2 more\."
    ):
        load_dataset(root)


def test_a_missing_query_folder_is_named_with_what_is_there(root: Path) -> None:
    for path in (root / "query").iterdir():
        path.unlink()
    with pytest.raises(IncompleteDatasetError, match="query/ holds no image"):
        load_dataset(root)
    (root / "query").rmdir()
    with pytest.raises(
        IncompleteDatasetError,
        match=r"not a complete market1501: query/ is missing. There: bounding_box_test/, bounding_box_train/",
    ):
        load_dataset(root)


@pytest.mark.real
def test_the_real_market1501_has_the_published_counts(shared: Path) -> None:
    dataset = load_dataset(shared / "data" / "Market-1501-v15.09.15")
    assert dataset.name == "market1501"
    assert dataset.notes == ()
    sizes = {name: (len(split), len(np.unique(split.person_ids))) for name, split in dataset.splits.items()}
    assert sizes == {"train": (12_936, 751), "query": (3_368, 750), "gallery": (15_913, 751)}
    for split in dataset.splits.values():
        assert split.camera_ids is not None
        assert np.unique(split.camera_ids).tolist() == [1, 2, 3, 4, 5, 6]
    assert int((dataset.gallery.person_ids == 0).sum()) == 2_798
    assert not set(dataset.train.person_ids.tolist()) & set(dataset.gallery.person_ids.tolist())
