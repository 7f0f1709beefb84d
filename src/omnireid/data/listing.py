"""Lists of crops from whatever a user names: folders, files, globs, manifests, or a split of a data set."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from omnireid.addresses import Address, find_files, glob_files
from omnireid.data.attribute_list import ATTRIBUTES_FILE
from omnireid.data.crops import find_images, images_among, is_image_name, no_image_error, require_utf8
from omnireid.data.cuhk03_release import TESTSETS_FILE
from omnireid.data.datasets import load_dataset
from omnireid.data.folders import given_path, input_errors, is_there, without_repeats
from omnireid.data.manifest import MANIFEST_FILES, MANIFEST_SUFFIXES, list_manifest
from omnireid.data.market_names import market_ids
from omnireid.data.options import DataOptions
from omnireid.data.synthetic_marker import MARKER
from omnireid.errors import DataError, DataNotFoundError
from omnireid.types import Crops

_DEPTH = 32  # levels of folders that are searched for crops


def list_crops(names: Sequence[str]) -> Crops:
    """List the crops that a user names: folders with everything below them, files, globs, or one manifest.

    The rows of a manifest keep their order. Files below a folder, or matched by a
    glob, are sorted. A file that is named twice is listed once. Person and camera
    ids are read from the file names if all of them look like
    ``0002_c1s1_000451_03.jpg``.

    Raises:
        DataNotFoundError: there is nothing of that name, or no image in it.
        DataError: a manifest is named beside something else, a folder cannot be read, or a file name is not text.
        ManifestError: a column or value of the manifest is wrong.
    """
    manifests = [name for name in names if Path(name).suffix.lower() in MANIFEST_SUFFIXES]
    if manifests:
        if len(names) > 1:
            raise DataError(f"Give the manifest {manifests[0]} alone, or list the other crops in it too.")
        return list_manifest(given_path(manifests[0]))
    paths = without_repeats([path for name in names for path in _paths(name)])
    if not paths:
        raise DataNotFoundError("No crop was named. Give folders, files, globs or a manifest.")
    ids = [market_ids(path.name) for path in paths]
    known = [pair for pair in ids if pair is not None]
    if len(known) < len(paths):
        return Crops(tuple(paths))
    people, cameras = np.array(known, dtype=np.int64).T
    return Crops(tuple(paths), people, cameras)


def list_split(names: Sequence[str], split: str, options: DataOptions = DataOptions()) -> Crops:
    """List one split of a data set.

    Args:
        names: The data set's folder or manifest, as the only entry.
        split: Name of a part the data set has, such as train, query or gallery.
        options: How the data set is read. Without a `split_index`, the first published split is used.

    Raises:
        DataError: several data sets were named, the data set has no such split, or `load_dataset` cannot read it.
        DataNotFoundError: the split is empty.
    """
    if len(names) != 1:
        raise DataError(f"With a split, name one data set; got {len(names)} names.")
    if isinstance(given_path(names[0]), Address):
        raise DataError(
            f"A split is read from a data set on this machine; got {names[0]}. List its crops in a manifest."
        )
    dataset = load_dataset(names[0], options.layout, split=options.split_index or 0, seed=options.seed)
    if split not in dataset.splits:
        raise DataError(f"{dataset.name} has no split {split!r}. It has: {', '.join(dataset.splits)}.")
    chosen = dataset.splits[split]
    if not len(chosen):
        raise DataNotFoundError(f"The split {split} of {dataset.name} is empty.")
    return chosen


def input_files(names: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """The files that are read when data is named, besides its crops. No output may replace them.

    Args:
        names: Folders, manifests or other files, as a user names them.

    Yields:
        Each name, and the manifest or list that may describe the crops of a folder. They need not exist.
    """
    for name in names:
        path = given_path(os.fspath(name))
        yield path
        yield from (path / file for file in (*MANIFEST_FILES, MARKER, TESTSETS_FILE, ATTRIBUTES_FILE))


def _paths(name: str) -> list[Path]:
    """The files of one name."""
    path = given_path(name)
    if isinstance(path, Address):
        return _paths_at(path)
    there = is_there(path)
    if there and path.is_dir():
        images = find_images(path, _DEPTH)
        if not images.files:
            raise no_image_error(path, images.passed_over, "Check the path.")
        for note in images.passed_over.notes:
            warnings.warn(f"{path}: {note}", stacklevel=3)
        return [path.joinpath(*parts) for parts in images.files]
    if there:
        require_utf8(path.parent, path.name)
        if not path.is_file():
            raise DataError(f"{path} is no regular file but a pipe, a socket or a device. Only files are read.")
        return [path]
    if glob.has_magic(name):
        with input_errors(path):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
            found = [match for match in matches if is_image_name(match.name) and match.is_file()]
        if not found:
            raise DataNotFoundError(f"No image matches {name}.")
        for match in found:
            require_utf8(match.parent, match.name)
        return _seen_once(found) if "**" in name else found
    raise DataNotFoundError(f"There is no {path}. Check the path.")


def _paths_at(address: Address) -> list[Path]:
    """The files of one address: a file, everything below a folder, or what a pattern matches."""
    if address.is_file():
        return [address]
    if glob.has_magic(str(address)):
        matches = [found for found in glob_files(address) if is_image_name(found.name)]
        if not matches:
            raise DataNotFoundError(f"No image matches {address}.")
        return [*matches]
    depth = len(address.parts)
    images = images_among(found.parts[depth:] for found in find_files(address))
    if not images.files:
        raise no_image_error(address, images.passed_over, "Check the address.")
    for note in images.passed_over.notes:
        warnings.warn(f"{address}: {note}", stacklevel=4)
    return [address.joinpath(*parts) for parts in images.files]


def _seen_once(paths: list[Path]) -> list[Path]:
    """Each file once, under its shortest path: ``**`` follows links, even to a folder above."""
    shortest: dict[tuple[str, str], Path] = {}
    for path in sorted(paths, key=lambda path: len(path.parts)):
        shortest.setdefault((os.path.realpath(path.parent), path.name), path)
    kept = set(shortest.values())
    return [path for path in paths if path in kept]
