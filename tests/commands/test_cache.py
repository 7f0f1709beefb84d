from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from omnireid.cli import main


def test_building_listing_and_removing(crop_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--pixel-cache-folder", str(tmp_path)]
    size = ["--height", "8", "--width", "4"]
    assert main(["cache", "--build", str(crop_folder), "--use-test-identities", *size, *where]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"/([0-9a-f]{64})\.npy: 12 crops of 8 × 4, 0\.0 MB", printed)
    assert found
    assert main(["cache", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        rf"{found[1][:12]}  12 crops of 8 × 4 +0\.0 MB  last used \d{{4}}-\d\d-\d\d \d\d:\d\d", lines[0]
    )
    assert lines[1].startswith(f"1 pixel cache in {tmp_path}, 0.0 MB. To free the space: omnireid cache --remove all")
    assert main(["cache", "--remove", found[1][:12], *where]) == 0
    assert capsys.readouterr().out == f"freed 0.0 MB in {tmp_path}\n"
    assert os.listdir(tmp_path) == []


def test_what_an_interrupted_build_left_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f".{'f' * 64}-0123456789ab.npy").write_bytes(b"half")
    assert main(["cache", "--pixel-cache-folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("ffffffffffff  unfinished ")


def test_the_old_verb_still_works_and_names_the_new_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "--store-folder", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"0 pixel caches in {tmp_path}, 0.0 MB.\n"
    assert printed.err == "note: 'omnireid store' is now 'omnireid cache'; the old name goes with the next release.\n"
    assert main(["--help"]) == 0
    assert "\n  store " not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--remove", "abc"], "error: No pixel cache in .* begins with 'abc'"),
        (["--remove", "all", "--build", "people"], "error: --build and --remove were given together"),
        (["--build", "nowhere"], "error: There is no nowhere"),
    ],
)
def test_errors_leave_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["cache", *words, "--pixel-cache-folder", str(tmp_path)]) == 2
    assert re.match(message, capsys.readouterr().err)
