"""PA-100K: 100,000 crops with 26 attributes each.

Source: Liu et al., "HydraPlus-Net: Attentive Deep Features for Pedestrian Analysis", ICCV 2017.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from omnireid.data.attributes import Attributes
from omnireid.data.folders import missing_files
from omnireid.data.matlab import read_mat
from omnireid.errors import DataError, IncompleteDatasetError, list_briefly
from omnireid.types import Crops

ANNOTATION = "annotation.mat"
MARK = "train_label"
"""A variable by which the file is recognised."""

_FILE_WORDS = {"train": "train", "validation": "val", "test": "test"}
PUBLISHED = {"train": 80_000, "validation": 10_000, "test": 10_000}
"""Published number of crops of each split."""

_FOLDERS = ("data", "release_data/release_data", "release_data", ".")
_LICENCE = "its authors' terms, which the release does not state; cite Liu et al. 2017"


def find_annotation(root: Path) -> Path | None:
    """The annotation in a folder of PA-100K, or None where there is none."""
    places = (root / ANNOTATION, root / "annotation" / ANNOTATION)
    return next((place for place in places if place.is_file()), None)


def read_pa100k(file: Path) -> Attributes:
    """Read PA-100K from its ``annotation.mat``. The crops lie in ``data/`` beside it or beside its folder.

    The names of the attributes are the file's own, such as ``Skirt&Dress``. People are not known: the release
    splits by the track of a person through a video, and does not say which crops are of one track.

    Raises:
        MissingDependencyError: scipy is not installed.
        IncompleteDatasetError: Crops that the annotation names are not there.
        DataError: The annotation is damaged, or a value is neither 0 nor 1.
    """
    variables = [f"{word}_{what}" for word in _FILE_WORDS.values() for what in ("images_name", "label")]
    content = read_mat(file, "attributes", *variables)
    names = tuple(_texts(content["attributes"]))
    files: list[str] = []
    splits: list[str] = []
    labels = []
    for split, word in _FILE_WORDS.items():
        found, values = _texts(content[f"{word}_images_name"]), np.asarray(content[f"{word}_label"])
        _check_labels(file, split, found, values, names)
        files += found
        splits += [split] * len(found)
        labels.append(values == 1)
    folder = _find_folder(file, files[0])
    paths = tuple(folder / name for name in files)
    missing = missing_files(paths)
    if missing:
        raise IncompleteDatasetError(
            f"{len(missing):,} of the {len(paths):,} crops that {file} names are not there: {list_briefly(missing)}. "
            "Unpack the release again."
        )
    counts = {split: splits.count(split) for split in PUBLISHED}
    return Attributes(
        name="pa100k",
        names=names,
        values=np.concatenate(labels),
        source=file,
        crops=Crops(paths),
        splits=tuple(splits),
        licence=_LICENCE,
        notes=tuple(
            f"{split}: {counts[split]:,} crops, published: {published:,}."
            for split, published in PUBLISHED.items()
            if counts[split] != published
        ),
    )


def _texts(cells: Any) -> list[str]:
    """The texts of a MATLAB column of cells."""
    return [str(cell.item() if hasattr(cell, "item") else cell) for cell in np.asarray(cells, dtype=object).ravel()]


def _check_labels(file: Path, split: str, found: list[str], values: Any, names: tuple[str, ...]) -> None:
    if values.shape != (len(found), len(names)) or not found:
        raise DataError(
            f"{file}, split {split}: {len(found):,} crops and {len(names)} attributes, but labels of shape "
            f"{values.shape}. Get the file again from its authors."
        )
    wrong = np.argwhere((values != 0) & (values != 1))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise DataError(
            f"{file}, split {split}, crop {found[row]}, {names[column]}: a label is 0 or 1; found "
            f"{values[row, column]}. Get the file again from its authors."
        )


def _find_folder(file: Path, first: str) -> Path:
    """The folder of the crops: the first usual place that has the first crop."""
    places = [home / name for home in (file.parent, file.parent.parent) for name in _FOLDERS]
    for place in places:
        if (place / first).is_file():
            return place
    raise IncompleteDatasetError(
        f"The crops that {file} names, such as {first}, are not there. Unpack them into {file.parent / 'data'}. "
        f"Looked in: {', '.join(str(place) for place in places)}."
    )
