from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from tests.data.fabrication import touch

from omnireid.data.folders import existing_forms, given_path, missing_files, without_repeats
from omnireid.errors import DataError


def test_missing_files_keep_their_order(tmp_path: Path) -> None:
    touch(tmp_path, ["a/1.jpg", "a/2.jpg"])
    paths = [tmp_path / name for name in ("b/9.jpg", "a/1.jpg", "a/0.jpg", "a/2.jpg")]
    assert missing_files(paths) == [paths[0], paths[2]]


def test_files_that_cannot_be_there_are_missing(tmp_path: Path) -> None:
    touch(tmp_path, ["a/1.jpg"])
    paths = [tmp_path / "a" / f"{'x' * 300}.jpg", tmp_path / "a\0b" / "1.jpg", tmp_path / "a" / "1.jpg"]
    assert missing_files(paths) == paths[:2]


def test_a_folder_of_listed_files_that_is_locked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"Cannot look into the folder .*a: Permission denied"):
        missing_files([tmp_path / "a" / "1.jpg"])


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system does not tell the two forms apart there")
def test_a_path_is_found_under_the_other_normal_form(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    touch(tmp_path, [f"{decomposed}/{composed}.jpg"])
    asked = [tmp_path / composed / f"{decomposed}.jpg", tmp_path / decomposed / "none.jpg", tmp_path / "ascii.jpg"]
    assert existing_forms(asked) == [tmp_path / decomposed / f"{composed}.jpg", *asked[1:]]
    assert given_path(tmp_path / composed) == tmp_path / decomposed


def test_a_path_that_is_written_in_two_ways_is_one(tmp_path: Path) -> None:
    touch(tmp_path, ["a/1.jpg", "b/1.jpg"])
    around = tmp_path / "b" / ".." / "a" / "1.jpg"
    assert without_repeats([around, tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg"]) == [
        around,
        tmp_path / "b" / "1.jpg",
    ]
