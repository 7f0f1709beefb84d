"""Embedding many crops into one table, in chunks that survive a kill.

Beside the output, in ``.<output>.parts/``, each finished chunk is a Parquet
file of its own, which says what it was made of. A job started again finds them,
does only the chunks that are missing or that its crops have changed, joins all
into the output and removes them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import omnireid
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable, Provenance, read_provenance, to_arrow, with_provenance
from omnireid.errors import DataNotFoundError, EmbeddingError, ImageError, StoppedError
from omnireid.files import atomic_output, make_folder, output_errors, sole_writer
from omnireid.progress import progress_bar
from omnireid.types import Crops, FloatArray, Labels

CHUNK_SIZE = 1024
"""Crops a chunk: what a kill can cost, at most."""


@dataclass(frozen=True)
class JobSummary:
    """What a job did: crops in the output, those found done from an earlier run, and unreadable ones left out."""

    embedded: int
    found_done: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Chunk:
    """Some crops in a row, and the fingerprint of all that their embeddings depend on."""

    positions: range
    fingerprint: str


def embed_to_parquet(
    embedder: Embedder,
    crops: Crops,
    output: Path,
    *,
    batch_size: int | None = None,
    chunk_size: int = CHUNK_SIZE,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> JobSummary:
    """Embed `crops` into the Parquet file `output`, going on where an earlier run stopped.

    A kill at any moment loses at most one chunk. A chunk is done again where its
    weights, paths, ids, or the size or time of change of its files differ. When the
    output of this very job is already there, nothing is done.

    Args:
        embedder: what embeds.
        crops: the files, in the order of the rows.
        output: the Parquet file to write.
        batch_size: crops a step of the network; by default what suits it.
        chunk_size: crops a chunk.
        skip_unreadable: leave out crops that cannot be decoded and list them in the
            metadata, instead of stopping at the first.
        progress: show a bar on standard error.

    Raises:
        DataNotFoundError: there is no crop to embed.
        ImageError: a crop cannot be decoded, or, with `skip_unreadable`, none can.
        OutputError: the output cannot be written, or another process is writing it.
        StoppedError: Ctrl-C; finished chunks are kept.
    """
    if not crops.paths:
        raise DataNotFoundError("There is no crop to embed.")
    with sole_writer(output):
        chunks = _cut(embedder, crops, chunk_size)
        job = hashlib.sha256("".join(chunk.fingerprint for chunk in chunks).encode()).hexdigest()
        if (done := _finished(output, job, skip_unreadable)) is not None:
            return done
        parts = make_folder(output.parent / f".{output.name}.parts")
        todo = [chunk for chunk in chunks if not _is_done(_part(parts, chunk), chunk.fingerprint, skip_unreadable)]
        total = len(crops.paths)
        kept = finished = total - sum(len(chunk.positions) for chunk in todo)
        with progress_bar("embed", total, show=progress) as advance:
            advance(kept)
            try:
                for chunk, table in _tables(embedder, crops, todo, batch_size, skip_unreadable, advance):
                    _write_parquet(_part(parts, chunk), table)
                    finished += len(chunk.positions)
            except KeyboardInterrupt:
                raise StoppedError(
                    f"Stopped. {finished:,} of {total:,} crops are embedded and kept; the same command goes on there."
                ) from None
        summary = _join([_part(parts, chunk) for chunk in chunks], output, _provenance(embedder, job), kept)
        shutil.rmtree(parts, ignore_errors=True)
        return summary


def _cut(embedder: Embedder, crops: Crops, chunk_size: int) -> list[_Chunk]:
    made_by = json.dumps(
        [embedder.weights_sha256, embedder.precision, asdict(embedder.metadata.preprocessing)], sort_keys=True
    )
    total = len(crops.paths)
    chunks = []
    for start in range(0, total, chunk_size):
        positions = range(start, min(start + chunk_size, total))
        digest = hashlib.sha256(made_by.encode())
        for position in positions:
            digest.update(_describe(crops, position))
        chunks.append(_Chunk(positions, digest.hexdigest()))
    return chunks


def _describe(crops: Crops, position: int) -> bytes:
    """All that a crop's row depends on, besides the weights."""
    path, labels = crops.paths[position], crops.labels
    try:
        status = path.stat()
        version = (status.st_size, status.st_mtime_ns)
    except OSError:
        version = (-1, -1)  # it will be reported when it is read
    person_id = None if labels is None else int(labels.person_ids[position])
    camera_id = None if labels is None or labels.camera_ids is None else int(labels.camera_ids[position])
    columns = sorted((name, values[position]) for name, values in crops.columns.items())
    return os.fsencode(path) + repr((version, person_id, camera_id, columns)).encode(errors="backslashreplace")


def _provenance(embedder: Embedder, job: str) -> Provenance:
    metadata = embedder.metadata
    return Provenance(
        weights_sha256=embedder.weights_sha256,
        model=metadata.architecture,
        preprocessing=asdict(metadata.preprocessing),
        distance=metadata.distance,
        licence=metadata.licence,
        omnireid_version=omnireid.__version__,
        runtime=f"{embedder.runtime} {embedder.precision}",
        job=job,
    )


def _finished(output: Path, job: str, skip_unreadable: bool) -> JobSummary | None:
    """The summary of `output` if this very job made it."""
    import pyarrow.parquet as pq

    if not _is_done(output, job, skip_unreadable):
        return None
    rows, skipped = pq.read_metadata(output).num_rows, read_provenance(output).skipped
    return JobSummary(rows, rows + len(skipped), skipped)


def _part(parts: Path, chunk: _Chunk) -> Path:
    return parts / f"{chunk.positions.start:09d}.parquet"


def _is_done(path: Path, fingerprint: str, skip_unreadable: bool) -> bool:
    """Whether `path` is whole and holds just this; where nothing may be skipped, nothing was."""
    try:
        provenance = read_provenance(path)
    except (DataNotFoundError, EmbeddingError):
        return False
    return provenance.job == fingerprint and (skip_unreadable or not provenance.skipped)


def _tables(
    embedder: Embedder,
    crops: Crops,
    todo: list[_Chunk],
    batch_size: int | None,
    skip_unreadable: bool,
    advance: Callable[[int], None],
) -> Iterator[tuple[_Chunk, EmbeddingTable]]:
    """Embed the chunks of `todo` as one stream, so that decoding never waits at a border between chunks."""
    positions = [position for chunk in todo for position in chunk.positions]
    rows: dict[int, FloatArray] = {}
    unreadable: dict[int, str] = {}

    def leave_out(index: int, error: ImageError) -> None:
        unreadable[positions[index]] = str(error)
        advance(1)

    waiting = deque(todo)
    stream = embedder.embed_batches(
        [crops.paths[position] for position in positions],
        batch_size=batch_size,
        on_unreadable=leave_out if skip_unreadable else None,
    )
    for indices, embeddings in stream:
        rows.update((positions[index], row) for index, row in zip(indices.tolist(), embeddings, strict=True))
        advance(len(indices))
        while waiting and positions[int(indices[-1])] >= waiting[0].positions.stop - 1:
            chunk = waiting.popleft()
            yield chunk, _table_of(embedder, crops, chunk, rows, unreadable)
    for chunk in waiting:
        yield chunk, _table_of(embedder, crops, chunk, rows, unreadable)


def _table_of(
    embedder: Embedder, crops: Crops, chunk: _Chunk, rows: dict[int, FloatArray], unreadable: dict[int, str]
) -> EmbeddingTable:
    """The finished chunk as a table; its rows are taken out of `rows`."""
    readable = [position for position in chunk.positions if position in rows]
    embeddings = np.empty((len(readable), embedder.metadata.embedding_dimension), dtype=np.float32)
    for row, position in enumerate(readable):
        embeddings[row] = rows.pop(position)
    labels = crops.labels
    if labels is not None:
        camera_ids = None if labels.camera_ids is None else labels.camera_ids[readable]
        labels = Labels(labels.person_ids[readable], camera_ids)
    skipped = tuple((str(crops.paths[i]), unreadable[i]) for i in chunk.positions if i in unreadable)
    return EmbeddingTable(
        paths=tuple(str(crops.paths[position]) for position in readable),
        embeddings=embeddings,
        labels=labels,
        provenance=replace(_provenance(embedder, chunk.fingerprint), skipped=skipped),
        columns={name: [values[position] for position in readable] for name, values in crops.columns.items()},
    )


def _write_parquet(path: Path, table: EmbeddingTable) -> None:
    import pyarrow.parquet as pq

    with atomic_output(path) as temporary:
        pq.write_table(to_arrow(table), temporary)


def _join(parts: list[Path], output: Path, provenance: Provenance, kept: int) -> JobSummary:
    """Write all parts as one file, a part at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    skipped = tuple(entry for part in parts for entry in read_provenance(part).skipped)
    schemas = [pq.read_schema(part) for part in parts]
    embedded = sum(pq.read_metadata(part).num_rows for part in parts)
    if not embedded:
        path, reason = skipped[0]
        raise ImageError(f"None of the {len(skipped):,} crops can be read. The first, {path}: {reason}")
    # A further column may be all null in one chunk, and so of another type there.
    schema = pa.unify_schemas([schema.remove_metadata() for schema in schemas], promote_options="permissive")
    complete = with_provenance(schema.empty_table(), replace(provenance, skipped=skipped)).schema
    with atomic_output(output) as temporary, output_errors(output), pq.ParquetWriter(temporary, complete) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).cast(complete))
    return JobSummary(embedded, kept, skipped)
