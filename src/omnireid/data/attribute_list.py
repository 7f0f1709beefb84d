"""Attributes in a CSV or Parquet file of one's own: a column of 0 and 1 for each, beside ``path`` or ``person_id``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omnireid.data.attributes import Attributes
from omnireid.data.identifiers import IdError, id_text
from omnireid.data.manifest import list_manifest
from omnireid.data.manifest_file import OWN_COLUMNS, read_columns
from omnireid.data.naming import ROLE_OF_WORD
from omnireid.data.synthetic_marker import SYNTHETIC_LICENCE, is_synthetic
from omnireid.errors import ManifestError
from omnireid.types import NAME_COLUMNS, BoolArray, Column, IntArray

ATTRIBUTES_FILE = "attributes.csv"
"""Name under which the attributes of a data set's people are found in its folder."""

_VALUE_OF = {"0": False, "1": True, 0: False, 1: True}
_LICENCE = "your own data: its terms are for you to know"


def read_attribute_list(file: Path) -> Attributes:
    """Read attributes by crop (a column ``path``), or by person (``person_id`` and no ``path``).

    Every column besides ``path``, ``person_id``, ``camera_id`` and ``split`` is an attribute. Paths are relative to
    the file's folder, as in a manifest. ``split`` may be train, validation, query, gallery or test.

    Raises:
        ManifestError: There is neither path nor person_id, no attribute, a value that is neither 0 nor 1, or a
            listed crop that is not there; the message names row and column.
        DataNotFoundError: There is no such file, or it has no row.
    """
    columns = read_columns(file, needed=())
    if not {"path", "person_id"} & set(columns):
        raise ManifestError(
            f"{file} has neither a column 'path' nor 'person_id'; its columns are {', '.join(columns)}. Say by one of "
            "them whose attributes a row holds."
        )
    names = tuple(name for name in columns if name not in (*OWN_COLUMNS, *NAME_COLUMNS))
    if not names:
        raise ManifestError(f"{file} has no attribute: add a column of 0 and 1 for each (docs/attributes.md).")
    values = np.stack([_booleans(file, name, columns[name]) for name in names], axis=1)
    is_by_crop, is_drawn = "path" in columns, is_synthetic(file.parent)
    return Attributes(
        name="synthetic" if is_drawn else file.resolve().parent.name,
        names=names,
        values=values,
        source=file,
        person_ids=None if is_by_crop else _person_ids(file, columns["person_id"]),
        crops=list_manifest(file) if is_by_crop else None,
        splits=_splits(file, columns["split"]) if is_by_crop and "split" in columns else (),
        licence=SYNTHETIC_LICENCE if is_drawn else _LICENCE,
    )


def write_person_attributes(
    file: Path, person_ids: Sequence[int], names: Sequence[str], values: Sequence[Sequence[bool]]
) -> None:
    """Write the attributes of people as the CSV that `read_attribute_list` reads."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["person_id", *names])
        writer.writerows([person, *map(int, row)] for person, row in zip(person_ids, values, strict=True))


def _plain(values: Column) -> Sequence[object]:
    """The values of a column as Python's own; those of a Parquet file come as Arrow's."""
    return values.to_pylist() if hasattr(values, "to_pylist") else values


def _booleans(file: Path, name: str, values: Column) -> BoolArray:
    plain = _plain(values)
    for row, value in enumerate(plain):
        if not isinstance(value, (str, int, float)) or value not in _VALUE_OF:
            raise ManifestError(
                f"Row {row + 1} of {file}, column {name}: an attribute is 0 or 1; found {value!r}. Correct it, or drop "
                "the column if it is no attribute."
            )
    return np.array([_VALUE_OF[value] for value in plain], dtype=bool)


def _person_ids(file: Path, values: Column) -> IntArray:
    ids = []
    for row, value in enumerate(_plain(values)):
        try:
            ids.append(int(id_text(value)))
        except (IdError, ValueError):
            raise ManifestError(
                f"Row {row + 1} of {file}, column person_id: there must be a whole number; found {value!r}. People "
                "with names need a column 'path', one row a crop."
            ) from None
    return np.array(ids, dtype=np.int64)


def _splits(file: Path, values: Column) -> tuple[str, ...]:
    roles = []
    for row, value in enumerate(_plain(values)):
        role = ROLE_OF_WORD.get(str(value).strip().lower())
        if role is None:
            raise ManifestError(
                f"Row {row + 1} of {file}, column split: there must be train, validation, query, gallery or test; "
                f"found {value!r}. Correct it, or drop the column."
            )
        roles.append(role)
    return tuple(roles)
