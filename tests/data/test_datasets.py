from __future__ import annotations

import errno
import locale
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.data import fabrication
from tests.data.fabrication import touch

from omnireid.data.datasets import LAYOUTS, load_dataset
from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError, UnknownLayoutError


def test_every_layout_is_named_and_described() -> None:
    assert list(LAYOUTS) == [
        "market1501",
        "cuhk03-detected",
        "cuhk03-labeled",
        "cuhk03-classic-detected",
        "cuhk03-classic-labeled",
        "dukemtmcreid",
        "msmt17",
        "viper",
        "grid",
        "manifest",
        "folder",
    ]
    for name, layout in LAYOUTS.items():
        assert layout.name == name
        assert layout.sentence.endswith(".")
        assert layout.expected
        assert layout.licence


def test_every_layout_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert not [name for name in LAYOUTS if f"`{name}`" not in page]


@pytest.mark.parametrize("above", [0, 1, 2])
def test_the_root_or_a_folder_above_it(tmp_path: Path, above: int) -> None:
    root = fabrication.market(tmp_path / "sets" / "data" / "Market-1501-v15.09.15")
    given = [root, *root.parents][above]
    assert load_dataset(given).root == root
    assert load_dataset(str(given), "market1501").root == root


def test_a_home_folder_may_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    fabrication.market(tmp_path / "Market")
    assert load_dataset("~/Market").root == tmp_path / "Market"


def test_the_order_does_not_depend_on_locale_or_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["b/1.jpg", "B/1.jpg", "a/1.jpg", "ä/1.jpg", "a-/1.jpg"]
    touch(tmp_path / "query", names)
    touch(tmp_path / "gallery", names)
    expected = ["B", "a-", "a", "b", "ä"]  # by path, so "a-/" comes before "a/"
    before = locale.setlocale(locale.LC_ALL)
    scandir = os.scandir
    try:
        for setting in ("C", before):
            locale.setlocale(locale.LC_ALL, setting)
            assert [path.parent.name for path in load_dataset(tmp_path).query.paths] == expected
    finally:
        locale.setlocale(locale.LC_ALL, before)

    class Backwards:
        def __init__(self, folder: Path) -> None:
            with scandir(folder) as entries:
                self.entries = list(entries)[::-1]

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    assert [path.parent.name for path in load_dataset(tmp_path).query.paths] == expected


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "Market-1501").mkdir()
    with pytest.raises(DataNotFoundError, match=r"There is no .*Market-1510. Did you mean .*Market-1501\?"):
        load_dataset(tmp_path / "Market-1510")
    with pytest.raises(DataNotFoundError, match=r"There is no .*nowhere. Check the path."):
        load_dataset(tmp_path / "a" / "nowhere")


@pytest.mark.parametrize("layout", ["auto", "market1501", "folder"])
def test_an_empty_folder(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataNotFoundError, match=r"The folder .* is empty"):
        load_dataset(tmp_path, layout)


def test_a_folder_without_any_image(tmp_path: Path) -> None:
    touch(tmp_path, ["readme.txt", "a/b/list.csv"])
    with pytest.raises(DataNotFoundError, match=r"There is no image in .* Found: a/, readme.txt"):
        load_dataset(tmp_path)


def test_a_layout_of_no_such_name() -> None:
    with pytest.raises(
        UnknownLayoutError, match=r"No layout 'market-1501'. Did you mean market1501\? Known: auto, market1501, "
    ):
        load_dataset("anywhere", "market-1501")
    with pytest.raises(UnknownLayoutError, match=r"No layout 'xyz'. Known: auto"):
        load_dataset("anywhere", "xyz")


def test_a_folder_that_fits_no_layout_says_what_was_seen_and_expected(tmp_path: Path) -> None:
    touch(tmp_path, ["one.jpg", "two.jpg"])
    with pytest.raises(
        UnknownLayoutError, match=r"looks like no data set known here. Found: one.jpg, two.jpg"
    ) as caught:
        load_dataset(tmp_path)
    for name, layout in LAYOUTS.items():
        assert f"  {name}: {layout.expected}" in str(caught.value)


def test_several_data_sets_in_one_folder(tmp_path: Path) -> None:
    fabrication.market(tmp_path / "one")
    fabrication.market(tmp_path / "two")
    fabrication.duke(tmp_path / "three")
    with pytest.raises(
        UnknownLayoutError, match=r"Several data sets are in (?s:.*)Give the folder of the one you mean"
    ) as caught:
        load_dataset(tmp_path, "market1501")
    assert f"  market1501 in {tmp_path / 'one'}:" in str(caught.value)
    assert "three" not in str(caught.value)
    assert load_dataset(tmp_path, "dukemtmcreid").root == tmp_path / "three"
    with pytest.raises(UnknownLayoutError, match="Several data sets"):
        load_dataset(tmp_path)


def test_what_macos_adds_to_a_zip_file_is_no_second_data_set(tmp_path: Path) -> None:
    root = fabrication.market(tmp_path / "Market")
    touch(tmp_path / "__MACOSX" / "Market", ["bounding_box_train/._0001_c1s1_000001_01.jpg", "query/._a.jpg"])
    assert load_dataset(tmp_path).root == root


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_to_a_data_set_is_no_second_data_set(tmp_path: Path) -> None:
    fabrication.market(tmp_path / "v1")
    (tmp_path / "current").symlink_to(tmp_path / "v1", target_is_directory=True)
    assert load_dataset(tmp_path).root == tmp_path / "current"


@pytest.mark.skipif(os.name == "nt", reason="there are no named pipes in folders there")
def test_what_is_passed_over_in_a_known_layout_is_in_its_notes(tmp_path: Path) -> None:
    root = fabrication.market(tmp_path)
    os.mkfifo(root / "query" / "0003_c1s1_000002_00.jpg")
    touch(root, ["bounding_box_test/0003_c1s1_000003_00.nef"])
    notes = load_dataset(root).notes
    assert any(note.startswith("query: 1 pipe(s), socket(s) or device(s)") for note in notes)
    assert any(note.startswith("bounding_box_test: 1 picture(s) in formats that are not read") for note in notes)


def test_a_manifest_under_another_name_is_pointed_out(tmp_path: Path) -> None:
    with pytest.raises(UnknownLayoutError, match=r"If list.csv is a manifest, give its own path"):
        load_dataset(touch(tmp_path, ["one.jpg", "list.csv"]))


def test_a_layout_that_does_not_fit_says_what_it_expects(tmp_path: Path) -> None:
    fabrication.market(tmp_path)
    with pytest.raises(
        IncompleteDatasetError,
        match=r"Neither .* nor a folder in it is a viper. Expected: cam_a/ and cam_b/.* Found: bounding_box",
    ):
        load_dataset(tmp_path, "viper")


def test_a_file_that_is_no_manifest(tmp_path: Path) -> None:
    file = touch(tmp_path, ["cuhk-03.mat"]) / "cuhk-03.mat"
    with pytest.raises(UnknownLayoutError, match=r"cuhk-03.mat is a file; a data set is a folder"):
        load_dataset(file)
    with pytest.raises(UnknownLayoutError, match=r"crops.csv is a file; viper is a folder"):
        load_dataset(touch(tmp_path, ["crops.csv"]) / "crops.csv", "viper")


def test_only_published_splits_exist(tmp_path: Path) -> None:
    fabrication.market(tmp_path)
    with pytest.raises(DataError, match=r"market1501 has 1 split\(s\), counted from 0; there is no split 1"):
        load_dataset(tmp_path, split=1)


def test_a_folder_one_may_not_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        DataError, match=r"Cannot look into the folder .*: Permission denied. Check its name and permissions"
    ):
        load_dataset(tmp_path)


def lock(monkeypatch: pytest.MonkeyPatch, locked: Path) -> None:
    """Take away all rights on `locked` and what is in it, also from root, whom no rights bind."""

    def guarded(function: Callable[..., Any], inside: bool) -> Callable[..., Any]:
        def guard(path: Any, *args: Any, **kwargs: Any) -> Any:
            place = Path(os.fsdecode(path)) if not isinstance(path, int) else Path()
            if locked in place.parents or (inside and place == locked):
                raise PermissionError(errno.EACCES, "Permission denied", str(place))
            return function(path, *args, **kwargs)

        return guard

    for name, inside in (("scandir", True), ("listdir", True), ("stat", False)):
        monkeypatch.setattr(os, name, guarded(getattr(os, name), inside))


@pytest.mark.parametrize("neighbour", ["lost+found", "cuhk03_release", "cam/cam_a"])
def test_a_neighbour_one_may_not_look_into_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, neighbour: str
) -> None:
    root = fabrication.market(tmp_path / "Market")
    (tmp_path / neighbour).mkdir(parents=True)
    lock(monkeypatch, tmp_path / neighbour)
    assert load_dataset(tmp_path).root == root


def test_a_locked_folder_of_the_data_set_itself_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fabrication.market(tmp_path / "Market")
    lock(monkeypatch, root / "query")
    with pytest.raises(DataError, match=r"Cannot look into the folder .*query: Permission denied"):
        load_dataset(tmp_path)


def test_a_path_inside_a_locked_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock(monkeypatch, tmp_path)
    with pytest.raises(DataError, match=r"Cannot look at .*Market: Permission denied. Check its name and permissions"):
        load_dataset(tmp_path / "Market")


def test_paths_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot look at .*xxx: File name too long"):
        load_dataset(tmp_path / ("x" * 300))
    with pytest.raises(DataError, match=r"'.*a\\x00b' cannot be the name of a file: .*null.*Check the path"):
        load_dataset(f"{tmp_path}/a\0b")
    with pytest.raises(DataNotFoundError, match="There is no home folder for ~nobody-of-that-name/x"):
        load_dataset("~nobody-of-that-name/x")


def test_a_list_one_may_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fabrication.msmt17(tmp_path)

    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(
        DataError, match=r"Cannot read .*list_train.txt: Permission denied. Check its name and permissions"
    ):
        load_dataset(root)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode there")
def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    root = fabrication.market(tmp_path / "Market")
    (root / "query" / os.fsdecode(b"0003_c1s1_caf\xe9.jpg")).touch()
    with pytest.raises(DataError, match=r"query/0003_c1s1_caf\\udce9.jpg' is not UTF-8.* Rename the file or folder"):
        load_dataset(root)
