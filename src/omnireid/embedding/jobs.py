"""Embedding many crops into one Parquet file, in chunks that survive a kill.

Each finished chunk is a Parquet file of its own in ``.<output>.parts/`` beside
the output, and says what it was made of. A job that is started again reuses
those files, embeds only the chunks that are missing or whose crops have changed,
joins all chunks into the output, and removes the folder. Crops and output may be
at addresses such as ``s3://bucket/folder``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from omnireid.addresses import Address, arrow_source, file_names, file_versions
from omnireid.embedding.chunks import embed_chunks, provenance_of
from omnireid.embedding.clusters import ChunkOfCrops, check_cluster, embed_on_cluster
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import Provenance, arrow_columns, read_provenance, with_provenance, write_embeddings
from omnireid.errors import DataNotFoundError, EmbeddingError, ImageError, SettingError, StoppedError
from omnireid.files import as_path, atomic_output, check_output, make_folder, output_errors, remove_tree, sole_writer
from omnireid.progress import Advance, progress_bar
from omnireid.types import Crops, as_crops

CHUNK_SIZE = 1024
"""Crops in a chunk, which is the most work that a kill can cost."""


@dataclass(frozen=True)
class JobSummary:
    """What a job did.

    Attributes:
        embedded: crops in the output.
        found_done: crops that an earlier run had embedded.
        skipped: unreadable crops that were left out, as (path, reason).
    """

    embedded: int
    found_done: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Chunk:
    """A range of crops, and a hash of everything their rows depend on."""

    positions: range
    fingerprint: str


def embed_to_parquet(
    embedder: Embedder,
    crops: Crops | Sequence[str | Path],
    output: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    chunk_size: int = CHUNK_SIZE,
    skip_unreadable: bool = False,
    cluster: str | None = None,
    progress: bool = False,
) -> JobSummary:
    """Embed `crops` into a Parquet file, going on where an earlier run stopped.

    A kill at any moment loses at most one chunk. A chunk is embedded again if its
    weights, paths, ids or columns have changed, or the size or modification time of
    its files (of a file at an address, its size and content tag or time). If the output
    of this very job exists already, nothing is done.

    Args:
        embedder: the network.
        crops: the files, in the order of the rows; a data set's split, or a list of paths.
        output: the file or address to write, ending in ``.parquet``. `read_embeddings` reads it.
            At an address no lock keeps a second writer away.
        batch_size: crops a step of the network; by default the number that suits the runtime.
        chunk_size: crops in a chunk.
        skip_unreadable: leave out crops that cannot be decoded and list them in the
            metadata, instead of stopping at the first.
        cluster: embed on a Ray cluster: ``auto`` for the one of this machine, which is started
            where there is none, or an address such as ``ray://head:10001``. Every machine reads
            crops and weights under the same paths. The rows are those of one process, and a lost
            worker costs its chunk's time.
        progress: show a bar on standard error.

    Raises:
        ClusterError: the cluster cannot be reached, or does not finish. Finished chunks are kept.
        DataNotFoundError: there is no crop to embed.
        DataError: crops at an address cannot be fetched. Finished chunks are kept.
        ImageError: a crop cannot be decoded, or, with `skip_unreadable`, none can.
        OutputError: the output is no ``.parquet``, is one of the crops, cannot be
            written, or is being written by another process.
        SettingError: `chunk_size` is below 1, or an argument is of another kind.
        StoppedError: Ctrl-C; finished chunks are kept.
    """
    if not isinstance(embedder, Embedder):
        raise SettingError(f"embedder must be what load_embedder gives; got {type(embedder).__name__}.")
    output = as_path(output, "output")
    crops = as_crops(crops)
    if not len(crops):
        raise DataNotFoundError("There is no crop to embed.")
    if chunk_size < 1:
        raise SettingError(f"A chunk has at least one crop; got chunk_size={chunk_size}.")
    if cluster is not None:
        check_cluster(cluster)
    check_output(output, suffix=".parquet", inputs=[*crops.paths, embedder.weights])
    crops = replace(crops, columns=arrow_columns(crops))  # once, so that every chunk has the same types
    with sole_writer(output):
        chunks = _cut(embedder, crops, chunk_size)
        job = hashlib.sha256("".join(chunk.fingerprint for chunk in chunks).encode()).hexdigest()
        if (done := _finished(output, job, skip_unreadable)) is not None:
            return done
        parts = make_folder(output.parent / f".{output.name}.parts")
        todo = _not_done(parts, chunks, skip_unreadable)
        total = len(crops)
        kept = total - sum(len(chunk.positions) for chunk in todo)
        with progress_bar("embed", total, show=progress) as advance:
            advance(kept)
            try:
                if cluster is None:
                    _embed_here(embedder, crops, todo, parts, batch_size, skip_unreadable, advance)
                elif todo:
                    chunks_of_crops = [ChunkOfCrops(crops.select(list(c.positions)), c.fingerprint) for c in todo]
                    for number, content in embed_on_cluster(
                        cluster, embedder, chunks_of_crops, batch_size=batch_size, skip_unreadable=skip_unreadable
                    ):
                        with atomic_output(_part(parts, todo[number])) as temporary:
                            temporary.write_bytes(content)
                        advance(len(todo[number].positions))
            except KeyboardInterrupt:
                # Looked up rather than counted: Ctrl-C may come between the last write and its count.
                left = _not_done(parts, todo, skip_unreadable)
                finished = total - sum(len(chunk.positions) for chunk in left)
                raise StoppedError(
                    f"Stopped. {finished:,} of {total:,} crops are embedded and kept; the same command goes on there."
                ) from None
        provenance = replace(provenance_of(embedder), job=job)
        summary = _join([_part(parts, chunk) for chunk in chunks], output, provenance, kept)
        remove_tree(parts)
        return summary


def _embed_here(
    embedder: Embedder,
    crops: Crops,
    todo: Sequence[_Chunk],
    parts: Path,
    batch_size: int | None,
    skip_unreadable: bool,
    advance: Advance,
) -> None:
    """Embed chunks in this process, and write the part of each."""
    tables = embed_chunks(
        embedder,
        crops,
        [chunk.positions for chunk in todo],
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
        advance=advance,
    )
    for chunk, table in zip(todo, tables, strict=True):
        write_embeddings(
            replace(table, provenance=replace(table.provenance, job=chunk.fingerprint)), _part(parts, chunk)
        )


def _cut(embedder: Embedder, crops: Crops, chunk_size: int) -> list[_Chunk]:
    made_by = json.dumps(
        [embedder.weights_sha256, embedder.precision, asdict(embedder.metadata.preprocessing)], sort_keys=True
    )
    total = len(crops)
    versions = file_versions(path for path in crops.paths if isinstance(path, Address))
    chunks = []
    for start in range(0, total, chunk_size):
        positions = range(start, min(start + chunk_size, total))
        digest = hashlib.sha256(made_by.encode())
        for position in positions:
            digest.update(_describe(crops, position, versions))
        if crops.columns:
            digest.update(_bytes_of_columns(crops, positions))
        chunks.append(_Chunk(positions, digest.hexdigest()))
    return chunks


def _describe(crops: Crops, position: int, versions: Mapping[Address, str]) -> bytes:
    """Everything a crop's row depends on besides the weights and the further columns."""
    path = crops.paths[position]
    version: tuple[object, ...]
    if isinstance(path, Address):
        version = (versions.get(path),)
    else:
        try:
            status = path.stat()
            version = (status.st_size, status.st_mtime_ns)
        except OSError:
            version = (-1, -1)  # reading the file will report it
    person_id = None if crops.person_ids is None else int(crops.person_ids[position])
    camera_id = None if crops.camera_ids is None else int(crops.camera_ids[position])
    return os.fsencode(path) + repr((version, person_id, camera_id, [])).encode(errors="backslashreplace")


def _bytes_of_columns(crops: Crops, positions: range) -> bytes:
    """The further columns of a chunk as bytes. Writing Parquet needs no Python object for any value."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chunk = pa.table(arrow_columns(crops)).slice(positions.start, len(positions))
    content = pa.BufferOutputStream()
    pq.write_table(chunk.select(sorted(chunk.column_names)), content, compression="none")
    return content.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _finished(output: Path, job: str, skip_unreadable: bool) -> JobSummary | None:
    """The summary of `output` if this very job made it, else None."""
    if not _is_done(output, job, skip_unreadable):
        return None
    rows, skipped = _rows(output), read_provenance(output).skipped
    return JobSummary(rows, rows + len(skipped), skipped)


def _part(parts: Path, chunk: _Chunk) -> Path:
    return parts / f"{chunk.positions.start:09d}.parquet"


def _not_done(parts: Path, chunks: Sequence[_Chunk], skip_unreadable: bool) -> list[_Chunk]:
    """The chunks without a finished part. The folder is listed once, as at an address each question takes long."""
    names = file_names(parts)
    return [
        chunk
        for chunk in chunks
        if (part := _part(parts, chunk)).name not in names or not _is_done(part, chunk.fingerprint, skip_unreadable)
    ]


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    with arrow_source(path) as source:
        return int(pq.read_metadata(source).num_rows)


def _is_done(path: Path, fingerprint: str, skip_unreadable: bool) -> bool:
    """Whether `path` is a whole table with this fingerprint, and without skipped crops unless those are allowed."""
    try:
        provenance = read_provenance(path)
    except (DataNotFoundError, EmbeddingError):
        return False
    return provenance.job == fingerprint and (skip_unreadable or not provenance.skipped)


def _join(parts: list[Path], output: Path, provenance: Provenance, kept: int) -> JobSummary:
    """Write all parts as one file, a part at a time."""
    import pyarrow.parquet as pq

    skipped = tuple(entry for part in parts for entry in read_provenance(part).skipped)
    embedded = sum(_rows(part) for part in parts)
    if not embedded:
        path, reason = skipped[0]
        raise ImageError(f"None of the {len(skipped):,} crops can be read. The first, {path}: {reason}")
    with arrow_source(parts[0]) as source:
        schema = pq.read_schema(source)
    complete = with_provenance(schema.empty_table(), replace(provenance, skipped=skipped)).schema
    with atomic_output(output) as temporary, output_errors(output), pq.ParquetWriter(temporary, complete) as writer:
        for part in parts:
            with arrow_source(part) as source:
                writer.write_table(pq.read_table(source).cast(complete))
    return JobSummary(embedded, kept, skipped)
