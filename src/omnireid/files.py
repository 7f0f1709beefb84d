"""Writing results so that nothing is ever lost or half-written, and fingerprints of files."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from omnireid.errors import DiskFullError, OmnireidError, OutputError, OutputInUseError

_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}


def output_error(error: OSError, path: Path) -> OmnireidError:
    """The typed error for an `OSError` met while writing `path`: why it failed and what to do."""
    if error.errno in _NO_SPACE:
        return DiskFullError(
            f"No space left on the disk while writing {path}. What was there before is untouched. "
            "Free some space, or choose another --output, and run the same command again."
        )
    if isinstance(error, PermissionError):
        return OutputError(f"No permission to write {path}. Choose another output, or change the folder's rights.")
    if isinstance(error, (IsADirectoryError, NotADirectoryError, FileExistsError)):
        return OutputError(
            f"Cannot write {path}: a file or folder of another kind is in the way. Choose another output."
        )
    return OutputError(f"Cannot write {path}: {error.strerror or error}.")


def cache_folder() -> Path:
    """The folder for what may be made or downloaded again: ``$OMNIREID_CACHE``, or the system's place for caches."""
    if chosen := os.environ.get("OMNIREID_CACHE"):
        return Path(chosen)
    return Path(user_cache_dir("omnireid", appauthor=False))


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn every `OSError` of the body into a typed error that names `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(error, path) from error


def make_folder(path: Path) -> Path:
    """Create `path` and its parents where they are missing.

    Raises:
        OutputError: no permission, or a file is in the way.
    """
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def check_output(path: Path) -> None:
    """Check, before long work, that `path` can be written: it is not touched.

    Raises:
        OutputError: the folder cannot be written, or something that is no file has the name.
    """
    with suppress(_NotKeptError), atomic_output(path):
        raise _NotKeptError


class _NotKeptError(Exception):
    """Leaves `atomic_output` without a result."""


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success move it to `path`, else remove it.

    A reader sees the old file or the new one, never a part. The temporary name
    keeps the suffix of `path`, for libraries that choose a format by it. Where
    `path` is a link, the file it points to is written.

    Raises:
        OutputError: the folder cannot be written, or something that is no file
            has the name; `DiskFullError` where the disk is full.
    """
    with output_errors(path):
        path = path.resolve()
        if path.exists() and not path.is_file():  # renaming over a device, such as /dev/null, would replace it
            raise OutputError(f"Cannot write {path}: it is a folder or a device, not a file. Choose another output.")
    make_folder(path.parent)
    with output_errors(path):
        temporary = path.parent / f".{path.stem[:64]}-{secrets.token_hex(6)}{path.suffix}"
        temporary.touch(exist_ok=False)  # with the rights any new file gets, which tempfile's would not have
    try:
        with output_errors(path):
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def sole_writer(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the right to write `path` while the body runs; the system frees it if the process dies.

    Args:
        path: what is written; it need not exist.
        wait: where another process holds the right, wait until it is free, however long that takes.

    Raises:
        OutputInUseError: another process holds it, and `wait` is False.
        OutputError: the folder cannot be written.
    """
    make_folder(path.parent)
    lock = FileLock(path.parent / f".{path.name}.lock")
    with output_errors(path):
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise OutputInUseError(
                f"Another process is writing {path}. Wait until it has finished, or choose another output."
            ) from None
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # while it is held: filelock retries on a lock file that is gone
        lock.release()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
