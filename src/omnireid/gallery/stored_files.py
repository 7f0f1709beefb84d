"""The files of a gallery, in a folder or on S3: listed, measured, and searched for bytes that must not be there."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from omnireid.gallery.database import Database

if TYPE_CHECKING:
    from pathlib import Path

    from pyarrow.fs import S3FileSystem

_S3 = "s3://"
_S3_SETTINGS = {
    "access_key": ("access_key_id",),
    "secret_key": ("secret_access_key",),
    "session_token": ("session_token", "token"),
    "region": ("region", "default_region"),
    "endpoint_override": ("endpoint", "endpoint_url"),
}
"""What pyarrow calls a setting, and what LanceDB calls it, there with or without ``aws_`` in front."""


class _Content(Protocol):
    """The bytes of a file."""

    def find(self, needle: bytes, /) -> int: ...


def list_stored_files(database: Database) -> dict[str, int] | None:
    """Name below the gallery's place, and size in bytes, of each of its files.

    Returns:
        The files; None for an address that is neither a folder nor on S3, whose files cannot be listed.
    """
    folder = database.folder
    if folder is not None:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    system = _s3(database)
    if system is None:
        return None
    from pyarrow.fs import FileSelector, FileType

    place = _s3_place(database)
    with database.reading():
        found = system.get_file_info(FileSelector(place, recursive=True, allow_not_found=True))
    return {info.path[len(place) + 1 :]: info.size for info in found if info.type == FileType.File}


def stored_bytes(database: Database) -> int | None:
    """Size of all files of a gallery in bytes; None where they cannot be listed."""
    files = list_stored_files(database)
    return None if files is None else sum(files.values())


def files_with_bytes(database: Database, names: Iterable[str], needles: Sequence[bytes]) -> list[str]:
    """The files among `names` in which any of the needles is found, with the gallery's place in front."""
    return [
        f"{database.uri}/{name}"
        for name in names
        if any(content.find(needle) >= 0 for content in _read(database, name) for needle in needles)
    ]


def _read(database: Database, name: str) -> Iterator[_Content]:
    """The content of a file; nothing where it is empty."""
    if database.folder is not None:
        with _mapped(database.folder / name) as content:
            if content is not None:
                yield content
        return
    system = _s3(database)
    assert system is not None, "names of files come from list_stored_files"
    with database.reading():
        content = system.open_input_file(f"{_s3_place(database)}/{name}").read()
    yield content


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | None]:
    if not path.stat().st_size:
        yield None
        return
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _s3_place(database: Database) -> str:
    return database.uri.removeprefix(_S3).rstrip("/")


def _s3(database: Database) -> S3FileSystem | None:
    """S3 as pyarrow opens it, with the settings that LanceDB has; None for other places."""
    if not database.uri.startswith(_S3):
        return None
    try:
        from pyarrow.fs import S3FileSystem
    except ImportError:  # pyarrow can be built without S3
        return None
    return S3FileSystem(**s3_settings(database.storage_options, os.environ))


def s3_settings(storage_options: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of S3 in pyarrow's names. Options count before environment variables, as in LanceDB."""
    given = {name.lower().removeprefix("aws_"): value for name, value in storage_options.items()}
    variables = {
        name.lower().removeprefix("aws_"): value for name, value in environment.items() if name.startswith("AWS_")
    }
    settings = {}
    for pyarrow_name, names in _S3_SETTINGS.items():
        values = [source[name] for source in (given, variables) for name in names if source.get(name)]
        if values:
            settings[pyarrow_name] = values[0]
    return settings
