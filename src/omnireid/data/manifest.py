"""One's own crops listed in a CSV or Parquet file: ``path, person_id, camera_id, split`` and any further columns."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from omnireid.data.assembly import ROLES, OwnData, Row, assemble, number_ids, role_problem
from omnireid.data.folders import input_errors, missing_files
from omnireid.data.layout import Layout, Request
from omnireid.errors import DataNotFoundError, ManifestError, list_briefly
from omnireid.types import Column, Crops, Dataset, IntArray

MANIFEST_SUFFIXES = (".csv", ".parquet")

_FILES = ("manifest.csv", "manifest.parquet")
_OWN_COLUMNS = ("path", "person_id", "camera_id", "split")
_NOTHING = ("", "nan", "null", "none", "<na>")
_FRACTION = re.compile(r"(-?[0-9]+)\.([0-9]*)")
_ROLE_OF_SPLIT = {role: role for role in ROLES} | {"val": "validation", "valid": "validation", "probe": "query"}


def detect(_folder: Path, names: frozenset[str]) -> bool:
    """A manifest under its usual name."""
    return bool(names & set(_FILES))


def read(root: Path, request: Request) -> Dataset:
    """Read a manifest, or the folder that holds a ``manifest.csv`` or ``manifest.parquet``.

    Paths are relative to the manifest's folder, or absolute. Ids that are not whole
    numbers are numbered in sorted order and kept in the columns ``person_name`` and
    ``camera_name``. Without ``camera_id`` the protocol is no-cameras; without
    ``split`` it is made, see `partition`. Person -1 is junk and dropped.

    Raises:
        ManifestError: a column is missing, or a value is wrong; the message names file, row and column.
        DataNotFoundError: no such file, or nothing in it.
    """
    file = root if root.suffix.lower() in MANIFEST_SUFFIXES else _file_in(root)
    table = _Table(file, _columns_of(file, needed=("path", "person_id")))
    data = OwnData(
        name=file.resolve().parent.name,
        layout=LAYOUT.name,
        root=root,
        licence=LAYOUT.licence,
        rows=table.rows(),
        columns=table.further_columns(),
    )
    return assemble(data, request)


def list_manifest(file: Path) -> Crops:
    """List the crops of a manifest in its own order, whatever they are there for: junk too, and with no split made.

    Person and camera ids are None where there is no column ``person_id``. The
    further columns include ``split``, and the names of ids that are not numbers.

    Raises:
        ManifestError: there is no column ``path``, or a value is wrong.
        DataNotFoundError: no such file, or nothing in it.
    """
    columns = _columns_of(file, needed=("path",))
    table = _Table(file, columns)
    paths = tuple(table.paths())
    further = table.further_columns()
    if "split" in columns:
        further["split"] = columns["split"]
    if "person_id" not in columns:
        return Crops(paths, columns=further)
    person_ids = table.numbered("person", further)
    camera_ids = table.numbered("camera", further) if "camera_id" in columns else None
    return Crops(paths, person_ids, camera_ids, further)


def _columns_of(file: Path, needed: Sequence[str]) -> dict[str, Column]:
    """The columns of a manifest by name, checked to be there and to have rows."""
    with input_errors(file):
        if not file.is_file():
            raise DataNotFoundError(f"There is no manifest {file}. Check the path.")
        columns = _read_parquet(file) if file.suffix.lower() == ".parquet" else _read_csv(file)
    for name in needed:
        if name not in columns:
            raise ManifestError(
                f"{file} has no column {name!r}; its columns are {', '.join(columns)}. A manifest needs path and "
                "person_id (path alone, to embed), and may have camera_id and split (docs/datasets.md)."
            )
    if not len(columns["path"]):
        raise DataNotFoundError(f"{file} lists no crop: it has a header and no row.")
    return columns


def _file_in(folder: Path) -> Path:
    there = [folder / name for name in _FILES if (folder / name).is_file()]
    if len(there) > 1:
        raise ManifestError(f"{folder} holds both {' and '.join(_FILES)}. Give the one you mean.")
    if not there:
        raise DataNotFoundError(f"There is no {' or '.join(_FILES)} in {folder}. Give the manifest's own path.")
    return there[0]


def _read_csv(file: Path) -> dict[str, Column]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file} is not UTF-8 text ({error}). Save it as UTF-8.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ManifestError(f"Line {reader.line_num} of {file} is not CSV: {error}. Check the quotes.") from None
    if not lines:
        raise DataNotFoundError(
            f"{file} is empty. A manifest begins with a header such as path,person_id,camera_id,split."
        )
    header = [cell.strip() for cell in lines[0][1]]
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        found = "semicolons" if ";" in header[0] else "tabs"
        raise ManifestError(f"{file} is separated by {found}, not by commas. Save it with commas.")
    if len(set(header)) < len(header):
        double = sorted({name for name in header if header.count(name) > 1})
        raise ManifestError(f"{file} has the column {double[0]!r} twice. Rename or drop one.")
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            raise ManifestError(
                f"Line {line} of {file} has {len(cells)} values, but the header names {len(header)} columns. "
                "Put values with a comma in double quotes."
            )
    return {name: [cells[i].strip() for _, cells in lines[1:]] for i, name in enumerate(header)}


def _read_parquet(file: Path) -> dict[str, Column]:
    """The columns; only those with a meaning here become Python values, as Arrow has types that Python lacks."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ManifestError(f"{file} is not a readable Parquet file ({error}). Write it again.") from error
    if len(set(table.column_names)) < len(table.column_names):
        double = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        raise ManifestError(f"{file} has the column {double[0]!r} twice. Rename or drop one.")
    columns: dict[str, Column] = {name: table.column(name) for name in table.column_names}
    for name in set(_OWN_COLUMNS) & set(columns):
        try:
            columns[name] = table.column(name).to_pylist()
        except (pyarrow.ArrowException, ValueError) as error:
            raise ManifestError(
                f"The column {name!r} of {file} is of type {table.schema.field(name).type} ({error}). Write text or "
                "whole numbers."
            ) from error
    return columns


class _Table:
    """The columns of one manifest, and where a value stands in it, for messages."""

    def __init__(self, file: Path, columns: Mapping[str, Column]) -> None:
        self.file = file
        self.columns = columns

    def rows(self) -> list[Row]:
        """The checked rows."""
        paths = self.paths()
        people = self.ids("person_id")
        cameras: Sequence[str | None] = self.ids("camera_id") if "camera_id" in self.columns else [None] * len(paths)
        roles: Sequence[str | None] = self._roles() if "split" in self.columns else [None] * len(paths)
        rows = [Row(*values) for values in zip(paths, people, cameras, roles, strict=True)]
        self._refuse_doubles(rows)
        return rows

    def numbered(self, what: Literal["person", "camera"], names: dict[str, Column]) -> IntArray:
        """The ids of people or cameras as numbers; where they were names, these are added to `names`."""
        texts = self.ids(f"{what}_id")
        ids, named = number_ids(texts)
        if named:
            names[f"{what}_name"] = texts
        return ids

    def further_columns(self) -> dict[str, Column]:
        """The columns with no meaning here."""
        further = {name: values for name, values in self.columns.items() if name not in _OWN_COLUMNS}
        for name in ("person_name", "camera_name"):
            if name in further:
                raise ManifestError(f"{self.file} has a column {name!r}, kept for ids that are not numbers. Rename it.")
        return further

    def _error(self, row: int, column: str, problem: str, advice: str) -> ManifestError:
        value = self.columns[column][row]
        return ManifestError(f"Row {row + 1} of {self.file}, column {column}: {problem}, found {value!r}. {advice}")

    def paths(self) -> list[Path]:
        """The files, checked to be there."""
        for row, value in enumerate(self.columns["path"]):
            if not isinstance(value, str) or not value:
                raise self._error(row, "path", "there must be the path of a crop", "Fill it in, or delete the row.")
        paths = [self.file.parent / str(value) for value in self.columns["path"]]
        missing = missing_files(paths)
        if missing:
            row = paths.index(missing[0]) + 1
            raise ManifestError(
                f"{len(missing):,} of the {len(paths):,} crops listed in {self.file} are not there: "
                f"{list_briefly(missing)} (the first in row {row}). Paths are relative to the manifest's folder."
            )
        return paths

    def ids(self, column: str) -> list[str]:
        """The ids of a column as text, checked."""
        ids = []
        for row, value in enumerate(self.columns[column]):
            text = _id_text(value)
            if text is None:
                advice = "Fill it in, or delete the row."
                if column == "camera_id":
                    advice = "Fill it in; where no camera is known, leave out the whole column (protocol no-cameras)."
                raise self._error(row, column, "there must be a whole number or a name", advice)
            if text.startswith("-") and text[1:].isdigit() and (text != "-1" or column == "camera_id"):
                raise self._error(row, column, "an id is not negative", "Only person_id may be -1, for junk.")
            ids.append(text)
        return ids

    def _roles(self) -> list[str]:
        roles = []
        for row, value in enumerate(self.columns["split"]):
            role = _ROLE_OF_SPLIT.get(value.strip().lower()) if isinstance(value, str) else None
            if role is None:
                raise self._error(
                    row,
                    "split",
                    f"there must be one of {', '.join(ROLES)}",
                    "To have it split for you, drop the column.",
                )
            roles.append(role)
        problem = role_problem(set(roles))
        if problem is not None:
            raise ManifestError(
                f"{self.file}, column split: {problem}. It names {', '.join(sorted(set(roles)))}. "
                "To have the crops split for you, drop the column."
            )
        return roles

    def _refuse_doubles(self, rows: list[Row]) -> None:
        """Refuse a crop listed twice, but as query and gallery where its camera is known: its own match is skipped."""
        first: dict[Path, int] = {}
        for number, row in enumerate(rows):
            before = first.setdefault(row.path, number)
            if before == number:
                continue
            other = rows[before]
            same = (row.person, row.camera) == (other.person, other.camera)
            if same and row.camera is not None and {row.role, other.role} == {"query", "gallery"}:
                continue
            raise ManifestError(
                f"Rows {before + 1} and {number + 1} of {self.file} list the same crop {row.path}. Delete one of them."
            )


def _id_text(value: object) -> str | None:
    """An id as text, or None where there is none: empty, NaN, a fraction, another type."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):  # pandas turns a column of whole numbers with gaps into floats
        return str(int(value)) if math.isfinite(value) and value.is_integer() else None
    if not isinstance(value, str) or value.strip().lower() in _NOTHING:
        return None
    fraction = _FRACTION.fullmatch(value.strip())
    if fraction is None:
        return value.strip()
    return fraction.group(1) if not fraction.group(2).strip("0") else None


LAYOUT = Layout(
    name="manifest",
    sentence="Your own crops listed in a CSV or Parquet file: path, person_id, camera_id, split and more.",
    expected="manifest.csv or manifest.parquet, or the path of such a file",
    licence="your own data: its terms are for you to know",
    detect=detect,
    read=read,
)
