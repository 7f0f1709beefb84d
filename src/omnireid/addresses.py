"""Addresses such as ``s3://bucket/crops/1.jpg``: paths of files on other machines, read and written through fsspec."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from omnireid.errors import (
    DataError,
    DataNotFoundError,
    MissingDependencyError,
    OmnireidError,
    OutputError,
    first_line,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    _SystemPath = Path
else:
    _SystemPath = type(Path())

_PROTOCOL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.\-]+)://")
_LOCAL = ("file", "local")
_WITHOUT_FOLDERS = ("http", "https")
"""Protocols whose folders cannot be listed and whose files cannot be written."""

_EXTRAS = {"s3": "s3", "s3a": "s3"}
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
"""Protocols where an object appears whole or not at all, and where a folder need not be made. Elsewhere a file is
uploaded under another name and renamed."""


class Address(_SystemPath):
    """The path of a file that fsspec reaches. It keeps both slashes after its protocol, in text and in tables.

    Names, parents and ``/`` work as for any path. Functions of the system, such as `os.stat`, do not find the file.
    """

    def __str__(self) -> str:
        protocol, slash, rest = super().__str__().replace("\\", "/").partition(":/")
        return f"{protocol}://{rest}" if slash else protocol

    @property
    def protocol(self) -> str:
        """The part before ``://``, in lower case."""
        return str(self).partition("://")[0].lower()

    def absolute(self) -> Address:
        """The same address, which is absolute always."""
        return self

    def is_absolute(self) -> bool:
        """Always true."""
        return True

    def exists(self, **_options: bool) -> bool:
        """Whether there is a file or folder."""
        with reading_errors(self):
            return bool(_filesystem(self).exists(str(self)))

    def is_file(self, **_options: bool) -> bool:
        """Whether there is a file."""
        with reading_errors(self):
            return bool(_filesystem(self).isfile(str(self)))

    def is_dir(self, **_options: bool) -> bool:
        """Whether there is a folder; in object storage, whether anything is below the address."""
        with reading_errors(self):
            return bool(_filesystem(self).isdir(str(self)))

    def open(  # type: ignore[override]
        self,
        mode: str = "r",
        buffering: int = -1,  # noqa: ARG002 (pathlib passes it)
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open the file for reading.

        Raises:
            DataError: it cannot be read.
        """
        text = {} if "b" in mode else {"encoding": encoding, "errors": errors, "newline": newline}
        with reading_errors(self):
            stream: IO[Any] = _filesystem(self).open(str(self), mode, **text)
            return stream

    def read_bytes(self) -> bytes:
        """The content of the file.

        Raises:
            DataNotFoundError: there is no such file.
            DataError: it cannot be read.
        """
        with reading_errors(self):
            content: bytes = _filesystem(self).cat_file(str(self))
            return content


def is_address(text: str) -> bool:
    """Whether a text begins as an address does, with a protocol and ``://``."""
    return _PROTOCOL.match(text) is not None


def path_of(text: str) -> Path:
    """The path that a text means: an `Address`, or a path of this machine, also for ``file:///folder/name``.

    Raises:
        DataError: an address that names no bucket or host, or two slashes in a row, which a path cannot keep.
    """
    match = _PROTOCOL.match(text)
    if match is None:
        return Path(text)
    protocol, rest = match["protocol"].lower(), text[match.end() :]
    if protocol in _LOCAL:
        if not rest.startswith("/"):
            raise DataError(f"{text} names a host. A file of this machine is {protocol}:///folder/name, or its path.")
        return Path(rest)
    rest = rest.lstrip("/") if protocol == "memory" else rest.rstrip("/")
    if not rest or rest.startswith("/") or "//" in rest or "/./" in rest or "::" in text:
        raise DataError(
            f"{text} is no address that can be used: it names a bucket or host, and then folders and a file with one "
            "slash between two names, as in s3://bucket/folder/name.jpg."
        )
    return Address(f"{protocol}://{rest}")


def _filesystem(address: Address) -> AbstractFileSystem:
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading and writing {address.protocol}:// needs fsspec, which is not installed. Install it with: "
            "pip install 'omnireid[s3]'"
        ) from error
    return fsspec.filesystem(address.protocol) if address.protocol != "https" else fsspec.filesystem("http")


@contextmanager
def reading_errors(address: Address) -> Iterator[None]:
    """Turn whatever a file system raises while it reads into a typed error that names the address."""
    try:
        yield
    except OmnireidError:
        raise
    except FileNotFoundError as error:
        raise DataNotFoundError(f"There is no {address}: no such bucket, folder or file. Check the address.") from error
    except Exception as error:
        raise _typed_error(error, address, "read", DataError) from error


@contextmanager
def _writing_errors(address: Address) -> Iterator[None]:
    try:
        yield
    except OmnireidError:
        raise
    except FileNotFoundError as error:
        raise OutputError(
            f"Cannot write {address}: there is no such bucket or folder. Make it, or choose another output."
        ) from error
    except Exception as error:
        raise _typed_error(error, address, "write", OutputError) from error


def _typed_error(
    error: Exception, address: Address, verb: str, kind: type[DataError] | type[OutputError]
) -> OmnireidError:
    if isinstance(error, ImportError):
        extra = _EXTRAS.get(address.protocol)
        how = f"pip install 'omnireid[{extra}]'" if extra else "pip, as fsspec says"
        return MissingDependencyError(
            f"To {verb} {address.protocol}:// takes a library that is missing ({first_line(error)}). Install it with: "
            f"{how}"
        )
    if isinstance(error, PermissionError):
        return kind(
            f"No permission to {verb} {address}. Check the keys (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or AWS_PROFILE) and what they allow."
        )
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return kind(f"Cannot {verb} {address}: fsspec knows no protocol {address.protocol}://. Check the address.")
    return kind(
        f"Cannot {verb} {address}: {first_line(error).rstrip('.')}. Check the network and the settings (for S3 "
        "AWS_ENDPOINT_URL and the keys), and run the same command again."
    )


def find_files(folder: Address) -> list[Address]:
    """Every file below an address, sorted by code point.

    Raises:
        DataNotFoundError: there is no such bucket or folder.
        DataError: it cannot be listed.
    """
    with reading_errors(folder):
        system = _filesystem(folder)
        system.invalidate_cache()
        names = system.find(str(folder))
        return [Address(system.unstrip_protocol(name)) for name in sorted(names)]


def glob_files(pattern: Address) -> list[Address]:
    """Every file that a pattern with ``*`` matches, sorted by code point.

    Raises:
        DataError: the place cannot be listed.
    """
    with reading_errors(pattern):
        system = _filesystem(pattern)
        system.invalidate_cache()
        return [Address(system.unstrip_protocol(name)) for name in sorted(system.glob(str(pattern)))]


def file_versions(addresses: Iterable[Address]) -> dict[Address, str]:
    """Those of the addresses that are files, each with a text that changes when the file is replaced.

    Lists each folder once, which is much faster than a question for each file. Files over HTTP, which cannot be
    listed, are taken to be there and never to change.

    Raises:
        DataError: a folder cannot be listed.
    """
    versions: dict[Address, str] = {}
    in_folder: dict[Address, dict[str, str]] = {}
    for address in addresses:
        if address.protocol in _WITHOUT_FOLDERS:
            versions[address] = ""
            continue
        folder = address.parent
        if folder not in in_folder:
            in_folder[folder] = _versions_in(folder)
        if address.name in in_folder[folder]:
            versions[address] = in_folder[folder][address.name]
    return versions


def file_names(folder: Path) -> frozenset[str]:
    """The names of the files directly in a folder or at an address; none where there is no such folder.

    Raises:
        DataError: the address cannot be listed.
    """
    if isinstance(folder, Address):
        return frozenset(_versions_in(folder))
    return frozenset(os.listdir(folder) if folder.is_dir() else ())  # noqa: PTH208


def _versions_in(folder: Address) -> dict[str, str]:
    """Name and version of each file directly in a folder; none where there is no such folder."""
    try:
        with reading_errors(folder):
            system = _filesystem(folder)
            system.invalidate_cache()
            entries = system.ls(str(folder), detail=True)
    except DataNotFoundError:
        return {}
    return {str(entry["name"]).rpartition("/")[2]: _version(entry) for entry in entries if entry["type"] == "file"}


def _version(entry: dict[str, Any]) -> str:
    """Size and, as far as the file system says, content tag or time of a file."""
    marks = (entry.get(key) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created"))
    mark = next((mark for mark in marks if mark is not None), "")
    return f"{entry.get('size')} {mark}"


def arrow_source(path: Path) -> AbstractContextManager[Path | IO[bytes]]:
    """What Arrow reads a file from: the path itself, or an open stream for an address."""
    return path.open("rb") if isinstance(path, Address) else nullcontext(path)


def check_writable(address: Address) -> None:
    """Write and remove a small file beside `address`.

    Raises:
        OutputError: that fails; the message says why.
    """
    if address.protocol in _WITHOUT_FOLDERS:
        raise OutputError(f"Cannot write {address}: files are only read over HTTP. Choose another output.")
    probe = address.parent / f".omnireid-{secrets.token_hex(6)}"
    with _writing_errors(address):
        system = _filesystem(address)
        _make_parents(system, address)
        system.pipe_file(str(probe), b"omnireid")
        system.rm_file(str(probe))


@contextmanager
def uploaded(address: Address) -> Iterator[Path]:
    """Yield the name of a file on this machine; upload that file to `address` on success.

    A reader of the address sees the old file or the new one, never a part.

    Raises:
        OutputError: the file cannot be uploaded.
    """
    with tempfile.TemporaryDirectory(prefix="omnireid-") as folder:
        file = Path(folder) / address.name
        yield file
        with _writing_errors(address):
            system = _filesystem(address)
            if address.protocol in _OBJECT_STORES:
                system.put_file(str(file), str(address))
                return
            _make_parents(system, address)
            temporary = address.parent / f".{address.stem[:64]}-{secrets.token_hex(6)}{address.suffix}"
            try:
                system.put_file(str(file), str(temporary))
                system.mv(str(temporary), str(address))
            except BaseException:
                with suppress(Exception):
                    system.rm_file(str(temporary))
                raise


def _make_parents(system: AbstractFileSystem, address: Address) -> None:
    """Make the folder of a file. In object storage there is none, and making one might make a bucket."""
    if address.protocol not in _OBJECT_STORES:
        system.makedirs(str(address.parent), exist_ok=True)


def remove_folder(folder: Address) -> None:
    """Remove everything below an address. Whatever cannot be removed is left there."""
    with suppress(Exception):
        _filesystem(folder).rm(str(folder), recursive=True)
