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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from omnireid.embedding.chunks import embed_chunks, provenance_of
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import Provenance, arrow_columns, read_provenance, with_provenance, write_embeddings
from omnireid.errors import DataNotFoundError, EmbeddingError, ImageError, StoppedError
from omnireid.files import atomic_output, make_folder, output_errors, sole_writer
from omnireid.progress import progress_bar
from omnireid.types import Crops

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
    if not len(crops):
        raise DataNotFoundError("There is no crop to embed.")
    crops = replace(crops, columns=arrow_columns(crops))  # once, so that every chunk has the same types
    with sole_writer(output):
        chunks = _cut(embedder, crops, chunk_size)
        job = hashlib.sha256("".join(chunk.fingerprint for chunk in chunks).encode()).hexdigest()
        if (done := _finished(output, job, skip_unreadable)) is not None:
            return done
        parts = make_folder(output.parent / f".{output.name}.parts")
        todo = [chunk for chunk in chunks if not _is_done(_part(parts, chunk), chunk.fingerprint, skip_unreadable)]
        total = len(crops)
        kept = finished = total - sum(len(chunk.positions) for chunk in todo)
        with progress_bar("embed", total, show=progress) as advance:
            advance(kept)
            try:
                tables = embed_chunks(
                    embedder,
                    crops,
                    [chunk.positions for chunk in todo],
                    batch_size=batch_size,
                    skip_unreadable=skip_unreadable,
                    advance=advance,
                )
                for chunk, table in zip(todo, tables, strict=True):
                    provenance = replace(table.provenance, job=chunk.fingerprint)
                    write_embeddings(replace(table, provenance=provenance), _part(parts, chunk))
                    finished += len(chunk.positions)
            except KeyboardInterrupt:
                raise StoppedError(
                    f"Stopped. {finished:,} of {total:,} crops are embedded and kept; the same command goes on there."
                ) from None
        provenance = replace(provenance_of(embedder), job=job)
        summary = _join([_part(parts, chunk) for chunk in chunks], output, provenance, kept)
        shutil.rmtree(parts, ignore_errors=True)
        return summary


def _cut(embedder: Embedder, crops: Crops, chunk_size: int) -> list[_Chunk]:
    made_by = json.dumps(
        [embedder.weights_sha256, embedder.precision, asdict(embedder.metadata.preprocessing)], sort_keys=True
    )
    total = len(crops)
    chunks = []
    for start in range(0, total, chunk_size):
        positions = range(start, min(start + chunk_size, total))
        digest = hashlib.sha256(made_by.encode())
        for position in positions:
            digest.update(_describe(crops, position))
        if crops.columns:
            digest.update(_bytes_of_columns(crops, positions))
        chunks.append(_Chunk(positions, digest.hexdigest()))
    return chunks


def _describe(crops: Crops, position: int) -> bytes:
    """Everything a crop's row depends on besides the weights and the further columns."""
    path = crops.paths[position]
    try:
        status = path.stat()
        version = (status.st_size, status.st_mtime_ns)
    except OSError:
        version = (-1, -1)  # it will be reported when it is read
    person_id = None if crops.person_ids is None else int(crops.person_ids[position])
    camera_id = None if crops.camera_ids is None else int(crops.camera_ids[position])
    return os.fsencode(path) + repr((version, person_id, camera_id, [])).encode(errors="backslashreplace")


def _bytes_of_columns(crops: Crops, positions: range) -> bytes:
    """The further columns of a chunk as Parquet's bytes, which no value needs to become a Python object for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chunk = pa.table(arrow_columns(crops)).slice(positions.start, len(positions))
    content = pa.BufferOutputStream()
    pq.write_table(chunk.select(sorted(chunk.column_names)), content, compression="none")
    return content.getvalue().to_pybytes()  # type: ignore[no-any-return]


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


def _join(parts: list[Path], output: Path, provenance: Provenance, kept: int) -> JobSummary:
    """Write all parts as one file, a part at a time."""
    import pyarrow.parquet as pq

    skipped = tuple(entry for part in parts for entry in read_provenance(part).skipped)
    embedded = sum(pq.read_metadata(part).num_rows for part in parts)
    if not embedded:
        path, reason = skipped[0]
        raise ImageError(f"None of the {len(skipped):,} crops can be read. The first, {path}: {reason}")
    complete = with_provenance(pq.read_schema(parts[0]).empty_table(), replace(provenance, skipped=skipped)).schema
    with atomic_output(output) as temporary, output_errors(output), pq.ParquetWriter(temporary, complete) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).cast(complete))
    return JobSummary(embedded, kept, skipped)
