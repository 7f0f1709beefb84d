"""Attributes from whatever a user names, and the crops they belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from omnireid.data.attribute_list import ATTRIBUTES_FILE, read_attribute_list
from omnireid.data.attributes import TEST, Attributes
from omnireid.data.datasets import load_dataset
from omnireid.data.folders import given_path, input_errors, is_there
from omnireid.data.manifest import MANIFEST_SUFFIXES
from omnireid.data.market_attributes import VARIABLE, read_market_attributes
from omnireid.data.matlab import list_variables
from omnireid.data.options import DataOptions
from omnireid.data.pa100k import ANNOTATION, MARK, find_annotation, read_pa100k
from omnireid.errors import DataError, DataNotFoundError
from omnireid.types import Crops, Dataset


def read_attributes(source: str | Path) -> Attributes:
    """Read the attributes of people or crops.

    Args:
        source: Market-1501's ``market_attribute.mat``; PA-100K's folder or ``annotation.mat``; a CSV or Parquet file
            of your own; or a folder with ``attributes.csv``, such as `omnireid.synthesize` draws.

    Raises:
        DataNotFoundError: There is no such file, or the folder holds no attributes.
        IncompleteDatasetError: Crops that an annotation names are not there.
        ManifestError: A column or value of a CSV file is wrong.
        DataError: The file is of another kind, or damaged.
        MissingDependencyError: A ``.mat`` file needs the extra ``omnireid[matlab]``.
    """
    path = given_path(source)
    with input_errors(path):
        if not is_there(path):
            raise DataNotFoundError(f"There is no {path} to read attributes from. Check the path.")
        if path.is_dir():
            path = _find_in(path)
        if path.suffix.lower() in MANIFEST_SUFFIXES:
            return read_attribute_list(path)
        if path.suffix.lower() == ".mat":
            return _read_mat(path)
    raise DataError(
        f"{path} is no file of attributes that is known here. Give market_attribute.mat, PA-100K's {ANNOTATION}, or a "
        ".csv or .parquet of your own (docs/attributes.md)."
    )


def load_attributed_crops(
    attributes: Attributes, split: str, data: str | Path | None = None, reading: DataOptions = DataOptions()
) -> Crops:
    """List the crops of a split that attributes are wanted for.

    Args:
        attributes: Attributes of people or crops.
        split: Name of a split. ``test`` stands for the gallery of a re-identification data set, the part on which
            attributes are scored in the field (Lin et al., 2019).
        data: Data set with the crops. None takes the crops that the attributes list themselves.
        reading: How the data set is read.

    Raises:
        DataError: There is no such split, the people are others, or the attributes list no crops; or whatever
            `load_dataset` raises.
        DataNotFoundError: The split is empty.
    """
    if data is None:
        return attributes.crops_of(_own_split(attributes, split))
    dataset = load_dataset(data, reading.layout, split=reading.split_index or 0, seed=reading.seed)
    check_same_people(attributes, dataset)
    name = "gallery" if split == TEST else split
    if name not in dataset.splits:
        raise DataError(f"{dataset.name} has no split {split!r}. It has: {', '.join(dataset.splits)}, {TEST}.")
    crops = dataset.splits[name]
    if not len(crops):
        raise DataNotFoundError(f"The split {name} of {dataset.name} is empty.")
    return crops


def check_same_people(attributes: Attributes, dataset: Dataset) -> None:
    """Check that attributes of people are not those of real people for drawn ones, or the other way round.

    Both number their people from 1, so that every one of them would be found.

    Raises:
        DataError: They are.
    """
    if attributes.person_ids is not None and {attributes.name, dataset.name} == {"market1501", "synthetic"}:
        raise DataError(
            f"{attributes.source} has the attributes of the people of {attributes.name}, but the crops are of "
            f"{dataset.name}, whose people have the same numbers and are others. Give both from one data set."
        )


def select_split(attributes: Attributes, split: str) -> Attributes:
    """The attributes of the crops of a split; all of them where their file has no splits.

    Stored embeddings may be of all crops. Without this, a head would learn from those that it is to be scored on.

    Args:
        attributes: Attributes of people or crops.
        split: Name of a split, as for `load_attributed_crops`.

    Raises:
        DataError: The file has splits, and none of that name.
    """
    if not attributes.splits:
        return attributes
    name = _own_split(attributes, split)
    crops = attributes.crops_of(name)
    values = attributes.values[[one == name for one in attributes.splits]]
    return replace(attributes, crops=crops, values=values, splits=(name,) * len(crops))


def _own_split(attributes: Attributes, split: str) -> str:
    """The file's own name of a split: its gallery is the test split where it has no other."""
    is_gallery = split == TEST and TEST not in attributes.splits and "gallery" in attributes.splits
    return "gallery" if is_gallery else split


def _find_in(folder: Path) -> Path:
    """The file of attributes in a folder."""
    own = folder / ATTRIBUTES_FILE
    found = own if own.is_file() else find_annotation(folder)
    if found is None:
        raise DataNotFoundError(
            f"{folder} holds no attributes: neither {ATTRIBUTES_FILE} nor {ANNOTATION}. Name their file (--attributes)."
        )
    return found


def _read_mat(path: Path) -> Attributes:
    """Read a MATLAB file of either data set, recognised by its variables."""
    variables = list_variables(path)
    if VARIABLE in variables:
        return read_market_attributes(path)
    if MARK in variables:
        return read_pa100k(path)
    raise DataError(
        f"{path} holds neither Market-1501's attributes ({VARIABLE}) nor PA-100K's ({MARK}), but "
        f"{', '.join(variables) or 'nothing'}. Is it another file?"
    )
