"""Embedding many crops into one table, in chunks that survive a kill.

Beside the output, in ``.<output>.parts/``, each finished chunk is a Parquet
file of its own. The same job started again finds them, does only what is
missing, joins them into the output and removes them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import omnireid
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable, Provenance, read_provenance, to_arrow, with_provenance
from omnireid.errors import DataNotFoundError, EmbeddingError, ImageError, StoppedError
from omnireid.files import atomic_output, make_folder, output_errors, sole_writer
from omnireid.progress import progress_bar
from omnireid.types import FloatArray, Labels

CHUNK_SIZE = 1024
"""Crops a chunk: what a kill can cost, at most."""


@dataclass(frozen=True, eq=False)
class Crops:
    """What to embed: N files, and who is on them where that is known."""

    paths: tuple[Path, ...]
    labels: Labels | None = None
    columns: dict[str, Sequence[object]] | None = None


@dataclass(frozen=True)
class JobSummary:
    """What a job did: crops in the output, those found done from an earlier run, and unreadable ones left out."""

    embedded: int
    found_done: int
    skipped: tuple[tuple[str, str], ...]


def embed_to_parquet(
    embedder: Embedder,
    crops: Crops,
    output: Path,
    *,
    batch_size: int = 32,
    chunk_size: int = CHUNK_SIZE,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> JobSummary:
    """Embed `crops` into the Parquet file `output`, going on where an earlier run stopped.

    A kill at any moment loses at most one chunk. The same crops, labels and
    weights make the same job; when its output is already there, nothing is done.
    A crop whose size or time of change differs counts as another crop.

    Args:
        embedder: what embeds.
        crops: the files, in the order of the rows.
        output: the Parquet file to write.
        batch_size: crops a step of the network.
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
        job = _fingerprint(embedder, crops, chunk_size, skip_unreadable)
        if (done := _finished(output, job)) is not None:
            return done
        parts = output.parent / f".{output.name}.parts" / job[:16]
        provenance = _provenance(embedder, job)
        make_folder(parts)
        total = len(crops.paths)
        chunks = [range(start, min(start + chunk_size, total)) for start in range(0, total, chunk_size)]
        todo = [chunk for chunk in chunks if not _is_part(_part(parts, chunk), job)]
        kept = finished = total - sum(map(len, todo))
        with progress_bar("embed", total, show=progress) as advance:
            advance(kept)
            try:
                for chunk, table in _chunks(embedder, crops, todo, batch_size, skip_unreadable, provenance):
                    _write_parquet(_part(parts, chunk), table)
                    finished += len(chunk)
                    advance(len(chunk))
            except KeyboardInterrupt:
                raise StoppedError(
                    f"Stopped. {finished:,} of {total:,} crops are embedded and kept; the same command goes on there."
                ) from None
        summary = _join([_part(parts, chunk) for chunk in chunks], output, provenance, kept)
        shutil.rmtree(parts.parent, ignore_errors=True)
        return summary


def _fingerprint(embedder: Embedder, crops: Crops, chunk_size: int, skip_unreadable: bool) -> str:
    digest = hashlib.sha256()
    head = [embedder.weights_sha256, asdict(embedder.metadata.preprocessing), chunk_size, skip_unreadable]
    digest.update(json.dumps(head, sort_keys=True).encode())
    for path in crops.paths:
        try:
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path}\0missing\n".encode())
    if crops.labels is not None:
        digest.update(crops.labels.person_ids.tobytes())
        if crops.labels.camera_ids is not None:
            digest.update(b"cameras")
            digest.update(crops.labels.camera_ids.tobytes())
    digest.update(repr(sorted((name, tuple(values)) for name, values in (crops.columns or {}).items())).encode())
    return digest.hexdigest()


def _provenance(embedder: Embedder, job: str) -> Provenance:
    metadata = embedder.metadata
    return Provenance(
        weights_sha256=embedder.weights_sha256,
        model=metadata.architecture,
        preprocessing=asdict(metadata.preprocessing),
        distance=metadata.distance,
        licence=metadata.licence,
        omnireid_version=omnireid.__version__,
        job=job,
    )


def _finished(output: Path, job: str) -> JobSummary | None:
    """The summary of `output` if this very job made it."""
    import pyarrow.parquet as pq

    try:
        provenance = read_provenance(output)
    except (DataNotFoundError, EmbeddingError):
        return None
    if provenance.job != job:
        return None
    rows = pq.read_metadata(output).num_rows
    return JobSummary(rows, rows + len(provenance.skipped), provenance.skipped)


def _part(parts: Path, chunk: range) -> Path:
    return parts / f"{chunk.start:09d}.parquet"


def _is_part(path: Path, job: str) -> bool:
    try:
        return read_provenance(path).job == job
    except (DataNotFoundError, EmbeddingError):
        return False


def _chunks(
    embedder: Embedder, crops: Crops, todo: list[range], batch_size: int, skip_unreadable: bool, provenance: Provenance
) -> Iterator[tuple[range, EmbeddingTable]]:
    """Embed the chunks of `todo` as one stream, so that decoding never waits at a border between chunks."""
    positions = [position for chunk in todo for position in chunk]
    rows: dict[int, FloatArray] = {}
    unreadable: dict[int, str] = {}

    def leave_out(index: int, error: ImageError) -> None:
        unreadable[positions[index]] = str(error)

    waiting = deque(todo)
    stream = embedder.embed_batches(
        [crops.paths[position] for position in positions],
        batch_size=batch_size,
        on_unreadable=leave_out if skip_unreadable else None,
    )
    for indices, embeddings in stream:
        rows.update((positions[index], row) for index, row in zip(indices.tolist(), embeddings, strict=True))
        while waiting and positions[int(indices[-1])] >= waiting[0].stop:
            chunk = waiting.popleft()
            yield chunk, _table_of(crops, chunk, rows, unreadable, provenance, embedder)
    for chunk in waiting:
        yield chunk, _table_of(crops, chunk, rows, unreadable, provenance, embedder)


def _table_of(
    crops: Crops,
    chunk: range,
    rows: dict[int, FloatArray],
    unreadable: dict[int, str],
    provenance: Provenance,
    embedder: Embedder,
) -> EmbeddingTable:
    """The finished chunk as a table; its rows are taken out of `rows`."""
    readable = [position for position in chunk if position in rows]
    embeddings = np.empty((len(readable), embedder.metadata.embedding_dimension), dtype=np.float32)
    for row, position in enumerate(readable):
        embeddings[row] = rows.pop(position)
    labels = crops.labels
    if labels is not None:
        labels = Labels(labels.person_ids[readable], None if labels.camera_ids is None else labels.camera_ids[readable])
    skipped = tuple((str(crops.paths[position]), unreadable[position]) for position in chunk if position in unreadable)
    return EmbeddingTable(
        paths=tuple(str(crops.paths[position]) for position in readable),
        embeddings=embeddings,
        labels=labels,
        provenance=replace(provenance, skipped=skipped),
        columns={name: [values[position] for position in readable] for name, values in (crops.columns or {}).items()},
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
