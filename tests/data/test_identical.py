from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from omnireid.data.identical import find_shared_crops, group_identical


def written(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def test_files_are_identical_by_content_and_not_by_size(tmp_path: Path) -> None:
    paths = written(tmp_path, {"a": b"one", "b": b"two", "c": b"one", "d": b"longer", "e": b"one"})
    assert group_identical(paths) == [[0, 2, 4]]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_to_one_file_and_one_path_written_in_two_ways_are_identical(tmp_path: Path) -> None:
    (file,) = written(tmp_path, {"a": b"one"})
    (tmp_path / "soft").symlink_to(file)
    (tmp_path / "hard").hardlink_to(file)
    (tmp_path / "folder").mkdir()
    around = tmp_path / "folder" / ".." / "a"
    assert group_identical([file, tmp_path / "soft", tmp_path / "hard", around, file]) == [[0, 1, 2, 3, 4]]


def test_files_of_a_size_of_their_own_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = written(tmp_path, {"a": b"1", "b": b"22", "c": b"333", "d": b"444"})
    read: list[str] = []
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert group_identical(paths) == []
    assert sorted(read) == ["c", "d"]


def test_empty_missing_and_unreadable_files_equal_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    paths = written(tmp_path, {"a": b"", "b": b"", "c": b"1", "d": b"1"})
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert group_identical([*paths, tmp_path / "none", tmp_path / "none"]) == []


def test_crops_shared_by_query_and_gallery_come_as_pairs_of_indices(tmp_path: Path) -> None:
    query = written(tmp_path, {"q0": b"one", "q1": b"two"})
    gallery = written(tmp_path, {"g0": b"two", "g1": b"six", "g2": b"six"})
    shutil.copy(query[1], tmp_path / "g3")
    assert find_shared_crops(query, [*gallery, tmp_path / "g3"]) == [(1, 0), (1, 3)]
    assert find_shared_crops(query, query) == [(0, 0), (1, 1)]
    assert find_shared_crops([], gallery) == []
