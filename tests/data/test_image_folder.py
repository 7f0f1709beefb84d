"""Folders of classes, with and without a validation part."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from omnireid.data.image_folder import LabelledPictures, load_image_folder, load_validation_pictures
from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError


def touch(folder: Path, *names: str) -> None:
    """Empty files: only names are read here."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.fixture
def with_validation(tmp_path: Path) -> Path:
    for part, count in (("train", 3), ("val", 2)):
        for name in ("bird", "cat", "dog"):
            touch(tmp_path / part / name, *(f"{index}.JPEG" for index in range(count)))
    return tmp_path


def test_classes_are_folders_in_sorted_order(with_validation: Path) -> None:
    found = load_image_folder(with_validation)
    assert found.class_names == ("bird", "cat", "dog")
    assert found.train.classes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.validation is not None
    assert [path.parent.name for path in found.validation.paths] == ["bird", "bird", "cat", "cat", "dog", "dog"]
    assert found.validation.classes.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_validation_part_may_lack_classes(with_validation: Path) -> None:
    shutil.rmtree(with_validation / "val" / "cat")
    found = load_image_folder(with_validation)
    assert found.validation is not None
    assert found.validation.classes.tolist() == [0, 0, 2, 2]


def test_test_is_the_validation_part_only_where_there_is_no_other(with_validation: Path) -> None:
    touch(with_validation / "test" / "bird", "0.png")
    both = load_image_folder(with_validation).validation
    shutil.rmtree(with_validation / "val")
    alone = load_image_folder(with_validation).validation
    assert both is not None
    assert alone is not None
    assert (len(both), len(alone)) == (6, 1)


def test_pictures_may_lie_deeper(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "images", "1.png", "2.png")
    touch(tmp_path / "b", "1.png")
    found = load_image_folder(tmp_path)
    assert found.train.classes.tolist() == [0, 0, 1]
    assert found.validation is None


def test_a_class_may_have_the_name_of_a_part(tmp_path: Path) -> None:
    for name in ("bicycle", "train"):
        touch(tmp_path / name, "1.png")
    assert load_image_folder(tmp_path).class_names == ("bicycle", "train")


@pytest.mark.parametrize("part", ["", "train"])
def test_one_class_is_refused(tmp_path: Path, part: str) -> None:
    touch(tmp_path / part / "only", "1.png")
    with pytest.raises(DataError, match=r"holds 1 folder\(s\), and classification needs at least two classes"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_without_pictures_is_named_with_what_it_holds(with_validation: Path, part: str) -> None:
    touch(with_validation / part / "ant", "1.nef", "notes.txt")
    with pytest.raises(
        DataError, match=r"1 of the 4 class folders in .* no picture .*: ant\. .*\.nef: 1.* Remove them"
    ):
        load_image_folder(with_validation)


def test_what_is_not_read_is_counted_and_named(with_validation: Path) -> None:
    touch(with_validation / "train" / "bird", "raw.nef")
    touch(with_validation / "val", "loose.jpg")
    loose = r"val: 1 picture\(s\) in no folder of a class were passed over: loose\.jpg\."
    with pytest.warns(UserWarning, match=r"train: .*bird/raw\.nef"), pytest.warns(UserWarning, match=loose):
        load_image_folder(with_validation)


def test_an_unknown_validation_class_is_named(with_validation: Path) -> None:
    touch(with_validation / "val" / "fish", "1.png")
    with pytest.raises(
        DataError, match=r"has 1 class\(es\) that training lacks: fish\. Both need the same folder names"
    ):
        load_image_folder(with_validation)


def test_validation_without_training_is_refused(with_validation: Path) -> None:
    shutil.rmtree(with_validation / "train")
    with pytest.raises(IncompleteDatasetError, match="has val/ but no train/ to learn from"):
        load_image_folder(with_validation)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="There is no folder"):
        load_image_folder(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Not a directory"):
        load_image_folder(tmp_path / "file")


def test_pictures_of_another_folder_are_numbered_by_the_classes_that_were_learned(with_validation: Path) -> None:
    names = ("ant", "bird", "cat", "dog")
    assert load_validation_pictures(with_validation, names).classes.tolist() == [1, 1, 2, 2, 3, 3]
    assert load_validation_pictures(with_validation / "train", names).classes.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    with pytest.raises(DataError, match="1 class.* that training lacks: bird"):
        load_validation_pictures(with_validation, names[2:])
    (with_validation / "empty").mkdir()
    with pytest.raises(DataError, match="holds no folder of a class"):
        load_validation_pictures(with_validation / "empty", names)


def test_paths_and_classes_must_be_aligned() -> None:
    with pytest.raises(DataError, match="2 pictures but 1 class numbers"):
        LabelledPictures((Path("a"), Path("b")), np.zeros(1, dtype=np.int64))
