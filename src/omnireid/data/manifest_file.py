"""The file of a manifest, CSV or Parquet, read into columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from omnireid.data.folders import input_errors
from omnireid.errors import DataNotFoundError, ManifestError
from omnireid.parquet import read_parquet
from omnireid.types import Column

OWN_COLUMNS = ("path", "person_id", "camera_id", "split")
"""The columns that have a meaning here. All others are passed on as they are."""

# The line break stays, so that the lines of messages count as in the file.
_SEPARATOR = re.compile(r'"?sep=([^\w\s"]|\t)"?[^\S\n\t]*(?=\r?\n)', re.IGNORECASE)


def read_columns(file: Path, needed: Sequence[str]) -> dict[str, Column]:
    """Read the columns of a manifest by name.

    Args:
        file: a Parquet file by its suffix; anything else is read as CSV.
        needed: columns that must be there.

    Raises:
        ManifestError: the file is not what its name says, or lacks a column.
        DataNotFoundError: there is no such file, or it has no rows.
    """
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
    if not any(len(values) for values in columns.values()):
        raise DataNotFoundError(f"{file} lists no crop: it has a header and no row.")
    return columns


def _read_csv(file: Path) -> dict[str, Column]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file} is not UTF-8 text ({error}). Save it as UTF-8.") from None
    separator, text = _declared_separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ManifestError(f"Line {reader.line_num} of {file} is not CSV: {error}. Check the quotes.") from None
    if not lines:
        raise DataNotFoundError(
            f"{file} is empty. A manifest begins with a header such as path,person_id,camera_id,split."
        )
    header = [cell.strip() for cell in lines[0][1]]
    while not header[-1]:  # spreadsheets write a comma for each empty column at the right
        header.pop()
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        found = "semicolons" if ";" in header[0] else "tabs"
        raise ManifestError(f"{file} is separated by {found}, not by commas. Save it with commas.")
    if len(set(header)) < len(header):
        double = sorted({name for name in header if header.count(name) > 1})
        raise ManifestError(f"{file} has the column {double[0]!r} twice. Rename or drop one.")
    for line, cells in lines[1:]:
        if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            raise ManifestError(
                f"Line {line} of {file} has {len(cells)} values, but the header names {len(header)} columns. "
                "Put values with a comma in double quotes."
            )
    return {name: [cells[i].strip() for _, cells in lines[1:]] for i, name in enumerate(header)}


def _declared_separator(text: str) -> tuple[str, str]:
    """The separator that a first line such as ``sep=;`` declares, else a comma; and the text with that line blank."""
    declared = _SEPARATOR.match(text)
    return (declared.group(1), text[declared.end() :]) if declared else (",", text)


def _read_parquet(file: Path) -> dict[str, Column]:
    """The columns. Only those with a meaning here become Python values, as Arrow has types that Python lacks."""
    import pyarrow

    try:
        table = read_parquet(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ManifestError(f"{file} is not a readable Parquet file ({error}). Write it again.") from error
    if len(set(table.column_names)) < len(table.column_names):
        double = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        raise ManifestError(f"{file} has the column {double[0]!r} twice. Rename or drop one.")
    columns: dict[str, Column] = {name: table.column(name) for name in table.column_names}
    for name in set(OWN_COLUMNS) & set(columns):
        try:
            columns[name] = table.column(name).to_pylist()
        except (pyarrow.ArrowException, ValueError) as error:
            raise ManifestError(
                f"The column {name!r} of {file} is of type {table.schema.field(name).type} ({error}). Write text or "
                "whole numbers."
            ) from error
    return columns
