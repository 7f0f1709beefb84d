"""Small frozen values that every room understands, validated at birth."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from omnireid.addresses import path_of
from omnireid.errors import DataError, LabelsError, SettingError, ShapeError
from omnireid.terms import PROTOCOLS, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
AnyArray = npt.NDArray[Any]

Column: TypeAlias = "Sequence[object] | pa.Array | pa.ChunkedArray"
"""One value a crop: Python values, or Arrow's own, which are passed on without becoming Python objects."""

JUNK_PERSON_ID = -1
"""Market-1501's id for a gallery crop that counts neither as right nor as wrong."""

NAME_COLUMNS = ("person_name", "camera_name")
"""Columns that hold the ids as they were written, where they were not whole numbers."""


def as_array(values: object, parameter: str) -> AnyArray:
    """`values` as a NumPy array, without a copy where none is needed.

    A torch tensor may require gradients or lie on another device. Its bfloat16
    values, which NumPy does not have, become float32. torch is not imported.

    Raises:
        ShapeError: the values form no array; the message names `parameter`.
    """
    try:
        if type(values).__module__.partition(".")[0] == "torch":
            tensor: Any = values
            tensor = tensor.detach().cpu()
            values = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
        array = np.asarray(values)
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise ShapeError(
            f"{parameter} must be an array, or lists of one length; got a {type(values).__name__} ({error})."
        ) from error


def check_whole_number(value: object, parameter: str, *, least: int) -> None:
    """Check a setting.

    Raises:
        SettingError: it is no whole number, or below `least`; the message names `parameter`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise SettingError(f"{parameter} must be a whole number, at least {least}; got {value!r}.")


def normalise_name(name: str) -> str:
    """The name in Unicode's composed form (NFC), so that both ways of storing an accented letter are one name."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def select_rows(values: Column, indices: IntArray) -> Column:
    """The values at `indices`, in that order; Arrow's stay Arrow's."""
    return values.take(indices) if hasattr(values, "take") else tuple(values[index] for index in indices.tolist())


def _ids(values: object, parameter: str) -> IntArray:
    """A read-only (N,) int64 copy of `values`."""
    try:
        array = as_array(values, parameter)
    except ShapeError as error:
        raise LabelsError(str(error)) from error
    if array.ndim != 1:
        raise LabelsError(f"{parameter} must be one-dimensional, one id a crop; got shape {array.shape}.")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise LabelsError(
            f"{parameter} must be integers; got {array.dtype}. Number the identities first, for example with "
            "np.unique(names, return_inverse=True)."
        )
    copy = array.astype(np.int64)
    if array.dtype == np.uint64 and (copy < 0).any():
        raise LabelsError(f"{parameter} holds {array.max()}, which is more than an id can be (2⁶³ − 1).")
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True, eq=False)
class Labels:
    """Who is on each of N crops, and which camera saw them.

    Attributes:
        person_ids: (N,) int64; lists are accepted. -1 is junk (see `JUNK_PERSON_ID`).
        camera_ids: (N,) int64, or None where cameras are not known; never a silent zero.

    Raises:
        LabelsError: the arrays are not one-dimensional integers of one length.
    """

    person_ids: IntArray
    camera_ids: IntArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "person_ids", _ids(self.person_ids, "person_ids"))
        if self.camera_ids is not None:
            object.__setattr__(self, "camera_ids", _ids(self.camera_ids, "camera_ids"))
            if len(self.camera_ids) != len(self.person_ids):
                raise LabelsError(
                    f"{len(self.person_ids)} person ids but {len(self.camera_ids)} camera ids: "
                    "the arrays must be aligned, one entry a crop."
                )

    def __len__(self) -> int:
        return len(self.person_ids)


def as_labels(values: object, parameter: str) -> Labels:
    """`values` if they are labels; a list of person ids becomes labels without cameras.

    Raises:
        LabelsError: they are neither; the message names `parameter`.
    """
    if isinstance(values, Labels):
        return values
    if values is None or isinstance(values, Crops):
        raise LabelsError(f"{parameter} must be Labels or a list of person ids; got a {type(values).__name__}.")
    return Labels(_ids(values, parameter))


@dataclass(frozen=True)
class Sample:
    """One crop: its file, person and camera (None where cameras are not known)."""

    path: Path
    person_id: int
    camera_id: int | None


@dataclass(frozen=True, eq=False)
class Crops:
    """N crops in a stated order, and who is on them where that is known for all of them.

    Ids that are not whole numbers are numbered when they are read; the columns
    ``person_name`` and ``camera_name`` then hold what was written. Numbers made
    for one list of crops mean nothing in another: see `omnireid.data.numbering`.

    Attributes:
        paths: N files; text such as ``s3://bucket/1.jpg`` becomes an `omnireid.addresses.Address`.
        person_ids: (N,) int64, or None where people are not known.
        camera_ids: (N,) int64, or None where cameras are not known.
        columns: what else was said of each crop, N values a column.

    Raises:
        DataError: the arrays disagree in length, or a name is not text.
        LabelsError: ids that are not integers, or cameras without people.
    """

    paths: tuple[Path, ...]
    person_ids: IntArray | None = None
    camera_ids: IntArray | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", _paths(self.paths))
        lengths = {"paths": len(self.paths)}
        if self.person_ids is not None:
            labels = Labels(self.person_ids, self.camera_ids)
            object.__setattr__(self, "person_ids", labels.person_ids)
            object.__setattr__(self, "camera_ids", labels.camera_ids)
            lengths["person_ids"] = len(labels)
        elif self.camera_ids is not None:
            raise LabelsError("There are camera_ids but no person_ids. Give both, or only the person_ids.")
        if not isinstance(self.columns, Mapping):
            raise DataError(f"columns must be a dict from name to values; got a {type(self.columns).__name__}.")
        columns = {name: _column(name, values) for name, values in self.columns.items()}
        object.__setattr__(self, "columns", columns)
        lengths |= {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"The arrays of crops must be aligned, one entry a crop; their lengths are {lengths}.")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labels(self) -> Labels | None:
        """Person and camera ids of the crops, in the same order; None where people are not known."""
        return None if self.person_ids is None else Labels(self.person_ids, self.camera_ids)

    def select(self, indices: npt.ArrayLike) -> Self:
        """The crops at `indices` (integers, or a mask of N booleans), in that order."""
        chosen = np.arange(len(self))[np.asarray(indices)] if len(self) else np.empty(0, dtype=np.int64)
        return replace(
            self,
            paths=tuple(self.paths[index] for index in chosen.tolist()),
            person_ids=None if self.person_ids is None else self.person_ids[chosen],
            camera_ids=None if self.camera_ids is None else self.camera_ids[chosen],
            columns={name: select_rows(values, chosen) for name, values in self.columns.items()},
        )


def as_crops(values: Crops | Sequence[str | Path]) -> Crops:
    """`values` if they are crops; a list of paths becomes crops of unknown people.

    Raises:
        DataError: they are neither.
    """
    return values if isinstance(values, Crops) else Crops(_paths(values))


def _paths(values: object) -> tuple[Path, ...]:
    """The paths as a tuple; a single path is not a list of paths."""
    try:
        if isinstance(values, (str, bytes, Path)):
            raise TypeError("one path where a list of paths is expected")
        return tuple(path if isinstance(path, Path) else path_of(os.fspath(path)) for path in values)  # type: ignore[attr-defined]
    except TypeError as error:
        raise DataError(
            f"paths must be a list of paths, one a crop; got a {type(values).__name__} ({error})."
        ) from error


def _column(name: str, values: Column) -> Column:
    """The column as it is kept: Arrow's values as they are, others as a tuple, names as text in composed form."""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise DataError(f"columns[{name!r}] must be a list of values, one a crop; got a {type(values).__name__}.")
    if name not in NAME_COLUMNS:
        return values if hasattr(values, "take") and hasattr(values, "to_pylist") else tuple(values)
    names = []
    for row, text in enumerate(values.to_pylist() if hasattr(values, "to_pylist") else values):
        if not isinstance(text, str):
            raise DataError(f"Row {row + 1} of the column {name!r} must be a name; found {text!r}.")
        names.append(normalise_name(text))
    return tuple(names)


@dataclass(frozen=True, eq=False)
class Split(Crops):
    """Crops of which every person is known: a part of a data set.

    Attributes:
        paths: N files.
        person_ids: (N,) int64.
        camera_ids: (N,) int64, or None where cameras are not known.
        columns: what else a manifest said of each crop, N values a column.

    Raises:
        DataError: the arrays disagree in length.
        LabelsError: ids that are not integers.
    """

    person_ids: IntArray

    def __post_init__(self) -> None:
        if self.person_ids is None:
            raise LabelsError("A split needs person_ids. Crops of unknown people are a Crops.")
        super().__post_init__()

    def __getitem__(self, index: int) -> Sample:
        camera_id = None if self.camera_ids is None else int(self.camera_ids[index])
        return Sample(self.paths[index], int(self.person_ids[index]), camera_id)

    @property
    def labels(self) -> Labels:
        """Person and camera ids of the crops, in the same order."""
        return Labels(self.person_ids, self.camera_ids)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set with the split and the protocol its numbers are published under.

    Attributes:
        name: short name, such as ``market1501``; the folder's name for your own data.
        layout: the layout it was read by; see ``omnireid.data.datasets.LAYOUTS``.
        root: the folder (or manifest) it was read from.
        train: crops to learn from; may be empty for data that is only searched.
        query: crops to look for.
        gallery: crops to look in. Junk (person id -1) is already dropped, distractors are kept.
        protocol: the protocol its numbers are published under.
        validation: crops held out of training where the data set names some.
        multi_query: further crops of the queries, for the multi-query protocol (Market-1501's ``gt_bbox``).
        split_index: which of the data set's published splits this is, from 0.
        split_count: how many published splits there are to average over; 1 for most.
        licence: terms of use in one line, as far as they are known.
        notes: differences from the published counts and other things a reader of the numbers should know.
    """

    name: str
    layout: str
    root: Path
    train: Split
    query: Split
    gallery: Split
    protocol: Protocol = "single-query"
    validation: Split | None = None
    multi_query: Split | None = None
    split_index: int = 0
    split_count: int = 1
    licence: str = "unknown"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise DataError(f"No protocol {self.protocol!r}. Known: {', '.join(PROTOCOLS)}.")
        if not 0 <= self.split_index < self.split_count:
            raise DataError(
                f"Split {self.split_index} of {self.name} does not exist; it has {self.split_count}, counted from 0."
            )

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name, in the order train, validation, query, gallery, multi_query; absent ones left out."""
        named = {
            "train": self.train,
            "validation": self.validation,
            "query": self.query,
            "gallery": self.gallery,
            "multi_query": self.multi_query,
        }
        return {name: split for name, split in named.items() if split is not None}
