"""Crops with their embeddings, and how they are kept: a Parquet file with one row a crop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.errors import DataError, DataNotFoundError, EmbeddingError, LabelsError, ShapeError, newer_format
from omnireid.files import as_path, atomic_output
from omnireid.parquet import read_parquet, read_parquet_schema
from omnireid.types import Column, Crops, FloatArray, IntArray, Labels, as_array, as_crops, normalise_name

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1
_KEY = b"omnireid"
_COLUMNS = ("path", "person_id", "camera_id", "embedding")


@dataclass(frozen=True)
class Provenance:
    """What made a table of embeddings.

    Attributes:
        weights_sha256: SHA-256 of the weights; only tables of the same weights can be compared.
        model: name of the architecture.
        preprocessing: the fields of `omnireid.images.preprocess.Preprocessing`.
        distance: how the embeddings are meant to be compared.
        licence: terms of the weights.
        omnireid_version: version that wrote the table.
        runtime: what ran the network and what it computed in, such as ``openvino bf16``.
        job: fingerprint of crops, labels and weights, by which a second run recognises its own work.
        skipped: unreadable crops that were left out, as (path, reason).
    """

    weights_sha256: str
    model: str
    preprocessing: Mapping[str, Any]
    distance: str
    licence: str
    omnireid_version: str
    runtime: str = "unknown"
    job: str = ""
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def precision(self) -> str:
        """What the network computed in: ``fp32``, ``bf16``, ``fp16`` or ``int8``; ``unknown`` where nobody said."""
        return self.runtime.rpartition(" ")[2]


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """N crops with their embeddings.

    Attributes:
        crops: the files, their labels where known, and further columns; a list of paths is accepted.
        embeddings: (N, D), kept as float32 that cannot be written to; a torch tensor is accepted.
        provenance: what made the embeddings.
        source: the file the table was read from, for messages; None for a table made in memory.

    Raises:
        ShapeError: the embeddings are not N rows of real numbers.
        EmbeddingError: a value is not finite, and the message names row and crop; or there is no provenance.
    """

    crops: Crops
    embeddings: FloatArray
    provenance: Provenance
    source: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "crops", as_crops(self.crops))
        if not isinstance(self.provenance, Provenance):
            raise EmbeddingError(f"provenance must be a Provenance; got a {type(self.provenance).__name__}.")
        array = as_array(self.embeddings, "embeddings")
        if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiu":
            raise ShapeError(f"embeddings must be (N, D) real numbers; got {array.dtype} of shape {array.shape}.")
        if len(array) != len(self.crops):
            raise ShapeError(f"There are {len(self.crops):,} crops but {len(array):,} rows of embeddings.")
        with np.errstate(over="ignore"):  # what is too large for float32 is found below
            embeddings = np.asarray(array, dtype=np.float32).view()
        finite = np.isfinite(embeddings).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            where = "" if self.source is None else f" of {self.source}"
            raise EmbeddingError(
                f"Row {row}{where} ({self.paths[row]}) holds a value that is not finite. Embed the crops again."
            )
        embeddings.setflags(write=False)
        object.__setattr__(self, "embeddings", embeddings)

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the crops."""
        return self.crops.paths

    @property
    def labels(self) -> Labels | None:
        """Person and camera ids of the crops; None where people are not known."""
        return self.crops.labels

    @property
    def columns(self) -> Mapping[str, Column]:
        """What else was said of each crop."""
        return self.crops.columns

    def check_comparable(self, other: EmbeddingTable) -> tuple[str, ...]:
        """Check that distances between both tables' embeddings mean something.

        Returns:
            Sentences for the user on what differs but may be compared: tables computed in different precisions.

        Raises:
            EmbeddingError: other weights, another preprocessing, distance or width; the message names both tables.
        """
        mine, theirs = self.provenance, other.provenance
        one, two = self.source or "one table", other.source or "the other"
        if mine.weights_sha256 != theirs.weights_sha256:
            raise EmbeddingError(
                f"{one} was made by weights {mine.weights_sha256[:12]}… and {two} by {theirs.weights_sha256[:12]}…: "
                "their embeddings cannot be compared. Embed both with the same weights."
            )
        if _plain(mine.preprocessing) != _plain(theirs.preprocessing):
            raise EmbeddingError(f"{one} and {two} were made with different preprocessing. Embed both the same way.")
        if mine.distance != theirs.distance:
            raise EmbeddingError(
                f"{one} is meant for {mine.distance} distance and {two} for {theirs.distance}. Embed both with the "
                "same weights."
            )
        if self.embeddings.shape[1] != other.embeddings.shape[1]:
            raise EmbeddingError(
                f"The embeddings of {one} are {self.embeddings.shape[1]} wide and those of {two} "
                f"{other.embeddings.shape[1]}. Embed both with the same weights."
            )
        if mine.precision == theirs.precision:
            return ()
        return (
            f"{one} was computed in {mine.precision} and {two} in {theirs.precision}: scores can differ in the second "
            "decimal place from those of one precision.",
        )

    def pick(self, crops: Crops) -> EmbeddingTable:
        """The embeddings of those of `crops` that are in this table, in the order and with the labels of `crops`.

        A path stored in another Unicode normal form is the same path, unless the table has both.
        """
        rows = [self._row_of(path) for path in crops.paths]
        found = np.array([row is not None for row in rows], dtype=bool)
        kept = crops if found.all() else crops.select(found)
        chosen = np.array([row for row in rows if row is not None], dtype=np.int64)
        return EmbeddingTable(kept, self.embeddings[chosen], self.provenance, self.source)

    def _row_of(self, path: Path) -> int | None:
        row = self._row_of_path.get(path)
        if row is None and not str(path).isascii():
            row = self._row_of_normal_path.get(normalise_name(str(path)))
        return row

    @cached_property
    def _row_of_path(self) -> dict[Path, int]:
        return {path: row for row, path in reversed(list(enumerate(self.paths)))}

    @cached_property
    def _row_of_normal_path(self) -> dict[str, int]:
        rows = reversed(list(enumerate(map(str, self.paths))))
        return {normalise_name(path): row for row, path in rows if not path.isascii()}


def _plain(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as JSON gives them back: with lists where a fresh table has tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in preprocessing.items()}


def to_arrow(table: EmbeddingTable) -> pa.Table:
    """The table as Arrow: path, person_id and camera_id (null where not known), embedding, further columns.

    Raises:
        DataError: a further column mixes types.
    """
    import pyarrow as pa

    count, width = table.embeddings.shape
    crops = table.crops

    def ids(values: IntArray | None) -> pa.Array:
        return pa.nulls(count, pa.int64()) if values is None else pa.array(values)

    flat = pa.array(np.ascontiguousarray(table.embeddings).reshape(-1))
    columns = {
        "path": pa.array([str(path) for path in crops.paths], pa.string()),
        "person_id": ids(crops.person_ids),
        "camera_id": ids(crops.camera_ids),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, width),
        **{name: values for name, values in arrow_columns(crops).items() if name not in _COLUMNS},
    }
    return with_provenance(pa.table(columns), table.provenance)


def arrow_columns(crops: Crops) -> dict[str, pa.Array | pa.ChunkedArray]:
    """The further columns of `crops` as Arrow; those that are Arrow already stay as they are.

    Raises:
        DataError: a column mixes types.
    """
    import pyarrow as pa

    columns = {}
    for name, values in crops.columns.items():
        try:
            columns[name] = values if hasattr(values, "to_pylist") else pa.array(values)
        except pa.ArrowException as error:
            raise DataError(f"The column {name!r} mixes types ({error}). Give all its values one type.") from error
    return columns


def with_provenance(table: pa.Table, provenance: Provenance) -> pa.Table:
    """The same Arrow table with `provenance` as its metadata."""
    record = {"format_version": FORMAT_VERSION, **asdict(provenance)}
    return table.replace_schema_metadata({_KEY: json.dumps(record, sort_keys=True).encode()})


def write_embeddings(table: EmbeddingTable, path: Path) -> None:
    """Write a Parquet file that any reader understands.

    Raises:
        OutputError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    with atomic_output(path) as temporary:
        pq.write_table(to_arrow(table), temporary)


def is_embedding_table(path: Path) -> bool:
    """Whether a file is a table of embeddings, and not some other Parquet file, such as a manifest."""
    import pyarrow as pa

    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    try:
        return _KEY in (read_parquet_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def read_provenance(path: Path) -> Provenance:
    """Read what made a table, without its rows.

    Raises:
        DataNotFoundError: no such file.
        EmbeddingError: not a table of embeddings, truncated, or written by a newer version.
    """
    import pyarrow as pa

    try:
        if not path.is_file():
            raise DataNotFoundError(f"No such table of embeddings: {path}. Make it with: omnireid embed")
        schema = read_parquet_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise EmbeddingError(
            f"{path} is not a whole Parquet file ({error}). Make it again with: omnireid embed"
        ) from error
    missing = [name for name in _COLUMNS if name not in schema.names]
    metadata = schema.metadata or {}
    if missing or _KEY not in metadata:
        lack = f"missing columns: {', '.join(missing)}" if missing else "it does not say which weights made it"
        raise EmbeddingError(
            f"{path} is a Parquet file, but not of embeddings made by omnireid ({lack}). Make it with: omnireid embed"
        )
    try:
        record = json.loads(metadata[_KEY])
        version = int(record.pop("format_version"))
        if version <= FORMAT_VERSION:
            record["skipped"] = tuple((name, reason) for name, reason in record["skipped"])
            return Provenance(**record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EmbeddingError(f"The metadata of {path} is damaged ({error!r}). Make the table again.") from error
    raise EmbeddingError(newer_format(path, version, FORMAT_VERSION))


def read_embeddings(path: str | Path) -> EmbeddingTable:
    """Read what ``omnireid embed`` or `embed_to_parquet` wrote.

    Further columns stay Arrow arrays; ``to_pylist()`` gives their values.

    Raises:
        DataNotFoundError: no such file.
        EmbeddingError: not such a table, truncated, or with values that are not finite.
        LabelsError: some crops have a person or camera id and others have none.
        SettingError: `path` is no path.
    """
    import pyarrow as pa

    path = as_path(path, "path")
    provenance = read_provenance(path)
    try:
        table = read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise EmbeddingError(f"{path} is damaged ({error}). Make it again with: omnireid embed") from error
    kind = table.schema.field("embedding").type
    column = table.column("embedding").combine_chunks()
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_float32(kind.value_type) or column.null_count:
        raise EmbeddingError(f"The embeddings of {path} are not float32 lists of one width. Make the table again.")
    embeddings = np.asarray(column.flatten(), dtype=np.float32).reshape(len(table), column.type.list_size)
    person_ids = _ids(table, "person_id", path)
    crops = Crops(
        paths=tuple(table.column("path").to_pylist()),
        person_ids=person_ids,
        camera_ids=None if person_ids is None else _ids(table, "camera_id", path),
        columns={name: table.column(name) for name in table.column_names if name not in _COLUMNS},
    )
    return EmbeddingTable(crops, embeddings, provenance, path)


def _ids(table: pa.Table, name: str, path: Path) -> IntArray | None:
    """A column of ids, or None where it is empty."""
    column = table.column(name)
    if 0 < column.null_count < len(column):
        raise LabelsError(
            f"{column.null_count} of {len(column)} rows of {path} have no {name} and the others do. "
            "Label all of them, or none."
        )
    return None if column.null_count else np.asarray(column)
