"""Writing results so that nothing is lost or half-written, and hashes of files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from omnireid.addresses import Address, check_writable, path_of, remove_folder, uploaded
from omnireid.errors import DataError, DiskFullError, OmnireidError, OutputError, OutputInUseError, SettingError

_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}


def output_error(error: OSError, path: Path) -> OmnireidError:
    """The typed error for an `OSError` raised while writing `path`: why it failed and what to do."""
    if error.errno in _NO_SPACE:
        return DiskFullError(
            f"No space left on the disk while writing {path}. What was there before is untouched. "
            "Free some space or choose another output, and run the same command again."
        )
    if isinstance(error, PermissionError):
        return OutputError(f"No permission to write {path}. Choose another output, or change the folder's permissions.")
    if isinstance(error, (IsADirectoryError, NotADirectoryError, FileExistsError)):
        return OutputError(
            f"Cannot write {path}: a file or folder of another kind is in the way. Choose another output."
        )
    return OutputError(f"Cannot write {path}: {error.strerror or error}.")


def cache_folder() -> Path:
    """The folder for files that can be made or downloaded again.

    It is ``$OMNIREID_CACHE`` where that is set, else the operating system's usual place for caches.

    Raises:
        OutputError: the user has no home directory, as in a container with an unknown user id, and names no folder.
    """
    if chosen := os.environ.get("OMNIREID_CACHE"):
        return Path(chosen)
    try:
        return Path(user_cache_dir("omnireid", appauthor=False))
    except RuntimeError as error:
        raise OutputError(
            "There is no home directory to keep a cache in. Name a folder for it: OMNIREID_CACHE=/a/folder"
        ) from error


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn every `OSError` of the body into a typed error that names `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(error, path) from error


def make_folder(path: Path) -> Path:
    """Create `path` and its parents where they are missing.

    At an address nothing is made, as folders appear there with their files.

    Raises:
        OutputError: no permission, or a file is in the way.
    """
    if isinstance(path, Address):
        return path
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def check_output(path: Path, *, suffix: str | None = None, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Check, before long work, that the file `path` can be written and that nothing is lost by it.

    Nothing is left there, not even a missing folder.

    Args:
        path: the file that will be written.
        suffix: what its name has to end in, in any case, because this is what it will hold.
        inputs: files that are read. An output that is one of them, under whatever name, is refused.

    Raises:
        OutputError: another suffix, one of the inputs, a folder or device, or a place that cannot be written.
    """
    with output_errors(path):
        target = path if isinstance(path, Address) else _target_of(path)
        if suffix is not None and path.suffix.lower() != suffix:
            better = Path(path.stem or "out").with_suffix(suffix)
            raise OutputError(f"This output's name ends in {suffix}; got {path}. Try {path.parent / better}.")
        if isinstance(target, Address):
            if target in inputs:
                raise _input_error(path, target)
            check_writable(target)
            return
        if target.exists():
            _refuse_input(path, target.stat(), inputs)
        _try_to_write_beside(target)


def check_new_folder(path: Path) -> None:
    """Check, before long work, that the folder `path` can be made. Nothing is created.

    Raises:
        OutputError: something has that name already, even an empty folder, or the place cannot be written.
    """
    with output_errors(path):
        if _absolute(path).exists():
            raise OutputError(
                f"Cannot write {path}: it exists already, and nothing is replaced. Choose another name for the folder, "
                "or remove what is there."
            )
        _try_to_write_beside(_absolute(path))


def _try_to_write_beside(target: Path) -> None:
    """Make and remove a file in the folder of `target`, or in the nearest one above it that exists."""
    folder = next(parent for parent in target.parents if parent.exists())
    probe = folder / f".omnireid-{secrets.token_hex(6)}"
    probe.touch(exist_ok=False)
    probe.unlink()


def _refuse_input(path: Path, written: os.stat_result, inputs: Iterable[str | os.PathLike[str]]) -> None:
    for given in inputs:
        try:
            is_same = os.path.samestat(Path(given).stat(), written)
        except (OSError, ValueError):  # not a file at all: whoever reads it will say so
            continue
        if is_same:
            raise _input_error(path, given)


def _input_error(path: Path, given: str | os.PathLike[str]) -> OutputError:
    return OutputError(
        f"Cannot write {path}: it is an input of this command ({os.fspath(given)}), which would be lost. "
        "Choose another output."
    )


def _target_of(path: Path) -> Path:
    """The file that is written for `path`, which may be a link.

    Raises:
        OutputError: a folder or device has the name, or no file can have it.
    """
    target = _absolute(path)
    if target.exists() and not target.is_file():  # renaming over a device, such as /dev/null, would replace it
        raise OutputError(f"Cannot write {path}: it is a folder or a device, not a file. Choose another output.")
    return target


def _absolute(path: Path) -> Path:
    try:
        return path.resolve()
    except ValueError as error:  # NUL in it
        raise OutputError(f"{str(path)!r} cannot be the name of a file: {error}. Choose another output.") from None


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; move that file to `path` on success, else remove it.

    A reader sees the old file or the new one, never a part. The temporary name
    keeps the suffix of `path`, because some libraries choose a format by it. If
    `path` is a link, the file it points to is written. If it is an address, the
    temporary file is on this machine, and is uploaded at the end.

    Raises:
        OutputError: the folder cannot be written, or a folder or device has the name.
        DiskFullError: the disk is full.
    """
    if isinstance(path, Address):
        with output_errors(path), uploaded(path) as file:
            yield file
        return
    with output_errors(path):
        path = _target_of(path)
    make_folder(path.parent)
    with output_errors(path):
        temporary = path.parent / f".{path.stem[:64]}-{secrets.token_hex(6)}{path.suffix}"
        temporary.touch(exist_ok=False)  # with the permissions of any new file; tempfile's would be private
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
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside `path`; rename it to `path` on success, else remove it with all that is in it.

    A reader sees the whole folder or none.

    Raises:
        OutputError: something has that name already, or the place cannot be written.
        DiskFullError: the disk is full.
    """
    check_new_folder(path)
    target = _absolute(path)
    make_folder(target.parent)
    temporary = target.parent / f".{target.name[:64]}-{secrets.token_hex(6)}"
    try:
        with output_errors(path):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb+") as stream:
                        os.fsync(stream.fileno())
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def as_path(value: object, parameter: str) -> Path:
    """The path a caller gave for `parameter`, which may be an address such as ``s3://bucket/name``.

    Raises:
        SettingError: it is neither text nor a path; the message names the parameter.
    """
    if isinstance(value, (str, os.PathLike)) and isinstance(name := os.fspath(value), str):
        try:
            return path_of(name)
        except DataError as error:
            raise SettingError(f"{parameter}: {error}") from None
    raise SettingError(f"{parameter} must be a path; got {value!r:.60} ({type(value).__name__}).")


def remove_tree(path: Path) -> None:
    """Remove a folder and everything in it. Whatever cannot be removed is left there."""
    if isinstance(path, Address):
        remove_folder(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def write_json(path: Path, record: Any, *, indent: int | None = 2) -> None:
    """Write plain values as JSON, atomically.

    Args:
        path: the file to write.
        record: what `json.dumps` takes.
        indent: spaces a level; None for one line.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(record, indent=indent)
    with atomic_output(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


@contextmanager
def sole_writer(path: Path, *, wait: bool = False, poll_s: float = 0.05) -> Iterator[None]:
    """Hold a lock on `path` while the body runs. The system releases it if the process dies.

    At an address there is no such lock: of two writers, the one that ends last is read.

    Args:
        path: what is written; it need not exist.
        wait: wait for another process that holds the lock, however long that takes.
        poll_s: seconds between two tries while it waits.

    Raises:
        OutputInUseError: another process holds the lock, and `wait` is False.
        OutputError: the folder cannot be written.
    """
    if isinstance(path, Address):
        yield
        return
    make_folder(path.parent)
    lock = FileLock(path.parent / f".{path.name}.lock")
    with output_errors(path):
        try:
            lock.acquire(timeout=-1 if wait else 0, poll_interval=poll_s)
        except Timeout:
            raise OutputInUseError(
                f"Another process is writing {path}. Wait until it has finished, or choose another output."
            ) from None
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # before the release: filelock tries again if the lock file is gone
        lock.release()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
