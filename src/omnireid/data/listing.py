"""Crops named in any way a person would name them, listed in a stated order."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omnireid.data.crops import find_images, is_image_name, no_image_error, require_utf8
from omnireid.data.datasets import load_dataset
from omnireid.data.folders import given_path, input_errors, is_there, without_repeats
from omnireid.data.manifest import MANIFEST_SUFFIXES, list_manifest
from omnireid.data.market_names import market_ids
from omnireid.data.options import DataOptions
from omnireid.errors import DataError, DataNotFoundError
from omnireid.types import Crops

_DEPTH = 32


def list_crops(names: Sequence[str]) -> Crops:
    """List the crops that `names` mean: folders (with all below them), files, globs, and manifests.

    A manifest's rows come in its own order; what is below a folder, or matches a glob, is sorted; a file
    named twice is listed once. Ids are read from names like
    ``0002_c1s1_000451_03.jpg`` if all of them are of that form.

    Raises:
        DataNotFoundError: a name means nothing, or no image at all.
        DataError: a manifest together with something else; a folder that may not be read, or a name that is no text.
        ManifestError: a manifest whose columns or values are wrong.
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
    """List one split of the data set at the only entry of `names`.

    Args:
        names: The data set's folder or manifest, alone.
        split: Name of a part the data set has, such as train, query or gallery.
        options: How the data set is read. Without a `split_index`, the first published split is used.

    Raises:
        DataError: several names, or no such split; or as for `load_dataset`.
    """
    if len(names) != 1:
        raise DataError(f"With a split, name one data set; got {len(names)} names.")
    dataset = load_dataset(names[0], options.layout, split=options.split_index or 0, seed=options.seed)
    if split not in dataset.splits:
        raise DataError(f"{dataset.name} has no split {split!r}. It has: {', '.join(dataset.splits)}.")
    chosen = dataset.splits[split]
    if not len(chosen):
        raise DataNotFoundError(f"The split {split} of {dataset.name} is empty.")
    return chosen


def _paths(name: str) -> list[Path]:
    path = given_path(name)
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


def _seen_once(paths: list[Path]) -> list[Path]:
    """`paths` without those whose folder has a shorter path: ``**`` follows links, even to a folder above."""
    shortest: dict[tuple[str, str], Path] = {}
    for path in sorted(paths, key=lambda path: len(path.parts)):
        shortest.setdefault((os.path.realpath(path.parent), path.name), path)
    kept = set(shortest.values())
    return [path for path in paths if path in kept]
