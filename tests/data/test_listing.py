from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tests.data.fabrication import draw

from omnireid.data.listing import list_crops, list_split
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
