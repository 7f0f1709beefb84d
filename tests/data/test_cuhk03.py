from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.data import fabrication

from omnireid.data import cuhk03_release
from omnireid.data.cuhk03_release import RELEASE_FILE, TESTSETS_FILE, Kind
from omnireid.data.datasets import load_dataset
from omnireid.errors import (
    DataError,
    IncompleteDatasetError,
    MissingDependencyError,
    OutputError,
    OutputInUseError,
    UnknownLayoutError,
)
from omnireid.files import sole_writer
from omnireid.images.decode import read_image

PEOPLE_IN_PAIR = (843, 440, 77, 58, 49)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The release as it is unpacked, with the lists of the new protocol beside it."""
    folder = tmp_path / "cuhk03"
    fabrication.cuhk03_release(folder / "cuhk03_release" / RELEASE_FILE)
    for kind in ("detected", "labeled"):
        fabrication.cuhk03_lists(folder / f"cuhk03_new_protocol_config_{kind}.mat")
    return folder


@pytest.mark.parametrize("kind", ["detected", "labeled"])
def test_the_images_of_the_release_are_extracted_as_they_are(root: Path, kind: Kind) -> None:
    folder = cuhk03_release.extract(root / "cuhk03_release" / RELEASE_FILE, kind)
    assert folder == root / "cuhk03_release" / f"images_{kind}"
    assert sorted(path.name for path in folder.iterdir()) == sorted(fabrication.cuhk03_names())
    for path in folder.iterdir():
        pair, person, _, number = (int(part) for part in path.stem.split("_"))
        expected = fabrication.cuhk03_pixels(pair, person, number, kind)
        assert expected.shape == (12, 5, 3)
        np.testing.assert_array_equal(read_image(path), expected)


def test_extraction_happens_once_and_leaves_nothing_else(root: Path) -> None:
    load_dataset(root, "cuhk03-detected")
    folder = root / "cuhk03_release"
    assert sorted(os.listdir(folder)) == sorted([RELEASE_FILE, TESTSETS_FILE, "images_detected"])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    load_dataset(root, "cuhk03-detected")
    load_dataset(root, "cuhk03-classic-detected", split=3)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_interrupted_extraction_is_done_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    folder = root / "cuhk03_release"
    written: list[Path] = []

    def interrupted(path: Path) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)

    class Stopping:
        def save(self, path: Path) -> None:
            interrupted(path)

    with monkeypatch.context() as patch:
        patch.setattr(Image, "fromarray", lambda _pixels: Stopping())
        with pytest.raises(KeyboardInterrupt):
            load_dataset(root, "cuhk03-detected")
    assert len(written) == 3
    assert not (folder / "images_detected").exists()
    (folder / ".images_detected-killed").mkdir()  # what a kill without any notice leaves behind
    assert len(load_dataset(root, "cuhk03-detected").train) == 5
    assert not list(folder.glob(".images_detected-*"))


def test_the_new_protocol_follows_its_lists(root: Path) -> None:
    dataset = load_dataset(root, "cuhk03-detected")
    assert dataset.protocol == "single-query"
    assert dataset.train.person_ids.tolist() == [1] * 5
    assert [path.name for path in dataset.query.paths] == ["1_002_1_01.png", "2_001_1_01.png"]
    assert dataset.query.person_ids.tolist() == [2, 3]
    assert dataset.gallery.camera_ids is not None
    assert dataset.gallery.camera_ids.tolist() == [2, 1, 2]
    assert any(note.startswith("train has 5 images (published: 7,365)") for note in dataset.notes)


def test_the_extracted_images_need_no_release_file(root: Path) -> None:
    by_release = load_dataset(root, "cuhk03-classic-labeled", split=1)
    new_by_release = load_dataset(root, "cuhk03-labeled")
    (root / "cuhk03_release" / RELEASE_FILE).unlink()
    assert load_dataset(root, "cuhk03-classic-labeled", split=1).query.paths == by_release.query.paths
    assert load_dataset(root, "cuhk03-labeled").gallery.paths == new_by_release.gallery.paths


def test_images_extracted_by_another_tool_are_not_extracted_again(root: Path) -> None:
    fabrication.touch(root / "images_detected", fabrication.cuhk03_names())
    dataset = load_dataset(root, "cuhk03-classic-detected")
    assert dataset.query.paths[0].parent == root / "images_detected"
    assert sorted(os.listdir(root / "cuhk03_release")) == sorted([RELEASE_FILE, TESTSETS_FILE])


def test_the_release_folder_itself_may_be_given(root: Path) -> None:
    assert len(load_dataset(root / "cuhk03_release", "cuhk03-labeled").query) == 2


@pytest.mark.parametrize("kind", ["detected", "labeled"])
def test_a_classic_split_searches_the_first_camera_in_the_second(root: Path, kind: str) -> None:
    dataset = load_dataset(root, f"cuhk03-classic-{kind}", split=2)
    assert (dataset.protocol, dataset.split_index, dataset.split_count) == ("single-gallery-shot", 2, 20)
    # Pair 5 begins after 843 + 440 + 77 + 58 people.
    assert dataset.query.person_ids.tolist() == [2, 1419]
    assert dataset.gallery.person_ids.tolist() == [2, 1419, 1419]
    assert sorted(set(dataset.train.person_ids.tolist())) == [1, 844, 1284]
    assert set(load_dataset(root, f"cuhk03-classic-{kind}", split=3).query.person_ids.tolist()) == {1, 1284}


def test_a_classic_split_out_of_range_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"cuhk03-classic-detected has 20 split\(s\).*no split 20"):
        load_dataset(root, "cuhk03-classic-detected", split=20)


def test_the_folders_of_cuhk03_np_are_read(tmp_path: Path) -> None:
    fabrication.market(tmp_path / "CUHK03-NP" / "detected")
    dataset = load_dataset(tmp_path)
    assert (dataset.layout, dataset.root) == ("cuhk03-detected", tmp_path / "CUHK03-NP")
    assert dataset.gallery.person_ids.tolist() == [0, 3, 3, 4]
    assert load_dataset(tmp_path / "CUHK03-NP" / "detected").layout == "cuhk03-detected"


def test_auto_asks_which_of_its_layouts_is_meant(root: Path) -> None:
    with pytest.raises(UnknownLayoutError, match="Several layouts fit") as caught:
        load_dataset(root)
    for name in ("cuhk03-detected", "cuhk03-labeled", "cuhk03-classic-detected", "cuhk03-classic-labeled"):
        assert f"  {name} in {root}: CUHK03" in str(caught.value)


def test_auto_takes_the_only_layout_whose_parts_are_all_there(root: Path) -> None:
    load_dataset(root, "cuhk03-detected")
    folder = root / "cuhk03_release"
    (folder / RELEASE_FILE).unlink()
    testsets = (folder / TESTSETS_FILE).read_text()
    (folder / TESTSETS_FILE).unlink()
    assert load_dataset(root).layout == "cuhk03-detected"
    (folder / TESTSETS_FILE).write_text(testsets)
    with pytest.raises(
        UnknownLayoutError, match=r"Several layouts fit(?s:.*)detected in .*(?s:.*)cuhk03-classic-detected in"
    ):
        load_dataset(root)
    (root / "cuhk03_new_protocol_config_detected.mat").unlink()
    assert load_dataset(root).layout == "cuhk03-classic-detected"


def test_missing_lists_of_the_new_protocol_are_named(root: Path) -> None:
    (root / "cuhk03_new_protocol_config_labeled.mat").unlink()
    with pytest.raises(
        IncompleteDatasetError,
        match=r"cuhk03_new_protocol_config_labeled.mat is missing.*layout cuhk03-classic-labeled",
    ):
        load_dataset(root, "cuhk03-labeled")


def test_images_without_test_sets_are_incomplete(tmp_path: Path) -> None:
    fabrication.touch(tmp_path / "images_detected", fabrication.cuhk03_names())
    with pytest.raises(IncompleteDatasetError, match="the 20 test sets are missing"):
        load_dataset(tmp_path, "cuhk03-classic-detected")


def test_listed_crops_that_are_not_there_are_named(root: Path) -> None:
    load_dataset(root, "cuhk03-detected")
    (root / "cuhk03_release" / "images_detected" / "1_002_2_06.png").unlink()
    with pytest.raises(IncompleteDatasetError, match=r"1 crops of cuhk03_new.* are not in .*: 1_002_2_06.png. Delete"):
        load_dataset(root, "cuhk03-detected")


def test_a_strange_name_is_named(root: Path) -> None:
    load_dataset(root, "cuhk03-classic-detected")
    fabrication.touch(root / "cuhk03_release" / "images_detected", ["holiday.png"])
    with pytest.raises(DataError, match=r"not named like 1_001_1_01.png .*: holiday.png"):
        load_dataset(root, "cuhk03-classic-detected")


def test_a_person_cuhk03_does_not_have_is_refused(root: Path) -> None:
    load_dataset(root, "cuhk03-classic-detected")
    fabrication.touch(root / "cuhk03_release" / "images_detected", ["5_050_1_01.png"])
    with pytest.raises(DataError, match="5_050_1_01.png names person 50 of camera pair 5"):
        load_dataset(root, "cuhk03-classic-detected")


def test_damaged_test_sets_are_named(root: Path) -> None:
    load_dataset(root, "cuhk03-classic-detected")
    (root / "cuhk03_release" / TESTSETS_FILE).write_text("[[[1, 1], [1]]]")
    with pytest.raises(DataError, match=rf"{TESTSETS_FILE} is damaged"):
        load_dataset(root, "cuhk03-classic-detected")
    (root / "cuhk03_release" / TESTSETS_FILE).write_text("[[[1, 1]]]")
    with pytest.raises(DataError, match="holds 1 test sets instead of 20, so split 1 is missing"):
        load_dataset(root, "cuhk03-classic-detected", split=1)


def test_lists_that_disagree_are_refused(root: Path) -> None:
    from scipy.io import loadmat, savemat

    lists = root / "cuhk03_new_protocol_config_detected.mat"
    variables = {name: value for name, value in loadmat(lists).items() if not name.startswith("__")}
    savemat(lists, variables | {"camId": np.ones((3, 1))})
    with pytest.raises(DataError, match="lists 15 files, 15 labels and 3 cameras"):
        load_dataset(root, "cuhk03-detected")


def test_another_or_a_damaged_release_is_refused(tmp_path: Path) -> None:
    release = fabrication.cuhk03_release(tmp_path / RELEASE_FILE, testsets=None)
    with pytest.raises(DataError, match="has no testsets; it has #refs#, detected, labeled"):
        load_dataset(tmp_path, "cuhk03-classic-detected")
    release.unlink()
    fabrication.cuhk03_release(release, testsets=np.zeros((3, 7)))
    with pytest.raises(DataError, match=r"A test set in .* has shape \(7, 3\)"):
        load_dataset(tmp_path, "cuhk03-classic-detected")
    release.write_bytes(b"MATLAB 7.3 MAT-file, cut short")
    with pytest.raises(DataError, match=f"{RELEASE_FILE} is not a readable MATLAB file"):
        load_dataset(tmp_path, "cuhk03-classic-detected")


def test_a_release_of_another_shape_is_refused(tmp_path: Path) -> None:
    import h5py

    release = tmp_path / RELEASE_FILE

    def refused(name: str, values: object, message: str) -> None:
        fabrication.cuhk03_release(release)
        with h5py.File(release, "r+") as file:
            del file[name]
            if values is None:
                file.create_group(name)
            else:
                file.create_dataset(name, data=values)
        with pytest.raises(DataError, match=message):
            load_dataset(tmp_path, "cuhk03-classic-detected")
        release.unlink()

    another = f"is damaged, or another file than CUHK03's {RELEASE_FILE} .*Copy it again"
    refused("testsets", np.zeros((1, 20)), another)
    refused("testsets", None, r"testsets in .* has 0 entries, not 20. Is it cuhk-03.mat")
    assert not (tmp_path / TESTSETS_FILE).exists()
    refused("detected", np.zeros((1, 5)), another)
    refused("detected", None, "detected in .* has 0 entries, not 5")
    assert not (tmp_path / "images_detected").exists()
    (tmp_path / TESTSETS_FILE).unlink()


def test_release_cells_of_another_kind_are_refused(tmp_path: Path) -> None:
    release = tmp_path / RELEASE_FILE
    for name, values, message in (
        ("detected", np.zeros(4), r"A camera pair in .* has shape \(4,\)"),
        ("testsets", np.full((2, 3), np.nan), r"A test set in .* holds more than numbers"),
    ):
        fabrication.cuhk03_release(release, **{name: values})
        with pytest.raises(DataError, match=message):
            load_dataset(tmp_path, "cuhk03-classic-detected")
        release.unlink()
        (tmp_path / TESTSETS_FILE).unlink(missing_ok=True)


def test_numbers_where_references_to_images_should_be_are_refused(tmp_path: Path) -> None:
    import h5py

    release = fabrication.cuhk03_release(tmp_path / RELEASE_FILE)
    with h5py.File(release, "r+") as file:
        numbers = file.create_dataset("numbers", data=np.ones((10, 2)))
        file["detected"][...] = numbers.ref
    with pytest.raises(DataError, match="is damaged, or another file than CUHK03's"):
        load_dataset(tmp_path, "cuhk03-classic-detected")


def test_images_of_another_kind_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fabrication, "cuhk03_pixels", lambda *_: np.zeros((4, 3, 2), dtype=np.float64))
    fabrication.cuhk03_release(tmp_path / RELEASE_FILE)
    with pytest.raises(DataError, match=r"Image 1_001_1_01.png in .* is float64 of shape \(4, 3, 2\), not uint8"):
        load_dataset(tmp_path, "cuhk03-classic-detected")


def test_a_damaged_part_of_the_release_is_refused(tmp_path: Path) -> None:
    import h5py

    release = fabrication.cuhk03_release(tmp_path / RELEASE_FILE)
    with h5py.File(release, "r+") as file:
        del file["testsets"]
        stored = file.create_dataset("testsets", data=np.zeros((1, 20)), chunks=(1, 20), fletcher32=True)
        file.flush()
        place = stored.id.get_chunk_info(0).byte_offset
    content = bytearray(release.read_bytes())
    content[place + 3] ^= 255
    release.write_bytes(content)
    with pytest.raises(DataError, match=rf"{RELEASE_FILE} is damaged, or another file .*Copy it again"):
        load_dataset(tmp_path, "cuhk03-classic-detected")


def test_a_folder_without_write_permission_says_what_to_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(
        OutputError,
        match=rf"cannot be extracted beside it: No permission.*copy {RELEASE_FILE} to a folder you may write",
    ):
        load_dataset(root, "cuhk03-labeled")


def test_two_extractions_at_once_are_refused(root: Path) -> None:
    with (
        sole_writer(root / "cuhk03_release" / "images_labeled"),
        pytest.raises(OutputInUseError, match="Another process is writing .*images_labeled"),
    ):
        load_dataset(root, "cuhk03-labeled")


def test_without_h5py_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match=r"needs h5py.*pip install 'omnireid\[matlab\]'"):
        load_dataset(root, "cuhk03-labeled")


@pytest.mark.real
@pytest.mark.parametrize(("kind", "images"), [("detected", (7_365, 1_400, 5_332)), ("labeled", (7_368, 1_400, 5_328))])
def test_the_real_lists_of_the_new_protocol(
    shared: Path, tmp_path: Path, kind: str, images: tuple[int, int, int]
) -> None:
    from scipy.io import loadmat

    config = shared / "data" / "splits" / "cuhk03" / f"cuhk03_new_protocol_config_{kind}.mat"
    (tmp_path / config.name).write_bytes(config.read_bytes())
    names = [str(cell[0]) for cell in loadmat(config)["filelist"].ravel()]
    folder = tmp_path / f"images_{kind}"
    picture = fabrication.draw(folder / names[0], 0, 16, 8)
    for name in names[1:]:
        os.link(picture, folder / name)
    dataset = load_dataset(tmp_path, f"cuhk03-{kind}")
    assert dataset.notes == ()
    people = (767, 700, 700)
    for split, count, identities in zip((dataset.train, dataset.query, dataset.gallery), images, people, strict=True):
        assert (len(split), len(np.unique(split.person_ids))) == (count, identities)
        assert split.camera_ids is not None
        for path, person, camera in zip(split.paths, split.person_ids, split.camera_ids, strict=True):
            pair, number, view, _ = (int(part) for part in path.stem.split("_"))
            assert camera == view
            # The numbering of the classic splits here is that of the published lists.
            assert person == sum(PEOPLE_IN_PAIR[: pair - 1]) + number
    assert not set(dataset.train.person_ids.tolist()) & set(dataset.gallery.person_ids.tolist())
