from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tests.data.fabrication import touch

from omnireid.data.crops import PassedOver, find_images, image_names, images_among, split_of, walk_images
from omnireid.data.folders import missing_files
from omnireid.errors import list_briefly
from omnireid.types import Sample


def test_images_are_listed_by_suffix_in_any_case_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, ["b.JPG", "a.jpeg", "B.png", "Thumbs.db", "list.txt", "._a.jpeg", ".b.jpg", "folder.jpg/x.jpg"])
    assert image_names(tmp_path) == ["B.png", "a.jpeg", "b.JPG"]


def test_a_walk_goes_no_deeper_than_asked_and_skips_hidden_folders(tmp_path: Path) -> None:
    touch(tmp_path, ["z.jpg", "a/1.jpg", "a/b/2.jpg", "a/b/c/3.jpg", ".git/4.jpg"])
    assert list(walk_images(tmp_path, 2)) == [("a", "1.jpg"), ("a", "b", "2.jpg"), ("z.jpg",)]


def test_a_split_is_sorted_by_path_and_knows_whether_it_has_cameras() -> None:
    split = split_of([Sample(Path("b.jpg"), 2, 1), Sample(Path("a.jpg"), 1, 3)])
    assert split.person_ids.tolist() == [1, 2]
    assert split.camera_ids is not None
    assert split.camera_ids.tolist() == [3, 1]
    assert split_of([Sample(Path("a.jpg"), 1, None)]).camera_ids is None
    empty = split_of([])
    assert empty.camera_ids is not None
    assert len(empty) == 0


def test_only_the_first_few_are_shown() -> None:
    assert list_briefly([1, 2, 3]) == "1, 2, 3"
    assert list_briefly(list(range(1_005))) == "0, 1, 2 and 1,002 more"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_each_folder_is_walked_once_though_links_lead_to_it(tmp_path: Path) -> None:
    touch(tmp_path, ["a/1.jpg", "b/2.jpg"])
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b" / "aside").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "c").symlink_to(tmp_path / "c")
    assert list(walk_images(tmp_path, 32)) == [("a", "1.jpg"), ("b", "2.jpg")]


@pytest.mark.skipif(os.name == "nt", reason="there are no named pipes in folders there")
def test_only_regular_files_are_listed_and_the_others_are_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a/1.jpg"])
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.png"))
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a" / "1.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")  # listed, so that reading it says what is wrong
    found = find_images(tmp_path, 2)
    assert found.files == [("a", "1.jpg"), ("broken.jpg",), ("link.jpg",)]
    assert found.passed_over.special == ("a/pipe.jpg", "s.png")
    assert (
        "2 pipe(s), socket(s) or device(s) named like images were passed over: a/pipe.jpg, s.png."
        in (found.passed_over.notes[0])
    )
    assert missing_files([tmp_path / "a" / "pipe.jpg", tmp_path / "a" / "1.jpg"]) == [tmp_path / "a" / "pipe.jpg"]


def test_pictures_in_formats_that_are_not_read_are_counted_and_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a/1.jpg", "a/2.NEF", "3.nef", "b/4.cr2", "list.txt", "._5.nef"])
    notes = find_images(tmp_path, 2).passed_over.notes
    assert notes == (
        "3 picture(s) in formats that are not read were passed over (.cr2: 1, .nef: 2): 3.nef, a/2.NEF, b/4.cr2. "
        "Convert them to JPEG or PNG.",
    )


def test_heic_needs_an_optional_library_and_the_note_names_it() -> None:
    assert "install pillow-heif" in PassedOver(unread=("a.heic",)).notes[0]
    assert "pillow-heif" not in PassedOver(unread=("a.nef",)).notes[0]


def test_thumbnail_folders_are_no_crops_and_are_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a/1.jpg", "a/@eaDir/1.jpg/THUMB_M.jpg", ".thumbnails/1.jpg", "__MACOSX/a/1.jpg", "Thumbs.db"])
    found = find_images(tmp_path, 3)
    assert found.files == [("a", "1.jpg")]
    assert found.passed_over.system == (".thumbnails", "__MACOSX", "a/@eaDir")


def test_a_list_of_files_is_sorted_out_as_the_folder_is(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/@eaDir/1.jpg/M.jpg", "a/@eaDir/2.jpg", "a/b/2.NEF", "list.txt", "._5.nef", "@eaDir", "z.png"]
    names += [".git/6.jpg", ".git/@eaDir/6.jpg", ".thumbnails/1.jpg", "a/b/.7.jpg"]
    touch(tmp_path, names)
    found = images_among(sorted(tuple(name.split("/")) for name in names))
    assert found == find_images(tmp_path, 32)
    assert found.files == [("a", "1.jpg"), ("z.png",)]
