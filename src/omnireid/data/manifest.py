"""Your own crops listed in a CSV or Parquet file: ``path, person_id, camera_id, split`` and any further columns."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from omnireid.addresses import is_address, path_of
from omnireid.data.assembly import ROLES, OwnData, Row, assemble, number_ids, role_problem
from omnireid.data.folders import existing_forms, is_visible, missing_files, real_places
from omnireid.data.identifiers import IdError, id_text
from omnireid.data.layout import Layout, Request
from omnireid.data.manifest_file import OWN_COLUMNS, read_columns
from omnireid.data.naming import ROLE_OF_WORD
from omnireid.errors import DataNotFoundError, ManifestError, list_briefly
from omnireid.types import Column, Crops, Dataset, IntArray

MANIFEST_SUFFIXES = (".csv", ".parquet")

MANIFEST_FILES = ("manifest.csv", "manifest.parquet")
"""Names under which a manifest is found in a folder."""

_ROLE_OF_SPLIT = {role: role for role in ROLES} | ROLE_OF_WORD


def detect(_folder: Path, names: frozenset[str]) -> bool:
    """Recognise a manifest under its usual name."""
    return bool(names & set(MANIFEST_FILES))


def read(root: Path, request: Request) -> Dataset:
    """Read a manifest, or the folder that holds a ``manifest.csv`` or ``manifest.parquet``.

    Paths are relative to the manifest's folder, or absolute, or addresses such as
    ``s3://bucket/1.jpg``. Ids that are not whole
    numbers are numbered in sorted order and kept in the columns ``person_name`` and
    ``camera_name``. Without ``camera_id`` the protocol is no-cameras; without
    ``split`` a split is made, see `partition`. Person -1 is junk and dropped.

    Raises:
        ManifestError: a column is missing, or a value is wrong; the message names file, row and column.
        DataNotFoundError: there is no such file, or it has no rows.
    """
    file = root if root.suffix.lower() in MANIFEST_SUFFIXES else _file_in(root)
    table = _Table(file, read_columns(file, needed=("path", "person_id")))
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
    """List all crops of a manifest in their order there: junk is kept, and no split is made.

    Person and camera ids are None where there is no column ``person_id``. The
    further columns include ``split``, and the names of ids that are not numbers.

    Raises:
        ManifestError: there is no column ``path``, or a value is wrong.
        DataNotFoundError: there is no such file, or it has no rows.
    """
    columns = read_columns(file, needed=("path",))
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


def _file_in(folder: Path) -> Path:
    there = [folder / name for name in MANIFEST_FILES if (folder / name).is_file()]
    if len(there) > 1:
        raise ManifestError(f"{folder} holds both {' and '.join(MANIFEST_FILES)}. Give the one you mean.")
    if not there:
        raise DataNotFoundError(f"There is no {' or '.join(MANIFEST_FILES)} in {folder}. Give the manifest's own path.")
    return there[0]


class _Table:
    """The columns of one manifest. Its errors name the row and column of a wrong value."""

    def __init__(self, file: Path, columns: Mapping[str, Column]) -> None:
        self.file = file
        self.columns = columns

    def rows(self) -> list[Row]:
        """Check the rows and return them."""
        paths = self.paths()
        people = self.ids("person_id")
        cameras: Sequence[str | None] = self.ids("camera_id") if "camera_id" in self.columns else [None] * len(paths)
        roles: Sequence[str | None] = self._roles() if "split" in self.columns else [None] * len(paths)
        rows = [Row(*values) for values in zip(paths, people, cameras, roles, strict=True)]
        self._refuse_doubles(rows)
        return rows

    def numbered(self, what: Literal["person", "camera"], names: dict[str, Column]) -> IntArray:
        """The ids of people or cameras as numbers. Ids that are names are also added to `names` as a column."""
        texts = self.ids(f"{what}_id")
        ids, named = number_ids(texts)
        if named:
            names[f"{what}_name"] = texts
        return ids

    def further_columns(self) -> dict[str, Column]:
        """The columns that have no meaning here and are passed on."""
        further = {name: values for name, values in self.columns.items() if name not in OWN_COLUMNS}
        for name in ("person_name", "camera_name"):
            if name in further:
                raise ManifestError(f"{self.file} has a column {name!r}, kept for ids that are not numbers. Rename it.")
        return further

    def _error(self, row: int, column: str, problem: str, advice: str) -> ManifestError:
        value = self.columns[column][row]
        return ManifestError(f"Row {row + 1} of {self.file}, column {column}: {problem}, found {value!r}. {advice}")

    def paths(self) -> list[Path]:
        """The listed files, after a check that each is there."""
        for row, value in enumerate(self.columns["path"]):
            if not isinstance(value, str) or not value:
                raise self._error(row, "path", "there must be the path of a crop", "Fill it in, or delete the row.")
        paths = [self._place(str(value)) for value in self.columns["path"]]
        missing = missing_files(paths)
        if missing:
            paths = self._written_otherwise(paths, set(missing))
            missing = missing_files(paths)
        if missing:
            row = paths.index(missing[0]) + 1
            other = next((path for path in missing if is_visible(path)), None)
            raise ManifestError(
                f"{len(missing):,} of the {len(paths):,} crops listed in {self.file} are not there: "
                f"{list_briefly(missing)} (the first in row {row})."
                + (f" {other} is no regular file; it will not be read." if other else "")
                + " Paths are relative to the manifest's folder."
            )
        return paths

    def _place(self, value: str) -> Path:
        return path_of(value) if is_address(value) else self.file.parent / value

    def _written_otherwise(self, paths: list[Path], missing: set[Path]) -> list[Path]:
        """The paths; missing ones get ``/`` for Windows' backslashes, and the Unicode normal form found on the disk."""
        if os.sep != "\\":
            values = (str(value) for value in self.columns["path"])
            paths = [
                self._place(value.replace("\\", "/")) if path in missing else path
                for path, value in zip(paths, values, strict=True)
            ]
        return existing_forms(paths)

    def ids(self, column: str) -> list[str]:
        """The ids of a column as text, after a check of each."""
        ids = []
        for row, value in enumerate(self.columns[column]):
            try:
                text = id_text(value)
            except IdError as error:
                advice = error.advice
                if column == "camera_id" and error.is_missing:
                    advice = "Fill it in; where no camera is known, leave out the whole column (protocol no-cameras)."
                raise self._error(row, column, error.problem, advice) from None
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
        only_learned = set(roles) <= {"train", "validation"}  # nothing can be scored then, so nothing flatters
        problem = None if only_learned else role_problem(set(roles))
        if problem is not None:
            raise ManifestError(
                f"{self.file}, column split: {problem}. It names {', '.join(sorted(set(roles)))}. "
                "To have the crops split for you, drop the column."
            )
        return roles

    def _refuse_doubles(self, rows: list[Row]) -> None:
        """Refuse a crop that is listed twice, also under two paths such as ``b.jpg`` and ``a/../b.jpg``.

        It may be query and gallery at once where its camera is known: its own match is then skipped.
        """
        first: dict[tuple[str, str], int] = {}
        for number, (row, place) in enumerate(zip(rows, real_places(row.path for row in rows), strict=True)):
            before = first.setdefault(place, number)
            if before == number:
                continue
            other = rows[before]
            same = (row.person, row.camera) == (other.person, other.camera)
            if same and row.camera is not None and {row.role, other.role} == {"query", "gallery"}:
                continue
            crop = row.path if row.path == other.path else f"under two paths, {other.path} and {row.path}"
            raise ManifestError(
                f"Rows {before + 1} and {number + 1} of {self.file} list the same crop {crop}. Delete one of them."
            )


LAYOUT = Layout(
    name="manifest",
    sentence="Your own crops listed in a CSV or Parquet file: path, person_id, camera_id, split and more.",
    expected="manifest.csv or manifest.parquet, or the path of such a file",
    licence="your own data: its terms are for you to know",
    detect=detect,
    read=read,
)
