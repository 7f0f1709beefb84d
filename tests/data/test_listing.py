from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.data import fabrication
from tests.data.fabrication import draw

from omnireid.data.datasets import load_dataset
from omnireid.data.listing import list_crops, list_split
from omnireid.data.options import DataOptions
from omnireid.errors import DataError, DataNotFoundError, ManifestError


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "deep/er/c.webp", "deep/notes.txt"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no crop")
        else:
            Image.new("RGB", (4, 8)).save(path)
    return tmp_path / "mine"


def test_a_folder_with_all_below_it(folder: Path) -> None:
    listing = list_crops([str(folder)])
    assert sorted(names(listing.paths)) == ["a.PNG", "b.jpg", "c.webp"]
    assert listing.labels is None
    assert listing.paths == list_crops([str(folder)]).paths


def test_files_globs_and_doubles(folder: Path) -> None:
    listing = list_crops([str(folder / "b.jpg"), f"{folder}/*", f"{folder}/**/*.webp"])
    assert names(listing.paths) == ["b.jpg", "a.PNG", "c.webp"]


def test_a_crop_that_is_named_in_two_ways_is_listed_once(folder: Path) -> None:
    listing = list_crops([str(folder / "b.jpg"), str(folder / "deep" / ".." / "b.jpg"), f"{folder}/deep/.."])
    assert names(listing.paths) == ["b.jpg", "a.PNG", "c.webp"]


@pytest.mark.skipif(os.name == "nt", reason="there are no named pipes in folders there")
def test_what_is_passed_over_in_a_folder_is_said(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "deep" / "d.nef").touch()
    with pytest.warns(UserWarning, match="passed over") as caught:
        listing = list_crops([str(folder)])
    assert sorted(names(listing.paths)) == ["a.PNG", "b.jpg", "c.webp"]
    said = [str(warning.message) for warning in caught]
    assert said[0].startswith(f"{folder}: 1 picture(s) in formats that are not read were passed over (.nef: 1)")
    assert said[1].startswith(f"{folder}: 1 pipe(s), socket(s) or device(s) named like images were passed over")
    with pytest.raises(DataError, match=r"pipe.jpg is no regular file"):
        list_crops([str(folder / "pipe.jpg")])


def test_ids_are_read_from_market_names_if_all_have_them(crop_folder: Path, folder: Path) -> None:
    listing = list_crops([str(crop_folder)])
    assert listing.labels is not None
    assert listing.labels.camera_ids is not None
    assert listing.labels.person_ids.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert listing.labels.camera_ids.tolist() == [1, 1, 2, 2] * 3
    assert list_crops([str(crop_folder), str(folder)]).labels is None


def test_a_manifest_in_its_own_order(folder: Path) -> None:
    manifest = folder / "list.csv"
    manifest.write_text("path,person_id,camera_id,note\nb.jpg,7,2,x\na.PNG,3,1,y\n")
    listing = list_crops([str(manifest)])
    assert names(listing.paths) == ["b.jpg", "a.PNG"]
    assert listing.labels is not None
    assert listing.labels.person_ids.tolist() == [7, 3]
    assert list(listing.columns["note"]) == ["x", "y"]
    with pytest.raises(DataError, match=r"Give the manifest .*list\.csv alone"):
        list_crops([str(manifest), str(folder)])


def test_a_manifest_of_paths_alone(folder: Path) -> None:
    manifest = folder / "list.csv"
    manifest.write_text("path\nb.jpg\na.PNG\n")
    listing = list_crops([str(manifest)])
    assert names(listing.paths) == ["b.jpg", "a.PNG"]
    assert listing.labels is None
    manifest.write_text("file\nb.jpg\n")
    with pytest.raises(ManifestError, match="path"):
        list_crops([str(manifest)])


def test_names_that_mean_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"There is no .*gone\. Check the path"):
        list_crops([str(tmp_path / "gone")])
    with pytest.raises(DataNotFoundError, match=r"No image matches .*\*\.bmp"):
        list_crops([f"{folder}/*.bmp"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match="no image in .*empty"):
        list_crops([str(tmp_path / "empty")])
    with pytest.raises(DataNotFoundError, match="No crop was named"):
        list_crops([])


def test_the_split_of_a_data_set(tmp_path: Path) -> None:
    for name in ("query/0001_c1s1_000001_00.jpg", "bounding_box_test/0001_c2s1_000001_00.jpg"):
        draw(tmp_path / "set" / name)
    draw(tmp_path / "set" / "bounding_box_train" / "0002_c1s1_000001_00.jpg")
    listing = list_split([str(tmp_path / "set")], "gallery")
    assert names(listing.paths) == ["0001_c2s1_000001_00.jpg"]
    assert listing.labels is not None
    with pytest.raises(DataError, match="has no split 'probe'. It has: train, query, gallery"):
        list_split([str(tmp_path / "set")], "probe")
    with pytest.raises(DataError, match="name one data set; got 2 names"):
        list_split(["a", "b"], "query")


def test_numbers_too_long_for_ids_are_none(folder: Path) -> None:
    draw(folder / "long" / f"{2**63}_c1s1_000001_00.jpg")
    draw(folder / "long" / "0001_c1s1_000001_00.jpg")
    assert list_crops([str(folder / "long")]).labels is None


def test_the_published_split_and_the_seed_are_chosen(tmp_path: Path) -> None:
    people = [((1, 2), (3, 4)), ((3, 4), (1, 2))]
    root = fabrication.viper(tmp_path / "VIPeR", (1, 2, 3, 4), people)
    assert names(list_split([str(root)], "query", DataOptions(split_index=2)).paths) == names(
        load_dataset(root, split=2).query.paths
    )
    assert names(list_split([str(root)], "query").paths) != names(load_dataset(root, split=2).query.paths)
    own = fabrication.touch(tmp_path / "own", [f"{who}/{n}.jpg" for who in "abcdefgh" for n in (1, 2)])
    drawn = {list_split([str(own)], "query", DataOptions("folder", seed=seed)).paths for seed in range(5)}
    assert len(drawn) > 1


@pytest.mark.parametrize("ending", ["", "/*.jpg"])
def test_names_no_file_can_have(folder: Path, ending: str) -> None:
    with pytest.raises(DataError, match=r"'.*a\\x00b.*' cannot be the name of a file"):
        list_crops([f"{folder}/a\0b{ending}"])
    with pytest.raises(DataError, match=r"Cannot look at .*xxx.*: File name too long. Check its name and permissions"):
        list_crops([f"{folder}/{'x' * 300}{ending}"])
    with pytest.raises(DataError, match=r"Cannot read .*: File name too long"):
        list_crops([f"{folder}/{'x' * 300}.csv"])


def test_a_name_in_a_locked_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(DataError, match=r"Cannot look at .*b.jpg: Permission denied. Check its name and permissions"):
        list_crops([str(folder / "b.jpg")])
    with pytest.raises(DataError, match=r"Cannot read .*list.csv: Permission denied. Check its name and permissions"):
        list_crops([str(folder / "list.csv")])


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_to_a_folder_above_lists_nothing_twice(folder: Path) -> None:
    (folder / "deep" / "a_loop").symlink_to(folder, target_is_directory=True)
    assert names(list_crops([str(folder)]).paths) == ["a.PNG", "b.jpg", "c.webp"]
    assert list_crops([f"{folder}/**/*.webp"]).paths == (folder / "deep" / "er" / "c.webp",)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode there")
def test_a_name_that_is_no_text_is_named(folder: Path) -> None:
    strange = folder / "deep" / os.fsdecode(b"caf\xe9.jpg")
    strange.touch()
    for name in (folder, strange, f"{folder}/deep/*.jpg"):
        with pytest.raises(DataError, match=r"caf\\udce9.jpg' is not UTF-8, .* Rename the file or folder"):
            list_crops([str(name)])
    strange.unlink()
    strange.mkdir()
    assert len(list_crops([str(folder)]).paths) == 3
    draw(strange / "1.jpg")
    with pytest.raises(DataError, match=r"caf\\udce9.jpg/1.jpg' is not UTF-8"):
        list_crops([str(folder)])
