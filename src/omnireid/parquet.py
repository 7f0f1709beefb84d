"""Reading Parquet files of strangers: whatever is wrong with one is an error of Arrow or of the system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from omnireid.addresses import arrow_source

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet_schema(path: Path) -> pa.Schema:
    """Read the columns of a Parquet file.

    Raises:
        OSError: It cannot be read.
        pyarrow.ArrowException: It is no whole Parquet file, or the name of a column is not UTF-8.
    """
    import pyarrow.parquet as pq

    with _text_errors(), arrow_source(path) as source:
        schema = pq.read_schema(source)
        _ = schema.names
    return schema


def read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file.

    Raises:
        OSError: It cannot be read.
        pyarrow.ArrowException: It is no whole Parquet file, or a text in it is not UTF-8.
    """
    import pyarrow.parquet as pq

    with _text_errors(), arrow_source(path) as source:
        table = pq.read_table(source)
        _ = table.column_names
        table.validate(full=True)  # texts, which are otherwise decoded only when they become Python values
    return table


@contextmanager
def _text_errors() -> Iterator[None]:
    """Say in an error of Arrow that a name is not UTF-8."""
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(f"the name of a column is not UTF-8: {error}") from error
