"""Crops on disk: which files in a folder are crops, and what was passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from omnireid.data.folders import EntryKind, folder_entries, folder_names, is_hidden, is_system_folder, visible_names
from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError, list_briefly
from omnireid.images.decode import IMAGE_SUFFIXES
from omnireid.types import Sample, Split

_PICTURE_SUFFIXES = frozenset(
    f".{name}"
    for names in (
        "3fr arw avif bmp cr2 cr3 dds dng emf eps exr gif heic heics heif hif ico j2c j2k jfif jif jp2 jpe jpeg jpf",
        "jpg jpm jpx jxl jxr nef orf pbm pcx pgm png pnm ppm psd raf raw rw2 sgi svg svgz tga tif tiff webp wmf xbm",
    )
    for name in names.split()
)
"""Suffixes of picture formats, read or not: a file with one of them is never left out without a word."""

_HEIC_SUFFIXES = frozenset({".heic", ".heics", ".heif", ".hif"})

_Kind = Literal["image", "unread", "special", "system", "folder", "other"]


@dataclass(frozen=True)
class PassedOver:
    """What lies among crops and was not read. The names are relative to the folder that was searched.

    Attributes:
        unread: pictures in formats that are not read.
        special: pipes, sockets and devices with the name of an image; reading one may block for ever.
        system: folders of an operating system or a file server, such as ``@eaDir`` with its thumbnails.
    """

    unread: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    system: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind that was found; none where nothing was passed over."""
        notes = []
        if self.unread:
            suffixes = Counter(_suffix(name) for name in self.unread)
            counts = ", ".join(f"{suffix}: {count:,}" for suffix, count in sorted(suffixes.items()))
            notes.append(
                f"{len(self.unread):,} picture(s) in formats that are not read were passed over ({counts}): "
                f"{list_briefly(self.unread)}. Convert them to JPEG or PNG"
                f"{', or install pillow-heif' if _HEIC_SUFFIXES & set(suffixes) else ''}."
            )
        if self.special:
            notes.append(
                f"{len(self.special):,} pipe(s), socket(s) or device(s) named like images were passed over: "
                f"{list_briefly(self.special)}. Only regular files are read."
            )
        if self.system:
            notes.append(
                f"{len(self.system):,} folder(s) of thumbnails or system files were passed over: "
                f"{list_briefly(self.system)}."
            )
        return tuple(notes)


@dataclass(frozen=True)
class FoundImages:
    """The image files below a folder.

    Attributes:
        files: the parts of each file's path relative to the folder, in sorted order.
        passed_over: what lies among them and was not read.
    """

    files: list[tuple[str, ...]]
    passed_over: PassedOver


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for a crop, by its suffix in any case."""
    return _suffix(name) in IMAGE_SUFFIXES


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (PurePath costs 20 times as much)


def image_names(folder: Path) -> list[str]:
    """Names of the image files directly in `folder`, sorted by code point, whatever the locale."""
    return [name for (name,) in walk_images(folder, 0)]


def first_image_name(folder: Path) -> str:
    """The first of `image_names`, by which a layout is recognised; empty where there is none, or none to be seen."""
    return next((name for name, is_folder in visible_names(folder) if not is_folder and is_image_name(name)), "")


def require_utf8(folder: Path, name: str) -> None:
    """Check that the path of a crop is text.

    Raises:
        DataError: it is not. On Linux a name may be any bytes, but no table, report or message can hold these.
    """
    if name.isascii() and str(folder).isascii():
        return
    path = str(folder / name)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"The name {path!r} is not UTF-8, so no table can hold it. Rename the file or folder "
            "(convmv -f latin1 -t utf8 does many at once)."
        ) from None


def walk_images(folder: Path, depth: int) -> Iterator[tuple[str, ...]]:
    """Walk the image files at most `depth` folders below `folder`, in sorted order.

    Yields the parts of each file's relative path. A folder that is met again
    through a link is passed over, so a link to a folder above it is no endless tree.
    """
    return (parts for parts, kind in _walk(folder, depth, set()) if kind == "image")


def find_images(folder: Path, depth: int) -> FoundImages:
    """List the files of `walk_images`, together with what was passed over."""
    return _sort_out(_walk(folder, depth, set()))


def images_among(files: Iterable[tuple[str, ...]]) -> FoundImages:
    """Sort out a list of files that is known already, by the same rules as `find_images`.

    Args:
        files: the parts of each file's path relative to the folder that was searched, in sorted order.
    """
    return _sort_out(_follow(files))


def _sort_out(entries: Iterable[tuple[tuple[str, ...], _Kind]]) -> FoundImages:
    """Collect entries by what they are. An entry that comes again, such as a folder of several files, counts once."""
    files = []
    names: dict[str, dict[str, None]] = {"unread": {}, "special": {}, "system": {}}
    for parts, kind in entries:
        if kind == "image":
            files.append(parts)
        elif kind in names:
            names[kind]["/".join(parts)] = None
    return FoundImages(files, PassedOver(**{kind: tuple(found) for kind, found in names.items()}))


def _kind_by_name(name: str, entry: EntryKind) -> _Kind:
    """What an entry that is not hidden is among crops."""
    if entry == "folder":
        return "system" if is_system_folder(name) else "folder"
    if is_image_name(name):
        return "image" if entry == "file" else "special"
    return "unread" if entry == "file" and _suffix(name) in _PICTURE_SUFFIXES else "other"


def _walk(folder: Path, depth: int, seen: set[str]) -> Iterator[tuple[tuple[str, ...], _Kind]]:
    """Everything that is visible at most `depth` folders below `folder`, except the folders that are entered."""
    place = os.path.realpath(folder)
    if place in seen:
        return
    seen.add(place)
    for name, entry in folder_entries(folder):
        if entry == "folder" and depth == 0:
            continue
        kind = _kind_by_name(name, entry)
        if kind == "folder":
            for parts, found in _walk(folder / name, depth - 1, seen):
                yield (name, *parts), found
            continue
        if kind == "image":
            require_utf8(folder, name)
        yield (name,), kind


def _follow(files: Iterable[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], _Kind]]:
    """What a walk meets on its way to each of these files: the file, or a system folder above it."""
    for parts in files:
        for level, name in enumerate(parts, 1):
            if is_hidden(name):
                break
            kind = _kind_by_name(name, "folder" if level < len(parts) else "file")
            if kind != "folder":
                yield parts[:level], kind
                break


def no_image_error(folder: Path, passed_over: PassedOver, advice: str) -> DataNotFoundError:
    """The error for a folder without any image; it counts what is there and is not read."""
    there = " ".join(passed_over.notes)
    return DataNotFoundError(
        f"There is no image in {folder} (.jpg, .png and others; docs/datasets.md). {there}{' ' * bool(there)}{advice}"
    )


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


def require_folders(root: Path, needed: Sequence[str], layout: str) -> None:
    """Check that `root` has the folders of a layout, each with an image in it.

    Raises:
        IncompleteDatasetError: some are missing or empty; the message names them and says what is there.
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
        unread = " ".join(note for name in empty for note in find_images(root / name, 2).passed_over.notes)
        raise IncompleteDatasetError(
            f"{root} is not a complete {layout}: {wrong}. {unread}{' ' * bool(unread)}There: "
            f"{list_briefly(there, 12)}. Unpack the data set again, or give the folder that holds all parts."
        )


def passed_over_in(root: Path, folders: Iterable[str]) -> tuple[str, ...]:
    """Notes on what was not read directly in some folders of `root`, each note with its folder's name."""
    return tuple(f"{name}: {note}" for name in folders for note in find_images(root / name, 0).passed_over.notes)
