from pathlib import Path

import pytest

from omnireid.cli import main

ARGUMENTS = ["--identities", "2", "--cameras", "2", "--per-camera", "2", "--height", "32"]


def test_it_says_what_was_written_and_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, sheet = tmp_path / "drawn", tmp_path / "sheet.png"
    assert main(["synthesize", str(root), *ARGUMENTS, "--cue", "fine", "--sheet", str(sheet)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{root}: 8 drawn crops of 2 people by 2 cameras (4 train, 2 query, 2 gallery)",
        f"{sheet}: a sheet of some of them, with a row per person and a column per camera",
        f"Next: omnireid evaluate --weights WEIGHTS --data {root}",
    ]
    assert sheet.is_file()


def test_one_camera_is_evaluated_without_cameras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", str(tmp_path / "drawn"), *ARGUMENTS, "--cameras", "1"]) == 0
    assert capsys.readouterr().out.endswith("--protocol no-cameras\n")


def test_a_sheet_that_cannot_be_written_is_refused_before_anything_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["synthesize", str(tmp_path / "drawn"), *ARGUMENTS, "--sheet", str(tmp_path / "sheet.txt")]
    assert main(words) == 2
    assert "A sheet is a" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_sheet_never_replaces_a_crop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crop = tmp_path / "drawn" / "query" / "0002_c1s1_000000_00.jpg"
    crop.parent.mkdir(parents=True)
    crop.write_bytes(b"pixels")
    assert main(["synthesize", str(tmp_path / "drawn"), *ARGUMENTS, "--sheet", str(crop)]) == 2
    assert "it is an input of this command" in capsys.readouterr().err
    assert crop.read_bytes() == b"pixels"
