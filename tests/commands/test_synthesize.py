from pathlib import Path

import pytest
import tyro

from omnireid.commands.synthesize import synthesize
from omnireid.errors import OutputError

ARGUMENTS = ["--identities", "2", "--cameras", "2", "--per-camera", "2", "--height", "32"]


def run(*arguments: str) -> None:
    tyro.cli(synthesize, args=list(arguments))


def test_it_says_what_was_written_and_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, sheet = tmp_path / "drawn", tmp_path / "sheet.png"
    run(str(root), *ARGUMENTS, "--cue", "fine", "--sheet", str(sheet))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{root}: 8 drawn crops of 2 people by 2 cameras (4 train, 2 query, 2 gallery)",
        f"{sheet}: some of them, a row a person and a column a camera",
        f"Next: omnireid evaluate --weights WEIGHTS --data {root}",
    ]
    assert sheet.is_file()


def test_one_camera_is_evaluated_without_cameras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(tmp_path / "drawn"), *ARGUMENTS, "--cameras", "1")
    assert capsys.readouterr().out.endswith("--protocol no-cameras\n")


def test_a_sheet_that_cannot_be_written_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="A sheet is a"):
        run(str(tmp_path / "drawn"), *ARGUMENTS, "--sheet", str(tmp_path / "sheet.txt"))
    assert not list(tmp_path.iterdir())


def test_the_help_explains_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("--help")
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "{fine,middle,global,mixed}" in text
    assert "Example: omnireid synthesize drawn" in text
