from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from omnireid.addresses import Address, file_versions, find_files, glob_files, is_address, path_of, uploaded
from omnireid.errors import DataError, DataNotFoundError, MissingDependencyError, OutputError, SettingError
from omnireid.files import as_path, atomic_output, check_output
from omnireid.types import Crops


@pytest.fixture
def memory() -> Iterator[Address]:
    """A folder of fsspec's memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe_file("memory://site/a/1.jpg", b"one")
    system.pipe_file("memory://site/b.png", b"two")
    yield Address("memory://site")
    system.store.clear()


def test_an_address_is_a_path_that_keeps_its_slashes() -> None:
    address = path_of("S3://bucket/crops/1.jpg")
    assert isinstance(address, Address)
    assert str(address) == "s3://bucket/crops/1.jpg"
    assert str(address.parent / "2.jpg") == "s3://bucket/crops/2.jpg"
    assert (address.name, address.suffix, address.protocol) == ("1.jpg", ".jpg", "s3")
    assert pickle.loads(pickle.dumps(address)) == address
    assert address.absolute() == address
    assert Crops(("s3://bucket/crops/1.jpg",)).paths == (address,)  # type: ignore[arg-type]


def test_a_file_of_this_machine_is_a_path() -> None:
    assert path_of("file:///data/1.jpg") == Path("/data/1.jpg")
    assert not isinstance(path_of("crops/1.jpg"), Address)
    assert not is_address("C:/crops/1.jpg")


@pytest.mark.parametrize("text", ["s3://", "s3:///1.jpg", "s3://bucket//1.jpg", "zip://a.jpg::s3://bucket/a.zip"])
def test_an_address_that_a_path_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is no address that can be used"):
        path_of(text)
    with pytest.raises(SettingError, match="output: "):
        as_path(text, "output")


def test_files_are_listed_in_order_and_have_versions(memory: Address) -> None:
    assert [str(found) for found in find_files(memory)] == ["memory://site/a/1.jpg", "memory://site/b.png"]
    assert [found.name for found in glob_files(memory / "*.png")] == ["b.png"]
    files = [memory / "a" / "1.jpg", memory / "a" / "gone.jpg", memory / "nowhere" / "1.jpg"]
    before = file_versions(files)
    assert list(before) == files[:1]
    fsspec.filesystem("memory").pipe_file("memory://site/a/1.jpg", b"another")
    assert file_versions(files) != before
    with pytest.raises(DataNotFoundError, match="There is no memory://site/gone"):
        (memory / "gone").read_bytes()


def test_nothing_appears_under_the_final_name_until_the_file_is_whole(memory: Address) -> None:
    target = memory / "out.parquet"
    with pytest.raises(ZeroDivisionError), atomic_output(target) as file:
        file.write_bytes(b"half")
        assert not target.exists()
        raise ZeroDivisionError
    assert not target.exists()
    with atomic_output(target) as file:
        file.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"


class Folders(LocalFileSystem):  # type: ignore[misc]
    """A file system with folders, whose uploads may fail when half of a file is there."""

    protocol = "folders"
    root = Path()
    fails = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(cls.root / path.removeprefix("folders://").removeprefix(str(cls.root)).lstrip("/"))

    def put_file(self, path1: str, path2: str, callback: object = None, **options: object) -> None:
        content = Path(path1).read_bytes()
        Path(self._strip_protocol(path2)).write_bytes(content[:2] if self.fails else content)
        if self.fails:
            raise TimeoutError("the line is dead")


def test_where_a_half_upload_can_be_seen_the_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folders, "root", tmp_path)
    fsspec.register_implementation("folders", Folders, clobber=True)
    target = Address("folders://host/new/out.parquet")
    with uploaded(target) as file:
        file.write_bytes(b"whole")
    monkeypatch.setattr(Folders, "fails", True)
    with pytest.raises(OutputError, match=r"Cannot write folders://host/new/out\.parquet: the line is dead"):
        with uploaded(target) as file:
            file.write_bytes(b"other")
    assert [path.name for path in (tmp_path / "host" / "new").iterdir()] == ["out.parquet"]
    assert (tmp_path / "host" / "new" / "out.parquet").read_bytes() == b"whole"


def test_an_output_is_checked_before_the_work(memory: Address) -> None:
    check_output(memory / "out.parquet", suffix=".parquet")
    assert [found.name for found in find_files(memory)] == ["1.jpg", "b.png"]
    with pytest.raises(OutputError, match=r"it is an input of this command \(memory://site/b\.png\)"):
        check_output(memory / "b.png", inputs=[memory / "b.png"])
    with pytest.raises(OutputError, match="fsspec knows no protocol nowhere://"):
        check_output(Address("nowhere://host/out.parquet"))
    with pytest.raises(OutputError, match="files are only read over HTTP"):
        check_output(Address("https://127.0.0.1:9/out.parquet"))


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"].__dict__["_registry"], "s3", raising=False)
    with pytest.raises(MissingDependencyError, match=r"Install it with: pip install 'omnireid\[s3\]'"):
        Address("s3://bucket/1.jpg").read_bytes()
