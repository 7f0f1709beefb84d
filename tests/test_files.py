from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from omnireid.errors import DiskFullError, OutputError, OutputInUseError
from omnireid.files import (
    atomic_folder,
    atomic_output,
    check_new_folder,
    check_output,
    make_folder,
    output_error,
    sha256_of,
    sole_writer,
    write_json,
)


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_output(path) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError("killed")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]
    with atomic_output(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".json"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_result_is_as_readable_as_any_other_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_output(tmp_path / "result") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "result").stat().st_mode == plain.stat().st_mode


def test_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(DiskFullError, match=r"No space left.*result\.json.*What was there before is untouched"):
        with atomic_output(path):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model"
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "first").write_text("half")
        raise RuntimeError("killed")
    assert os.listdir(tmp_path / "new") == []
    with atomic_folder(path) as temporary:
        (temporary / "first").write_text("whole")
        assert not path.exists()
    assert (path / "first").read_text() == "whole"
    assert os.listdir(tmp_path / "new") == ["model"]
    with pytest.raises(OutputError, match="model: it exists already"), atomic_folder(path):
        pass
    with pytest.raises(OutputError, match=r"Cannot write .*raced"), atomic_folder(tmp_path / "raced"):
        make_folder(tmp_path / "raced" / "by another")
    assert (path / "first").read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == ["new", "raced"]


def test_a_check_of_a_folder_creates_nothing(tmp_path: Path) -> None:
    check_new_folder(tmp_path / "new" / "model")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file or folder of another kind is in the way"):
        check_new_folder(tmp_path / "file" / "model")
    with pytest.raises(OutputError, match="cannot be the name of a file"):
        check_new_folder(tmp_path / "a\0b")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_full_disk_as_the_system_says_it() -> None:
    with pytest.raises(OSError, match="No space left") as caught, Path("/dev/full").open("wb") as stream:
        stream.write(b"x" * 100_000)
        stream.flush()
    assert isinstance(output_error(caught.value, Path("out")), DiskFullError)


def test_no_permission() -> None:
    error = output_error(PermissionError(errno.EACCES, "Permission denied"), Path("/etc/out.json"))
    assert isinstance(error, OutputError)
    assert "No permission to write /etc/out.json. Choose another output" in str(error)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a folder nobody can write, such as /proc")
def test_a_folder_that_cannot_be_written() -> None:
    with pytest.raises(OutputError, match="Cannot write /proc"), atomic_output(Path("/proc/result.json")):
        pass


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="a file or folder of another kind is in the way"):
        make_folder(tmp_path / "taken" / "below")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="is a folder or a device, not a file"), atomic_output(tmp_path / "folder"):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe to stand for a device")
def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OutputError, match="is a folder or a device, not a file"), atomic_output(fifo):
        pass
    assert fifo.is_fifo()


def test_whether_an_output_can_be_written_is_seen_beforehand(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    check_output(path)
    assert os.listdir(tmp_path) == []
    with pytest.raises(OutputError, match="not a file"):
        check_output(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="of another kind is in the way"):
        check_output(tmp_path / "file" / "result.json")
    with pytest.raises(OutputError, match="File name too long"):
        check_output(tmp_path / ("x" * 300 + ".json"))
    with pytest.raises(OutputError, match=r"'.*a\\x00b' cannot be the name of a file"):
        check_output(tmp_path / "a\0b")


@pytest.mark.parametrize("name", ["crop.jpg", "sub/../crop.jpg", "link.jpg", "hard.jpg"])
def test_an_input_is_never_an_output(tmp_path: Path, name: str) -> None:
    crop = tmp_path / "crop.jpg"
    crop.write_bytes(b"pixels")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.jpg").symlink_to(crop)
    os.link(crop, tmp_path / "hard.jpg")
    with pytest.raises(OutputError, match=r"is an input of this command \(.*crop\.jpg\), which would be lost"):
        check_output(tmp_path / name, inputs=["https://no.file", tmp_path / "gone.jpg", crop])
    check_output(tmp_path / "other.jpg", inputs=[crop])


def test_a_suffix_says_what_is_written() -> None:
    check_output(Path("out.JSON"), suffix=".json")
    with pytest.raises(OutputError, match=r"name ends in \.parquet; got a.out\.csv\. Try a.out\.parquet"):
        check_output(Path("a/out.csv"), suffix=".parquet")


def test_json_is_written_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "out.json", {"path": "caf\udce9", "rank1": 0.5})
    assert json.loads((tmp_path / "new" / "out.json").read_text()) == {"path": "caf\udce9", "rank1": 0.5}
    with pytest.raises(TypeError):
        write_json(tmp_path / "new" / "out.json", {"path": Path("a")})
    assert json.loads((tmp_path / "new" / "out.json").read_text())["rank1"] == 0.5
    assert os.listdir(tmp_path / "new") == ["out.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_output(tmp_path / "link") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def _hold(path: Path, held: multiprocessing.synchronize.Event, release: multiprocessing.synchronize.Event) -> None:
    with sole_writer(path):
        held.set()
        release.wait(30)


def test_two_processes_writing_the_same_output(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "out.parquet", held, release))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(OutputInUseError, match=r"Another process is writing .*out\.parquet"):
            with sole_writer(tmp_path / "out.parquet"):
                pass
    finally:
        release.set()
        other.join(30)
    with sole_writer(tmp_path / "out.parquet"):
        assert os.listdir(tmp_path) == [".out.parquet.lock"]
    assert os.listdir(tmp_path) == []


def test_the_second_writer_may_wait(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "store.npy", held, release))
    other.start()
    entered = threading.Event()

    def enter() -> None:
        with sole_writer(tmp_path / "store.npy", wait=True):
            entered.set()

    waiting = threading.Thread(target=enter)
    try:
        assert held.wait(30)
        waiting.start()
        assert not entered.wait(0.2)
    finally:
        release.set()
        other.join(30)
        waiting.join(30)
    assert entered.is_set()
    assert os.listdir(tmp_path) == []


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
