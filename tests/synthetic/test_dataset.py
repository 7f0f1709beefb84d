import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from omnireid.data.attribute_list import ATTRIBUTES_FILE
from omnireid.data.synthetic_marker import MARKER
from omnireid.errors import (
    DataNotFoundError,
    DiskFullError,
    IncompleteDatasetError,
    OutputError,
    OutputInUseError,
    SettingError,
    StoppedError,
)
from omnireid.files import sole_writer
from omnireid.synthetic import dataset
from omnireid.synthetic.dataset import draw_sheet, synthesize
from omnireid.synthetic.pedestrian import Cue

SMALL: dict[str, Any] = {"identities": 4, "cameras": 2, "per_camera": 2, "height": 32}


def contents(root: Path) -> dict[str, bytes]:
    """Every file under `root` by its relative name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def crops(root: Path) -> dict[str, bytes]:
    return {name: file for name, file in contents(root).items() if name.endswith(".jpg")}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("drawn") / "small", **SMALL)


def test_the_layout_is_market_1501s(small: Path) -> None:
    folders = ["bounding_box_test", "bounding_box_train", "query"]
    assert sorted(path.name for path in small.iterdir()) == [ATTRIBUTES_FILE, *folders, MARKER]
    counts = {
        folder: len(list((small / folder).iterdir())) for folder in ("bounding_box_train", "query", "bounding_box_test")
    }
    assert counts == {"bounding_box_train": 8, "query": 4, "bounding_box_test": 4}
    for path in small.glob("*/*.jpg"):
        with Image.open(path) as picture:
            assert (picture.format, picture.size, picture.mode) == ("JPEG", (16, 32), "RGB")


def test_the_marker_holds_every_parameter(small: Path) -> None:
    assert json.loads((small / MARKER).read_text(encoding="utf-8")) == {
        "omnireid_synthetic": 1,
        **SMALL,
        "distractors": 0,
        "seed": 0,
        "cue": "mixed",
        "difficulty": 0.5,
        "crops": {"train": 8, "query": 4, "gallery": 4},
    }


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(
    small: Path, tmp_path: Path, workers: int
) -> None:
    again = synthesize(tmp_path / "again", **SMALL, workers=workers)
    assert contents(again) == contents(small)


def test_another_seed_gives_other_pictures(small: Path, tmp_path: Path) -> None:
    other = synthesize(tmp_path / "other", **SMALL, seed=1)
    assert not set(crops(other).values()) & set(crops(small).values())


@pytest.mark.parametrize("more", [{"identities": 6}, {"cameras": 3}, {"per_camera": 3}, {"distractors": 2}])
def test_a_larger_set_contains_the_smaller_one(small: Path, tmp_path: Path, more: dict[str, int]) -> None:
    larger = crops(synthesize(tmp_path / "larger", **{**SMALL, **more}))
    assert crops(small).items() < larger.items()


def body_rank_1(root: Path) -> float:
    """How often the mean colours of a grid over the body find the same person in another camera."""

    def described(folder: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int_], npt.NDArray[np.int_]]:
        paths = sorted((root / folder).glob("*.jpg"))
        grids = []
        for path in paths:
            with Image.open(path) as picture:
                grid = np.asarray(picture, dtype=float)[8:, 10:-10]
            coarse = grid[: len(grid) // 8 * 8].reshape(len(grid) // 8, 8, -1, 3).mean(axis=(1, 2))
            grids.append((coarse / coarse.mean(axis=0)).ravel())
        ids = np.array([[int(path.name[:4]), int(path.name[6])] for path in paths])
        return np.array(grids), ids[:, 0], ids[:, 1]

    query, person, camera = described("query")
    gallery, other_person, other_camera = described("bounding_box_test")
    distances = ((query[:, None] - gallery[None]) ** 2).sum(axis=-1)
    distances[camera[:, None] == other_camera[None]] = np.inf
    return float((other_person[distances.argmin(axis=1)] == person).mean())


def test_colours_find_people_by_the_global_cue_and_not_by_the_fine_one(tmp_path: Path) -> None:
    cues: tuple[Cue, ...] = ("global", "fine")
    whole, fine = (
        body_rank_1(
            synthesize(tmp_path / cue, identities=24, cameras=2, per_camera=2, height=64, cue=cue, difficulty=0.0)
        )
        for cue in cues
    )
    chance = 1 / 12
    assert whole > 5 * chance
    assert fine < 0.6 * whole


def test_the_very_same_set_is_left_as_it_is(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("drawn again")

    before = contents(small)
    monkeypatch.setattr(dataset, "draw_planned", refuse)
    assert synthesize(small, **SMALL) == small
    assert contents(small) == before


def test_a_set_drawn_before_attributes_were_written_gets_them(small: Path, tmp_path: Path) -> None:
    root = synthesize(tmp_path / "set", **SMALL)
    (root / ATTRIBUTES_FILE).unlink()
    synthesize(root, **SMALL)
    assert contents(root) == contents(small)


def test_another_set_is_not_overwritten(small: Path) -> None:
    with pytest.raises(OutputError, match=r"it holds a synthetic set with seed=0 \(not 1\)\. Choose another output"):
        synthesize(small, **SMALL, seed=1)


def test_the_same_set_with_holes_is_named(tmp_path: Path) -> None:
    root = synthesize(tmp_path / "set", **SMALL)
    lost = min((root / "query").iterdir())
    lost.unlink()
    with pytest.raises(OutputError, match=rf"1 of its 16 crops are missing or empty, the first of them .*{lost.name}"):
        synthesize(root, **SMALL)


@pytest.mark.parametrize("marker", [None, "no json", "[]", '{"omnireid_synthetic": 2}', '{"omnireid_synthetic": 1}'])
def test_a_folder_of_something_else_is_not_touched(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker, encoding="utf-8")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"it is not empty and holds no synthetic set\. Choose another output"):
        synthesize(tmp_path, **SMALL)
    assert contents(tmp_path) == before


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"file: it is a file\. Choose another output"):
        synthesize(tmp_path / "file", **SMALL)
    with pytest.raises(OutputError, match="in the way"):
        synthesize(tmp_path / "file" / "below", **SMALL)


def test_an_empty_folder_is_filled(small: Path, tmp_path: Path) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    synthesize(root, **SMALL)
    assert contents(root) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_parent_is_created_and_nothing_else_stays_beside_the_set(small: Path, tmp_path: Path) -> None:
    root = synthesize(tmp_path / "new" / "set", **SMALL)
    assert contents(root) == contents(small)
    assert [path.name for path in root.parent.iterdir()] == ["set"]


def test_what_a_killed_run_left_is_cleared(small: Path, tmp_path: Path) -> None:
    left = tmp_path / ".set.partial" / "query"
    left.mkdir(parents=True)
    (left / "half.jpg").write_bytes(b"half")
    assert contents(synthesize(tmp_path / "set", **SMALL)) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("moved", [0, 1, 3, 4, 5])
def test_a_kill_while_an_empty_folder_is_filled_is_made_good_by_the_next_run(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    move = shutil.move
    done: list[object] = []

    def killed(source: Path, target: Path) -> None:
        if len(done) == moved:
            raise KeyboardInterrupt
        done.append(move(source, target))

    unlink = Path.unlink

    def killed_at_the_sign(path: Path, missing_ok: bool = False) -> None:
        if path.name == dataset._MOVING:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "move", killed)
        if moved == 5:
            patch.setattr(Path, "unlink", killed_at_the_sign)
        patch.setattr(dataset, "_clear_unfinished", lambda _root: None)  # a kill leaves no time to clear up
        with pytest.raises((StoppedError, KeyboardInterrupt)):
            synthesize(root, **SMALL)
    assert any(root.iterdir())
    assert contents(synthesize(root, **SMALL)) == contents(small)
    assert not [path for path in root.iterdir() if path.name.startswith(".")]


def test_ctrl_c_while_an_empty_folder_is_filled_leaves_it_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = shutil.move
    done: list[object] = []

    def stopped(source: Path, target: Path) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(move(source, target))

    monkeypatch.setattr(shutil, "move", stopped)
    with pytest.raises(StoppedError, match="nothing is left of"):
        synthesize(tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())


def test_what_is_not_of_an_unfinished_set_is_never_cleared(tmp_path: Path) -> None:
    for name in (".synthetic-unfinished", "query/mine.jpg", "mine.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="it is not empty and holds no synthetic set"):
        synthesize(tmp_path, **SMALL)
    assert contents(tmp_path) == before


def failing_write(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the fifth crop fail."""
    write, written = Path.write_bytes, []

    def fail(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 5:
            raise error
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail)


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            DiskFullError,
            "No space left on the disk while writing .*set",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), OutputError, "No permission to write .*set"),
        (KeyboardInterrupt(), StoppedError, r"Stopped; nothing is left of .*set\. Run the same command"),
    ],
)
def test_nothing_half_drawn_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: type[Exception], message: str
) -> None:
    failing_write(monkeypatch, error)
    with pytest.raises(expected, match=message):
        synthesize(tmp_path / "set", **SMALL)
    assert not list(tmp_path.iterdir())


def test_two_writers_of_one_set_are_refused(tmp_path: Path) -> None:
    with sole_writer(tmp_path / "set"), pytest.raises(OutputInUseError, match="Another process is writing"):
        synthesize(tmp_path / "set", **SMALL)


def test_a_bad_parameter_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="identities must be 2 to 9999"):
        synthesize(tmp_path / "set", identities=1)
    with pytest.raises(SettingError, match="workers must be 1 or more; got 0"):
        synthesize(tmp_path / "set", **SMALL, workers=0)
    assert not list(tmp_path.iterdir())


def test_a_sheet_has_a_row_a_person_and_a_column_a_camera(small: Path, tmp_path: Path) -> None:
    sheet = draw_sheet(small, tmp_path / "sheet.png", people=3)
    with Image.open(sheet) as picture:
        assert picture.size == (2 * (16 + 4) + 4, 3 * (32 + 4) + 4)
        first = picture.crop((4, 4, 20, 36))
    path = next((small / "bounding_box_train").glob("0001_c1*_01.jpg"))
    with Image.open(path) as crop:
        assert np.array_equal(np.asarray(first), np.asarray(crop))


def test_a_sheet_of_no_set_or_half_a_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="is no synthetic data set: it has no readable synthetic.json"):
        draw_sheet(tmp_path, tmp_path / "sheet.png")
    root = synthesize(tmp_path / "set", **SMALL)
    next((root / "bounding_box_train").glob("0001_c1*_01.jpg")).unlink()
    with pytest.raises(IncompleteDatasetError, match=r"0001_c1.* is missing\. Delete .*set and draw the set again\."):
        draw_sheet(root, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_a_sheet_is_a_picture(small: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"A sheet is a \.png or \.jpg file; got .*sheet\.txt"):
        draw_sheet(small, tmp_path / "sheet.txt")


@pytest.mark.slow
def test_the_default_set_is_complete_in_every_way(tmp_path: Path) -> None:
    root = synthesize(tmp_path / "default")
    assert len(crops(root)) == 2400
    assert len(set(crops(root).values())) == 2400
