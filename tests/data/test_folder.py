from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.data.fabrication import touch

from omnireid.data.datasets import load_dataset
from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError, UnknownLayoutError
from omnireid.types import Dataset


def every(dataset: Dataset) -> dict[str, tuple[int, int | None]]:
    """Relative path to person and camera id, over all splits."""
    return {
        split.paths[i].relative_to(dataset.root).as_posix(): (split[i].person_id, split[i].camera_id)
        for split in dataset.splits.values()
        for i in range(len(split))
    }


def test_person_and_camera_folders(tmp_path: Path) -> None:
    names = [
        f"{who}/{camera}/{n}.png" for who in ("ann", "Zoe", "bob", "eve") for camera in ("hall", "door") for n in (1, 2)
    ]
    dataset = load_dataset(touch(tmp_path / "mine", names))
    assert (dataset.name, dataset.layout, dataset.protocol) == ("mine", "folder", "single-query")
    ids = every(dataset)
    assert len(ids) == 16
    # Sorted by code point: Zoe, ann, bob, eve; door, hall.
    assert ids["Zoe/door/1.png"] == (0, 0)
    assert ids["eve/hall/2.png"] == (3, 1)
    assert dataset.query.columns["person_name"] == tuple(path.parts[-3] for path in dataset.query.paths)
    assert dataset.query.columns["camera_name"] == ("door", "hall") * 2
    assert len(dataset.query) == 4
    assert dataset.notes[0].startswith("Split automatically with seed 0: 2 identities to train, 2 to test.")


def test_person_folders_without_cameras(tmp_path: Path) -> None:
    dataset = load_dataset(touch(tmp_path, [f"{who:02d}/{n}.webp" for who in (7, 8) for n in range(3)]))
    assert dataset.protocol == "no-cameras"
    assert dataset.query.camera_ids is None
    assert {ids[0] for ids in every(dataset).values()} == {7, 8}
    assert dataset.query.columns == {}


def test_folder_names_that_would_fall_together_are_names(tmp_path: Path) -> None:
    dataset = load_dataset(touch(tmp_path, [f"{who}/{n}.jpg" for who in ("1", "01", "2") for n in range(2)]))
    assert {ids[0] for ids in every(dataset).values()} == {0, 1, 2}


def test_market_names_in_any_folder(tmp_path: Path) -> None:
    names = [
        f"{person:04d}_c{camera}s1_{n:06d}_00.jpg" for person in (0, 1, 2, -1) for camera in (1, 2) for n in (1, 2)
    ]
    flat = load_dataset(touch(tmp_path / "flat", names))
    assert flat.protocol == "single-query"
    assert sorted(set(every(flat).values())) == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert 0 not in [*flat.train.person_ids, *flat.query.person_ids]
    assert (flat.gallery.person_ids == 0).sum() == 4
    assert "4 crop(s) of person -1 left out" in flat.notes[0]
    nested = load_dataset(touch(tmp_path / "nested", [f"day1/{name[:4]}/{name}" for name in names]))
    assert nested.train.person_ids.tolist() == flat.train.person_ids.tolist()


def test_subfolders_that_are_the_split(tmp_path: Path) -> None:
    names = ["train/a/1/1.jpg", "Val/c/2/1.jpg", "query/b/1/1.jpg", "gallery/b/2/1.jpg", "gallery/a2/2/1.jpg"]
    dataset = load_dataset(touch(tmp_path, [*names, "notes/picture.jpg"]))
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 1,
        "validation": 1,
        "query": 1,
        "gallery": 2,
    }
    assert dataset.query.person_ids[0] in dataset.gallery.person_ids
    assert every(dataset)["gallery/b/2/1.jpg"] == (2, 2)  # one numbering over all: a, a2, b, c
    assert dataset.notes == ("Not read: notes/.",)


def test_query_and_gallery_need_no_train(tmp_path: Path) -> None:
    dataset = load_dataset(touch(tmp_path, ["query/b/1.jpg", "gallery/b/2.jpg", "gallery/c/3.jpg"]))
    assert (len(dataset.train), dataset.protocol, dataset.notes) == (0, "no-cameras", ())


def test_queries_are_drawn_from_a_test_folder(tmp_path: Path) -> None:
    dataset = load_dataset(
        touch(tmp_path, ["train/a/1.jpg", *(f"test/b/{n}.jpg" for n in (1, 2, 3)), "test/c/1.jpg"]), seed=4
    )
    assert [len(split) for split in dataset.splits.values()] == [1, 1, 3]
    assert dataset.notes[0] == "Queries were drawn from the test crops with seed 4."


def test_market_names_in_query_and_gallery_keep_their_meaning(tmp_path: Path) -> None:
    names = ["query/0001_c1_1.jpg", "query/0000_c1_1.jpg", "gallery/0001_c2_1.jpg", "gallery/0000_c2_1.jpg"]
    dataset = load_dataset(touch(tmp_path, names))
    assert (dataset.query.person_ids.tolist(), dataset.gallery.person_ids.tolist()) == ([1], [0, 1])
    assert dataset.notes == ("query: 1 crop(s) of person 0 left out; in Market-style names 0 marks a distractor.",)


def test_query_without_gallery_is_incomplete(tmp_path: Path) -> None:
    with pytest.raises(IncompleteDatasetError, match=r"split into query/, train/, but has no gallery"):
        load_dataset(touch(tmp_path, ["query/b/1.jpg", "train/b/2.jpg"]))


def test_test_beside_query_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompleteDatasetError, match="test stands beside query or gallery"):
        load_dataset(touch(tmp_path, ["query/b/1.jpg", "gallery/b/2.jpg", "test/b/3.jpg"]))


def test_an_empty_part_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["query/b/1.jpg", "gallery/readme.txt"])
    with pytest.raises(DataNotFoundError, match=r"There is no image in .*gallery"):
        load_dataset(tmp_path)


def test_parts_of_different_forms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of different forms"):
        load_dataset(touch(tmp_path, ["query/b/cam/1.jpg", "gallery/b/2.jpg"]))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["holiday.jpg", "0001_c1_1.jpg"], r"1 image\(s\) lie in no person's folder .* \(holiday.jpg\)"),
        (["a/1.jpg", "b.jpg"], r"1 image\(s\) lie in no person's folder .* \(b.jpg\)"),
        (["a/1.jpg", "b/cam/1.jpg"], r"some lie in person/ \(a/1.jpg\), some in person/camera/ \(b/cam/1.jpg\)"),
        (["a/b/c/1.jpg"], r"1 image\(s\) or more lie too deep \(a/b/c/1.jpg\)"),
    ],
)
def test_crops_that_cannot_be_told_apart_are_named(tmp_path: Path, names: list[str], problem: str) -> None:
    touch(tmp_path, names)
    with pytest.raises(DataError, match=problem):
        load_dataset(tmp_path, "folder")
    with pytest.raises(UnknownLayoutError, match=rf"looks like no data set known here.*cannot be read: {problem}"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("names", [["train", "val"], ["train"], ["test_set", "anna"], ["bbox_test"], ["train", "eval"]])
def test_parts_of_a_split_are_not_taken_for_people(tmp_path: Path, names: list[str]) -> None:
    """As of a classification set, ``train/cat/1.jpg`` beside ``val/cat/1.jpg``."""
    touch(tmp_path, [f"{name}/{kind}/{n}.jpg" for name in names for kind in ("cat", "dog") for n in (1, 2)])
    with pytest.raises(IncompleteDatasetError, match=rf"split into .*{names[0]}/.*never as people.*manifest"):
        load_dataset(tmp_path)


def test_a_test_folder_alone_is_searched(tmp_path: Path) -> None:
    dataset = load_dataset(touch(tmp_path, [f"test/{who}/{n}.jpg" for who in "ab" for n in (1, 2)]))
    assert [len(split) for split in dataset.splits.values()] == [0, 2, 2]


@pytest.mark.parametrize(
    "names", [("image_train", "image_query", "image_test"), ("train_images", "query_images", "gallery_images")]
)
def test_parts_are_known_under_their_usual_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    people = {names[0]: (1, 2), names[1]: (3, 4), names[2]: (3, 4, 5)}
    root = tmp_path / "VeRi"
    touch(root, [f"{part}/{who:04d}_c00{c}_0003_0.jpg" for part in names for who in people[part] for c in (1, 2)])
    dataset = load_dataset(root)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 4, "query": 4, "gallery": 6}
    with pytest.raises(DataError, match=rf"named like a part of a split.*Give {root} itself"):
        load_dataset(tmp_path)


def test_a_persons_name_that_is_also_a_part_is_a_person_among_people(tmp_path: Path) -> None:
    dataset = load_dataset(touch(tmp_path, [f"{who}/{n}.jpg" for who in ("Ann", "Val", "Zoe", "Eve") for n in (1, 2)]))
    assert "Val" in {name for split in dataset.splits.values() for name in split.columns["person_name"]}


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["cam_a/person_1", "cam_b/person_1"], "cam_a/ looks like a camera, not a person"),
        (["c1/7", "c2/7"], "c1/ looks like a camera, not a person"),
        (["hall/pid_0", "door/pid_1"], "door/ looks like a camera, not a person"),
        (["cam_a", "cam_b"], "cam_a/ looks like a camera, not a person"),
        (["images/anna", "images/bob"], "images/ looks like a folder around the people's folders"),
        (["anna/1", "unknown/1"], "the folder unknown/ names no person.*rename it to -1"),
        (["anna/?", "bob/1"], r"the folder \?/ names no camera"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="names with a question mark")
def test_folders_that_are_no_people_by_their_names_are_refused(tmp_path: Path, names: list[str], problem: str) -> None:
    touch(tmp_path, [f"{name}/{n}.jpg" for name in names for n in (1, 2)])
    with pytest.raises(DataError, match=problem):
        load_dataset(tmp_path)


def test_more_cameras_than_people_are_doubted_in_a_note(tmp_path: Path) -> None:
    dataset = load_dataset(touch(tmp_path, [f"{day}/p{who}/1.jpg" for day in ("mon", "tue") for who in range(9)]))
    assert dataset.notes[0].startswith("The folders name 2 people and 9 cameras, such as mon/p0/.")


def test_cameras_inside_a_persons_folder_are_cameras(tmp_path: Path) -> None:
    names = [f"{who}/cam_{c}/1.jpg" for who in ("c1", "c2", "c3", "cam_a") for c in "ab"]
    assert load_dataset(touch(tmp_path, names)).protocol == "single-query"


@pytest.mark.parametrize("more", [[], ["0001/0001_c1s1_000009_00.jpg"], ["0001/other.jpg"]])
def test_a_folder_and_a_file_name_that_disagree_about_the_person_are_refused(tmp_path: Path, more: list[str]) -> None:
    touch(tmp_path, ["0001/0002_c1s1_000001_00.jpg", "0002/0001_c2s1_000001_00.jpg", *more])
    with pytest.raises(
        DataError,
        match=r"2 crop\(s\) .*: 0001/0002_c1s1_000001_00.jpg lies in the folder of person 1 and is named for person 2 "
        r"\(more: 0002/0001_c2s1_000001_00.jpg\). Move",
    ):
        load_dataset(tmp_path)


@pytest.mark.parametrize("folder", ["{camera}", "20240{camera}01", "day{camera}", "{person:04d}/{camera}"])
def test_folders_of_cameras_days_and_people_agree_with_market_names(tmp_path: Path, folder: str) -> None:
    touch(
        tmp_path,
        [
            f"{folder.format(person=person, camera=camera)}/{person:04d}_c{camera}s1_000001_00.jpg"
            for person in (1, 2, 3, 4)
            for camera in (1, 2)
        ],
    )
    dataset = load_dataset(tmp_path)
    assert {person for person, _ in every(dataset).values()} == {1, 2, 3, 4}
    said = [note for note in dataset.notes if note.startswith("People and cameras were read from the file names")]
    assert bool(said) == ("person" not in folder)


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system does not tell the two forms apart there")
def test_one_name_in_two_normal_forms_is_one_person(tmp_path: Path) -> None:
    touch(tmp_path, ["Zo\u00eb/1.jpg", "Zoe\u0308/2.jpg", "Ann/1.jpg", "Ann/2.jpg"])
    dataset = load_dataset(tmp_path)
    assert {name for split in dataset.splits.values() for name in split.columns["person_name"]} == {"Ann", "Zo\u00eb"}


def test_a_folder_of_unread_formats_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"There is no image in .*3 picture.*\(.nef: 3\).*Convert"):
        load_dataset(touch(tmp_path, ["a/1.nef", "a/2.nef", "b/1.NEF"]))


def test_the_split_does_not_depend_on_the_machine(tmp_path: Path) -> None:
    names = [f"p{who}/c{camera}/{n}.jpg" for who in range(12) for camera in range(3) for n in range(2)]
    here = load_dataset(touch(tmp_path / "here", names), seed=5)
    there = load_dataset(touch(tmp_path / "there", reversed(names)), seed=5)
    for name, split in here.splits.items():
        expected = [path.relative_to(here.root) for path in split.paths]
        assert [path.relative_to(there.root) for path in there.splits[name].paths] == expected
    # Frozen: another rule would silently change people's scores.
    assert sorted({path.parts[-3] for path in here.train.paths}) == ["p10", "p2", "p4", "p6", "p7", "p9"]
    queries = [path.relative_to(here.root).as_posix() for path in here.query.paths]
    assert queries[:3] == ["p0/c0/1.jpg", "p0/c1/0.jpg", "p0/c2/0.jpg"]
