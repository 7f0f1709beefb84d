"""Paths and folders as users give them: what is there, what lies in a folder, and which files are missing."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from omnireid.addresses import Address, file_versions, path_of
from omnireid.errors import DataError, DataNotFoundError

EntryKind = Literal["file", "folder", "special"]
"""What an entry of a folder is. A ``special`` one is a pipe, a socket or a device: reading it may block for ever."""

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL)  # EINVAL: Windows, for a name with * or ?

_SYSTEM_FOLDERS = frozenset(
    {
        "@eadir",  # Synology: thumbnails
        ".@__thumb",  # QNAP: thumbnails
        ".thumbnails",
        "@recycle",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "__macosx",  # macOS puts one beside the data in every zip file
    }
)


@contextmanager
def input_errors(path: Path) -> Iterator[None]:
    """Turn every `OSError` raised while reading `path`, or what is in it, into a `DataError` that names the file."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Cannot read {error.filename or path}: {error.strerror or error}. Check its name and permissions."
        ) from error


def given_path(name: str | Path) -> Path:
    """The path a user means: ``~`` is written out, and the name may be in either Unicode normal form.

    An address such as ``s3://bucket/crops`` becomes an `Address`.

    Raises:
        DataNotFoundError: there is no such home folder.
    """
    try:
        path = (name if isinstance(name, Path) else path_of(name)).expanduser()
    except RuntimeError:
        raise DataNotFoundError(f"There is no home folder for {name}. Write the path out.") from None
    if isinstance(path, Address):
        return path
    return existing_forms([path])[0]


def existing_forms(paths: Iterable[Path]) -> list[Path]:
    """Each path as it is written on the disk, where it is there in another Unicode normal form.

    macOS writes an é as two characters, most other systems as one; both are one
    name to a reader. A path that is there as given, or in no form, is returned unchanged.
    """
    found: dict[Path, Path] = {}
    names: dict[Path, dict[str, str]] = {}

    def existing_form(path: Path) -> Path:
        if path not in found:
            found[path] = path
            if not str(path).isascii() and not os.path.lexists(path) and path.parent != path:
                folder = existing_form(path.parent)
                if folder not in names:
                    names[folder] = {unicodedata.normalize("NFC", name): name for name in _names_if_listable(folder)}
                name = names[folder].get(unicodedata.normalize("NFC", path.name))
                found[path] = path if name is None else folder / name
        return found[path]

    return [existing_form(path) for path in paths]


def _names_if_listable(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except (OSError, ValueError):
        return []


def is_there(path: Path) -> bool:
    """Whether there is anything at `path`, as a user gave it.

    Raises:
        DataError: this cannot be known: the path is in a folder without permission, or cannot be a file's name.
    """
    if isinstance(path, Address):
        return path.exists()
    try:
        path.stat()
    except ValueError as error:  # it holds a NUL character
        raise DataError(f"{str(path)!r} cannot be the name of a file: {error}. Check the path.") from None
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise DataError(f"Cannot look at {path}: {error.strerror}. Check its name and permissions.") from error
    return True


def is_visible(path: Path) -> bool:
    """Whether something is at `path` and may be looked at. `Path.exists` raises where looking is not allowed."""
    return os.path.exists(path)  # noqa: PTH110


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name belongs to an operating system or a file server, such as ``@eaDir``."""
    return name.lower() in _SYSTEM_FOLDERS


def is_hidden(name: str) -> bool:
    """Whether a name begins with a dot and is no system folder's.

    Hidden files are editors' and systems' own; macOS writes ``._0002_c1s1_000451_03.jpg`` beside each image.
    """
    return name.startswith(".") and not is_system_folder(name)


def folder_entries(folder: Path) -> list[tuple[str, EntryKind]]:
    """Name and kind of everything in `folder` that is not hidden, sorted by code point.

    Raises:
        DataError: there is no permission to look into it, or it is no folder.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, _kind(entry)) for entry in entries if not is_hidden(entry.name))
    except OSError as error:
        raise DataError(
            f"Cannot look into the folder {folder}: {error.strerror}. Check its name and permissions."
        ) from error


def _kind(entry: os.DirEntry[str]) -> EntryKind:
    """What an entry is. A link counts as what it leads to; a broken one as a file, so that reading it says so."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file() or (entry.is_symlink() and not is_visible(Path(entry.path))):
            return "file"
    except OSError:  # a link to itself, or into a folder without permission
        return "file"
    return "special"


def folder_names(folder: Path) -> list[tuple[str, bool]]:
    """(name, is a folder) for what is in `folder`, sorted by code point, without hidden names and system folders.

    Raises:
        DataError: there is no permission to look into it, or it is no folder.
    """
    return [(name, kind == "folder") for name, kind in folder_entries(folder) if not is_system_folder(name)]


def visible_names(folder: Path) -> list[tuple[str, bool]]:
    """`folder_names`, or nothing where looking is not allowed. For searching through folders nobody may have meant."""
    try:
        return folder_names(folder)
    except DataError:
        return []


def real_places(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Real folder and name of each path, by which ``a/../b.jpg`` and ``b.jpg`` are seen to be one.

    Links to folders are resolved, links to files are not. Each folder is resolved once.
    """
    folders: dict[Path, str] = {}
    places = []
    for path in paths:
        parent = path.parent
        if parent not in folders:
            folders[parent] = os.path.realpath(parent)
        places.append((folders[parent], path.name))
    return places


def without_repeats(paths: Sequence[Path]) -> list[Path]:
    """Each path once, as it is first written; see `real_places`."""
    first: dict[tuple[str, str], Path] = {}
    for place, path in zip(real_places(paths), paths, strict=True):
        first.setdefault(place, path)
    return list(first.values())


def missing_files(paths: Iterable[Path]) -> list[Path]:
    """The paths that are not regular files (or links to them), in order.

    Lists each folder once, which is much faster than a stat for each file.

    Raises:
        DataError: there is no permission to look into a folder.
    """
    present: dict[Path, frozenset[str]] = {}
    missing: list[Path] = []
    paths = list(paths)
    at_addresses = file_versions(path for path in paths if isinstance(path, Address))
    for path in paths:
        if isinstance(path, Address):
            if path not in at_addresses:
                missing.append(path)
            continue
        parent = path.parent
        if parent not in present:
            present[parent] = _file_names(parent)
        # The second check finds names that differ in case, on systems where case does not matter.
        if path.name not in present[parent] and not os.path.isfile(path):  # noqa: PTH113
            missing.append(path)
    return missing


def _file_names(folder: Path) -> frozenset[str]:
    """The name of every file in `folder`; none where the folder is not there, or cannot be (NUL in it, or too long)."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if _kind(entry) == "file")
    except PermissionError as error:
        raise DataError(f"Cannot look into the folder {folder}: {error.strerror}. Check its permissions.") from error
    except (OSError, ValueError):
        return frozenset()
