"""Adding sightings: each crop once, a chunk at a time, acknowledged when it is on the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from omnireid.embedding.tables import EmbeddingTable
from omnireid.errors import DataError, DataNotFoundError, ImageError, StoppedError
from omnireid.files import sha256_of
from omnireid.gallery.blocking import read_blocked, salted_hash
from omnireid.gallery.columns import describe_crops, embedding_column, sighting_key
from omnireid.gallery.database import Database
from omnireid.gallery.examining import Examination
from omnireid.gallery.identities import Identities, read_identities
from omnireid.gallery.quality import frame_problems
from omnireid.gallery.register import keep_register, read_register
from omnireid.gallery.schema import OWN_COLUMNS, SIGHTINGS, GalleryFacts, read_facts
from omnireid.images.decode import check_regular_file
from omnireid.images.quality import Quality
from omnireid.machine import usable_cores
from omnireid.progress import progress_bar
from omnireid.types import Crops, FloatArray

if TYPE_CHECKING:
    import pyarrow as pa

    from omnireid.embedding.embedder import Embedder

CHUNK_CROPS = 1024
"""Crops that are embedded between two writes, which is the most work that a kill can cost."""
CHUNK_ROWS = 16_384
"""Rows of a table of embeddings between two writes."""

_HASHED_TOGETHER = 256
_BLOCKED_REASON = "it was removed with --block, and is not to come back"


@dataclass(frozen=True)
class AddSummary:
    """What an `add` did.

    Attributes:
        added: Sightings that are in the gallery now and were not before. They are on the disk.
        found: Crops that were there already, with the same content, camera and time.
        left_out: Crops that were not added, as (path, reason): unreadable, blocked or of too low a quality.
    """

    added: int
    found: int = 0
    left_out: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: AddSummary) -> AddSummary:
        return AddSummary(self.added + other.added, self.found + other.found, self.left_out + other.left_out)

    def json(self) -> dict[str, Any]:
        """The summary as plain values."""
        left_out = [{"path": path, "reason": reason} for path, reason in self.left_out]
        return {"added": self.added, "found": self.found, "left_out": left_out}


@dataclass(frozen=True, eq=False)
class ExaminedCrops:
    """N crops that somebody decoded, measured and embedded already, such as a service that got their bytes.

    Attributes:
        crops: Their files, with labels and further columns.
        contents: SHA-256 of each file.
        embeddings: (N, D) embeddings by the gallery's model.
        qualities: What was measured of each.
    """

    crops: Crops
    contents: Sequence[str]
    embeddings: FloatArray
    qualities: Sequence[Quality]


def add_crops(
    database: Database,
    facts: GalleryFacts,
    embedder: Embedder,
    crops: Crops,
    *,
    zone: ZoneInfo | None = None,
    skip_unreadable: bool = False,
    keep_all: bool = False,
    progress: bool = False,
) -> AddSummary:
    """Embed crops that are not in the gallery yet, and add them.

    Raises:
        DataNotFoundError: there is no crop.
        ImageError: a crop cannot be read, and `skip_unreadable` is False. What came before it is added.
        DataError: a label or column cannot be stored.
        StoppedError: Ctrl-C. What came before it is added.
    """
    if not len(crops):
        raise DataNotFoundError("There is no crop to add.")
    crops = replace(crops, paths=tuple(path.absolute() for path in crops.paths))
    described = describe_crops(crops, zone)
    contents, unreadable = _hash_files(crops.paths, skip_unreadable)
    keyed = _with_keys(described, contents)
    blocked = _blocked_rows(contents, read_blocked(database), facts.salt)
    unreadable += [(str(crops.paths[row]), _BLOCKED_REASON) for row in sorted(blocked)]
    readable = [row for row, content in enumerate(contents) if content is not None and row not in blocked]
    keys = keyed.column("key").to_pylist()
    todo = _first_of_each(keys, readable, read_register(database).numbers_of(keys))
    rows, chosen = keyed.take(np.array(todo, dtype=np.int64)), [crops.paths[row] for row in todo]
    problems = frame_problems(described)
    poor = {place: problems[row] for place, row in enumerate(todo) if row in problems}
    summary = AddSummary(0, len(readable) - len(todo), tuple(unreadable))
    with progress_bar("add", len(crops), show=progress) as advance:
        advance(len(crops) - len(todo))
        examination = Examination(chosen, embedder.metadata.preprocessing, poor, keep_all, skip_unreadable, advance)
        try:
            for first, embeddings in _embed_in_chunks(embedder, examination, advance):
                part = _examined_rows(rows, examination, slice(first, first + len(embeddings)))
                added = _write(database, facts, part, embeddings)
                summary += AddSummary(added, len(part) - added)
        except KeyboardInterrupt:
            raise StoppedError(
                f"Stopped. {summary.added:,} crops were added and kept; the same command goes on there."
            ) from None
    if examination.failure is not None:
        raise examination.failure
    return summary + AddSummary(0, 0, tuple(examination.left_out))


def _embed_in_chunks(
    embedder: Embedder, examination: Examination, advance: Callable[[int], None]
) -> Iterator[tuple[int, FloatArray]]:
    """The embeddings of the crops that are taken, a chunk at a time, with the number of crops before each chunk."""
    waiting: list[FloatArray] = []
    first = count = 0
    for _, embeddings in embedder.embed_batches(examination.images()):
        waiting.append(embeddings)
        count += len(embeddings)
        advance(len(embeddings))
        if count >= CHUNK_CROPS:
            yield first, np.concatenate(waiting)
            waiting, first, count = [], first + count, 0
    if count:
        yield first, np.concatenate(waiting)


def _examined_rows(rows: pa.Table, examination: Examination, which: slice) -> pa.Table:
    """Some of the crops that were taken, with their sharpness."""
    import pyarrow as pa

    quality = pa.array(examination.sharpness[which], pa.float32())
    return rows.take(np.array(examination.rows[which], dtype=np.int64)).append_column("quality", quality)


def add_table(
    database: Database,
    facts: GalleryFacts,
    table: EmbeddingTable,
    *,
    zone: ZoneInfo | None = None,
    keep_all: bool = False,
    progress: bool = False,
) -> AddSummary:
    """Add a table of embeddings that the gallery's own model made.

    A crop's content is known by its file, or, where there is no such file on this machine, by its embedding.

    Raises:
        DataError: a label or column cannot be stored.
        EmbeddingError: an embedding does not fit the stored type.
    """
    crops = replace(table.crops, paths=tuple(_absolute_if_there(path) for path in table.paths))
    described = describe_crops(crops, zone)
    contents = _hash_contents(crops.paths, table.embeddings)
    keyed = _with_keys(described, contents)
    refused = {} if keep_all else dict(frame_problems(described))
    refused |= dict.fromkeys(_blocked_rows(contents, read_blocked(database), facts.salt), _BLOCKED_REASON)
    summary = AddSummary(0, 0, tuple((str(crops.paths[row]), refused[row]) for row in sorted(refused)))
    allowed = np.array([row for row in range(len(table)) if row not in refused], dtype=np.int64)
    with progress_bar("add", len(table), show=progress) as advance:
        for start in range(0, len(allowed), CHUNK_ROWS):
            rows = allowed[start : start + CHUNK_ROWS]
            part = keyed.take(rows)
            added = _write(database, facts, part, table.embeddings[rows])
            summary += AddSummary(added, len(part) - added)
            advance(len(part))
    return summary


def add_examined(
    database: Database, facts: GalleryFacts, examined: ExaminedCrops, *, keep_all: bool = False
) -> AddSummary:
    """Add crops that were examined already, in one write.

    Raises:
        DataError: a label or column cannot be stored.
    """
    import pyarrow as pa

    described = describe_crops(examined.crops, None)
    keyed = _with_keys(described, examined.contents)
    keys = keyed.column("key").to_pylist()
    refused = dict.fromkeys(
        sorted(_blocked_rows(examined.contents, read_blocked(database), facts.salt)), _BLOCKED_REASON
    )
    allowed = [row for row in range(len(keys)) if row not in refused]
    todo = _first_of_each(keys, allowed, read_register(database).numbers_of(keys))
    if not keep_all:
        measured = {row: problem for row in todo if (problem := examined.qualities[row].problem) is not None}
        poor = {**frame_problems(described), **measured}
        refused |= {row: poor[row] for row in todo if row in poor}
    chosen = np.array([row for row in todo if row not in refused], dtype=np.int64)
    sharpness = pa.array([examined.qualities[row].sharpness for row in chosen.tolist()], pa.float32())
    rows = keyed.take(chosen).append_column("quality", sharpness)
    added = _write(database, facts, rows, examined.embeddings[chosen]) if len(chosen) else 0
    left_out = tuple((str(examined.crops.paths[row]), reason) for row, reason in refused.items())
    return AddSummary(added, len(keys) - len(refused) - added, left_out)


def _write(database: Database, facts: GalleryFacts, rows: pa.Table, embeddings: FloatArray) -> int:
    """Append those of N described crops that are new; returns how many. They are on the disk afterwards."""
    import pyarrow as pa

    with database.sole_writer():
        register = read_register(database)
        keys = rows.column("key").to_pylist()
        fresh = np.array(_first_of_each(keys, range(len(keys)), register.numbers_of(keys)), dtype=np.int64)
        if not len(fresh):
            return 0
        chosen = _with_people(rows.take(fresh), read_identities(database))
        first = 1 + max(register.highest, (read_facts(database) or facts).highest)
        numbers = np.arange(first, first + len(fresh), dtype=np.int64)
        chosen = chosen.append_column("sighting", pa.array(numbers))
        column = embedding_column(embeddings[fresh], facts, chosen.column("path").to_pylist())
        chosen = chosen.append_column("embedding", column)
        handle = database.table(SIGHTINGS)
        with database.writing(SIGHTINGS):
            _add_columns(handle, chosen.schema)
            handle.add(_fit(chosen, handle.schema))
        keep_register(database, register.with_rows(chosen), handle)
        return len(fresh)


def _with_people(rows: pa.Table, identities: Identities) -> pa.Table:
    """The rows with the people that their labels stand for, after merges and new names."""
    import pyarrow as pa

    keys = [identities.key_of_label(label) for label in rows.column("given_person").to_pylist()]
    for name, values in (("given_person", keys), ("person", [identities.name(key) for key in keys])):
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return rows


def _add_columns(handle: Any, schema: pa.Schema) -> None:
    """Give the table the user's columns it does not have yet, empty for the rows that are there.

    Raises:
        DataError: a column is there with another type.
    """
    import pyarrow as pa

    new = []
    for column in schema:
        index = handle.schema.get_field_index(column.name)
        if index < 0:
            new.append(pa.field(column.name, column.type))
        elif column.name not in OWN_COLUMNS and handle.schema.field(index).type != column.type:
            raise DataError(
                f"The column {column.name!r} holds {handle.schema.field(index).type} in the gallery and {column.type} "
                "in what is added. Convert it, or give it another name."
            )
    if new:
        handle.add_columns(pa.schema(new))


def _fit(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with all columns of the gallery, in its order; empty where nothing is known."""
    import pyarrow as pa

    given = set(rows.column_names)
    columns = [
        rows.column(column.name).cast(column.type) if column.name in given else pa.nulls(len(rows), column.type)
        for column in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _blocked_rows(contents: Sequence[str | None], blocked: set[str], salt: str) -> set[int]:
    """The rows whose contents are blocked."""
    if not blocked:
        return set()
    return {row for row, content in enumerate(contents) if content and salted_hash(salt, content) in blocked}


def _with_keys(described: pa.Table, contents: Sequence[str | None]) -> pa.Table:
    import pyarrow as pa

    seen = zip(contents, described.column("camera").to_pylist(), described.column("time").to_pylist(), strict=True)
    keys = [sighting_key(content or "", camera, time) for content, camera, time in seen]
    described = described.append_column("content_sha256", pa.array(contents, pa.string()))
    return described.append_column("key", pa.array(keys, pa.string()))


def _first_of_each(keys: Sequence[str], rows: Sequence[int], known: Container[str]) -> list[int]:
    """The rows whose keys are not known, each key once."""
    seen: set[str] = set()
    first = []
    for row in rows:
        if keys[row] not in known and keys[row] not in seen:
            seen.add(keys[row])
            first.append(row)
    return first


def _hash_files(paths: Sequence[Path], skip_unreadable: bool) -> tuple[list[str | None], list[tuple[str, str]]]:
    """SHA-256 of each file, None where it cannot be read; and the reasons, if such files are to be left out."""
    contents: list[str | None] = []
    unreadable = []
    for path, content in zip(paths, _hash_in_threads(paths), strict=True):
        if content is None:
            reason = f"{path} is not there, or is no file that can be read. Check the path, or the list it came from."
            if not skip_unreadable:
                raise ImageError(reason)
            unreadable.append((str(path), reason))
        contents.append(content)
    return contents, unreadable


def _hash_contents(paths: Sequence[Path], embeddings: FloatArray) -> list[str]:
    """SHA-256 of each file; of the embedding where there is no such file."""
    files = list(_hash_in_threads(paths))
    return [
        file or "embedding:" + hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest()
        for file, row in zip(files, embeddings, strict=True)
    ]


def _hash_each(paths: Sequence[Path]) -> list[str | None]:
    return [_try_to_hash(path) for path in paths]


def _try_to_hash(path: Path) -> str | None:
    try:
        check_regular_file(path, str(path))
        return sha256_of(path)
    except (OSError, ValueError, ImageError):
        return None


def _hash_in_threads(paths: Sequence[Path]) -> Iterator[str | None]:
    """SHA-256 of each file; None where it cannot be read. A task takes many files, as one costs less than its task."""
    parts = [paths[start : start + _HASHED_TOGETHER] for start in range(0, len(paths), _HASHED_TOGETHER)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        for part in pool.map(_hash_each, parts):
            yield from part


def _absolute_if_there(path: Path) -> Path:
    if path.is_absolute():
        return path
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    return absolute if absolute.exists() else path
