"""Embeddings on disk: one Parquet file with a row a crop, and what made it in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from omnireid.errors import DataNotFoundError, EmbeddingError, LabelsError
from omnireid.types import FloatArray, Labels

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1
_KEY = b"omnireid"
_COLUMNS = ("path", "person_id", "camera_id", "embedding")


@dataclass(frozen=True)
class Provenance:
    """What made a table of embeddings.

    Attributes:
        weights_sha256: of the file of weights; two tables compare only if these are equal.
        model: the architecture.
        preprocessing: the fields of `omnireid.images.preprocess.Preprocessing`.
        distance: how the embeddings are meant to be compared.
        licence: of the weights.
        omnireid_version: that wrote the table.
        runtime: that made the embeddings, and its precision.
        job: fingerprint of crops, labels and weights, so that a second run knows its own work.
        skipped: unreadable crops left out, as (path, reason).
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


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """N crops with their embeddings.

    Attributes:
        paths: N files, as they were named.
        embeddings: (N, D) float32.
        labels: person and camera ids; None where nobody said who is on the crops.
        provenance: what made them.
        columns: what else was known of each crop; N values a column.
    """

    paths: tuple[str, ...]
    embeddings: FloatArray
    labels: Labels | None
    provenance: Provenance
    columns: Mapping[str, Sequence[object]] = field(default_factory=dict)


def to_arrow(table: EmbeddingTable) -> pa.Table:
    """The table as Arrow: path, person_id and camera_id (null where not known), embedding, further columns."""
    import pyarrow as pa

    count, width = table.embeddings.shape
    person_ids = None if table.labels is None else table.labels.person_ids
    camera_ids = None if table.labels is None else table.labels.camera_ids

    def ids(values: npt.NDArray[np.int64] | None) -> pa.Array:
        return pa.nulls(count, pa.int64()) if values is None else pa.array(values)

    flat = pa.array(np.ascontiguousarray(table.embeddings, dtype=np.float32).reshape(-1))
    columns = {
        "path": pa.array(table.paths, pa.string()),
        "person_id": ids(person_ids),
        "camera_id": ids(camera_ids),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, width),
        **{name: pa.array(list(values)) for name, values in table.columns.items() if name not in _COLUMNS},
    }
    return with_provenance(pa.table(columns), table.provenance)


def with_provenance(table: pa.Table, provenance: Provenance) -> pa.Table:
    """The same Arrow table with `provenance` as its metadata."""
    record = {"format_version": FORMAT_VERSION, **asdict(provenance)}
    return table.replace_schema_metadata({_KEY: json.dumps(record, sort_keys=True).encode()})


def read_provenance(path: Path) -> Provenance:
    """Read what made a table, without its rows.

    Raises:
        DataNotFoundError: no such file.
        EmbeddingError: not a table of embeddings, truncated, or written by a newer version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_file():
            raise DataNotFoundError(f"No such table of embeddings: {path}. Make it with: omnireid embed")
        schema = pq.read_schema(path)
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
    raise EmbeddingError(
        f"{path} was written by a newer omnireid (format {version}, this one reads up to {FORMAT_VERSION}). "
        "Upgrade with: pip install --upgrade omnireid"
    )


def read_embeddings(path: Path) -> EmbeddingTable:
    """Read what ``omnireid embed`` wrote.

    Raises:
        DataNotFoundError: no such file.
        EmbeddingError: not such a table, truncated, or with values that are not finite.
        LabelsError: some crops have a person or camera id and others have none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    provenance = read_provenance(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise EmbeddingError(f"{path} is damaged ({error}). Make it again with: omnireid embed") from error
    kind = table.schema.field("embedding").type
    column = table.column("embedding").combine_chunks()
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_float32(kind.value_type) or column.null_count:
        raise EmbeddingError(f"The embeddings of {path} are not float32 lists of one width. Make the table again.")
    embeddings = np.asarray(column.flatten(), dtype=np.float32).reshape(len(table), column.type.list_size)
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise EmbeddingError(
            f"Row {row} of {path} ({table.column('path')[row]}) holds a value that is not finite. Make the table again."
        )
    others = [name for name in table.column_names if name not in _COLUMNS]
    return EmbeddingTable(
        paths=tuple(table.column("path").to_pylist()),
        embeddings=embeddings,
        labels=_labels(table, path),
        provenance=provenance,
        columns={name: table.column(name).to_pylist() for name in others},
    )


def _labels(table: pa.Table, path: Path) -> Labels | None:
    def ids(name: str) -> npt.NDArray[np.int64] | None:
        column = table.column(name)
        if 0 < column.null_count < len(column):
            raise LabelsError(
                f"{column.null_count} of {len(column)} rows of {path} have no {name} and the others do. "
                "Label all of them, or none."
            )
        return None if column.null_count else np.asarray(column)

    person_ids = ids("person_id")
    return None if person_ids is None else Labels(person_ids, ids("camera_id"))
