"""Crops on disk: listing image files in a stated order, and reading ids from Market-1501's file names."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError
from omnireid.images.decode import IMAGE_SUFFIXES
from omnireid.types import JUNK_PERSON_ID, Sample, Split

DISTRACTOR_PERSON_ID = 0
"""Market-1501's id for gallery crops of nobody who is searched for. Only in Market-style names."""

MARKET_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")

# 18 digits fit into an int64; a longer number is a time or a serial number, no id.
_MARKET_NAME = re.compile(r"(-?\d{1,18})_c(\d{1,18})(?!\d)")

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL)  # EINVAL: Windows, of a name with * or ?


@contextmanager
def input_errors(path: Path) -> Iterator[None]:
    """Turn every `OSError` met while reading `path`, or what is in it, into a `DataError` that names the file."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Cannot read {error.filename or path}: {error.strerror or error}. Check its name and rights."
        ) from error


def given_path(name: str | Path) -> Path:
    """The path a user means, with ``~`` written out.

    Raises:
        DataNotFoundError: there is no such home folder.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise DataNotFoundError(f"There is no home folder for {name}. Write the path out.") from None


def is_there(path: Path) -> bool:
    """Whether there is anything at `path`, as a user gave it.

    Raises:
        DataError: that cannot be known: it is in a folder without permission, or no possible name.
    """
    try:
        path.stat()
    except ValueError as error:  # NUL in it
        raise DataError(f"{str(path)!r} cannot be the name of a file: {error}. Check the path.") from None
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise DataError(f"Cannot look at {path}: {error.strerror}. Check its name and rights.") from error
    return True


def is_visible(path: Path) -> bool:
    """Whether there is something at `path` that can be looked at; `Path.exists` raises where that is not allowed."""
    return os.path.exists(path)  # noqa: PTH110


def folder_names(folder: Path) -> list[tuple[str, bool]]:
    """(name, is a folder) of what is in `folder`, sorted by code point; names that begin with a dot are left out.

    Hidden names are editors' and systems' own: macOS writes ``._0002_c1s1_000451_03.jpg`` beside each image.

    Raises:
        DataError: no permission to look into it, or it is no folder.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"Cannot look into the folder {folder}: {error.strerror}. Check its name and rights."
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder without permission
        return False


def visible_names(folder: Path) -> list[tuple[str, bool]]:
    """`folder_names`, but empty where one may not look: for searching through folders that need not be meant."""
    try:
        return folder_names(folder)
    except DataError:
        return []


def is_image_name(name: str) -> bool:
    """Whether a file of that name is looked at as a crop, by its suffix in any case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (PurePath costs 20 times as much)


def image_names(folder: Path) -> list[str]:
    """Names of the image files right inside `folder`, sorted by code point, whatever the locale."""
    names = [name for name, is_folder in folder_names(folder) if not is_folder and is_image_name(name)]
    for name in names:
        require_utf8(folder, name)
    return names


def first_image_name(folder: Path) -> str:
    """The first of `image_names`; empty where there is none, or one may not look. To recognise a layout by."""
    return next((name for name, is_folder in visible_names(folder) if not is_folder and is_image_name(name)), "")


def require_utf8(folder: Path, name: str) -> None:
    """Check that the path of a crop is text.

    Raises:
        DataError: on Linux a name may be any bytes, but no table, report or message can hold these.
    """
    if name.isascii() and str(folder).isascii():
        return
    path = str(folder / name)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"The name {path!r} is not UTF-8, so that no table can hold it. Rename the file or folder "
            "(convmv -f latin1 -t utf8 does many at once)."
        ) from None


def walk_images(folder: Path, depth: int) -> Iterator[tuple[str, ...]]:
    """The image files at most `depth` folders below `folder`, as the parts of their relative paths, in sorted order.

    A folder that is met again through a link is passed over, so that a link to a folder above it is no endless tree.
    """
    return _walk(folder, depth, set())


def _walk(folder: Path, depth: int, seen: set[str]) -> Iterator[tuple[str, ...]]:
    place = os.path.realpath(folder)
    if place in seen:
        return
    seen.add(place)
    for name, is_folder in folder_names(folder):
        if is_folder and depth > 0:
            for parts in _walk(folder / name, depth - 1, seen):
                yield (name, *parts)
        elif not is_folder and is_image_name(name):
            require_utf8(folder, name)
            yield (name,)


def missing_files(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` that are not there, in order. Each folder is listed once: much faster than a look a file.

    Raises:
        DataError: no permission to look into a folder.
    """
    present: dict[Path, frozenset[str]] = {}
    missing = []
    for path in paths:
        parent = path.parent
        if parent not in present:
            present[parent] = _all_names(parent)
        # The second look finds names that differ in case, on systems where that does not matter.
        if path.name not in present[parent] and not is_visible(path):
            missing.append(path)
    return missing


def _all_names(folder: Path) -> frozenset[str]:
    """Every name in `folder`; none where it is not there, or cannot be (NUL in it, or too long)."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except PermissionError as error:
        raise DataError(f"Cannot look into the folder {folder}: {error.strerror}. Check its rights.") from error
    except (OSError, ValueError):
        return frozenset()


def some(values: Sequence[object], count: int = 3) -> str:
    """The first few of `values`, and how many more there are, for a message."""
    text = ", ".join(str(value) for value in values[:count])
    return text if len(values) <= count else f"{text} and {len(values) - count:,} more"


def split_of(samples: Iterable[Sample]) -> Split:
    """The samples as a split, sorted by path; camera ids are None where no sample has one."""
    ordered = sorted(samples, key=lambda sample: sample.path.as_posix())
    cameras = [sample.camera_id for sample in ordered]
    known = not cameras or cameras[0] is not None
    return Split(
        paths=tuple(sample.path for sample in ordered),
        person_ids=np.array([sample.person_id for sample in ordered], dtype=np.int64),
        camera_ids=np.array(cameras, dtype=np.int64) if known else None,
    )


def market_ids(name: str) -> tuple[int, int] | None:
    """Person and camera id of a name such as ``0002_c1s1_000451_03.jpg``, or None where it is not of that form.

    Numbers of 19 digits and more are no ids.
    """
    found = _MARKET_NAME.match(name)
    return (int(found.group(1)), int(found.group(2))) if found else None


def market_crops(folder: Path) -> list[Sample]:
    """The crops of a folder of Market-style names, junk (person -1) left out.

    Raises:
        DataError: image files whose names are of another form; they are never dropped silently.
    """
    samples, strange = [], []
    for name in image_names(folder):
        ids = market_ids(name)
        if ids is None:
            strange.append(name)
        elif ids[0] != JUNK_PERSON_ID:
            samples.append(Sample(folder / name, *ids))
    if strange:
        raise DataError(
            f"{len(strange):,} image file(s) in {folder} are not named like 0002_c1s1_000451_03.jpg "
            f"(person, then camera): {some(strange)}. Rename them, move them away, or list the crops in a manifest "
            "(docs/datasets.md)."
        )
    return samples


def without_distractors(samples: list[Sample], split: str) -> tuple[list[Sample], tuple[str, ...]]:
    """`samples` without person 0, and a note where there was one: a distractor is nobody to look for or learn."""
    people = [sample for sample in samples if sample.person_id != DISTRACTOR_PERSON_ID]
    dropped = len(samples) - len(people)
    note = f"{split}: {dropped:,} crop(s) of person 0 left out; in Market-style names 0 marks a distractor, no person."
    return people, (note,) if dropped else ()


def require_folders(root: Path, needed: Sequence[str], layout: str) -> None:
    """Check that `root` has the folders of a layout, each with an image in it.

    Raises:
        IncompleteDatasetError: some are missing or empty; the message names them and what is there.
    """
    entries = folder_names(root)
    folders = {name for name, is_folder in entries if is_folder}
    missing = [name for name in needed if name not in folders]
    empty = [name for name in needed if name in folders and next(walk_images(root / name, 2), None) is None]
    if missing or empty:
        there = [name + "/" * is_folder for name, is_folder in entries]
        wrong = " and ".join(
            [f"{name}/ is missing" for name in missing] + [f"{name}/ holds no image" for name in empty]
        )
        raise IncompleteDatasetError(
            f"{root} is not a complete {layout}: {wrong}. There: {some(there, 12)}. "
            "Unpack the data set again, or give the folder that holds all parts."
        )


def market_splits(root: Path, layout: str) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Train, query and gallery of the three Market-style folders, and notes on what was left out.

    Junk is dropped everywhere; distractors (person 0) stay in the gallery only.

    Raises:
        IncompleteDatasetError: a folder is missing or empty.
        DataError: image files whose names are of another form.
    """
    require_folders(root, MARKET_FOLDERS, layout)
    train, train_notes = without_distractors(market_crops(root / "bounding_box_train"), "train")
    query, query_notes = without_distractors(market_crops(root / "query"), "query")
    gallery = market_crops(root / "bounding_box_test")
    splits = {"train": split_of(train), "query": split_of(query), "gallery": split_of(gallery)}
    return splits, train_notes + query_notes


def first_market_name(root: Path) -> str:
    """The first image name in the first Market-style folder that has one; empty where none has."""
    return next(filter(None, (first_image_name(root / name) for name in MARKET_FOLDERS)), "")
