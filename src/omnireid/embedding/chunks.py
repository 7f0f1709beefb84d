"""The one loop that embeds crops: a table for all of them, or a stream of tables, one for each chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np

from omnireid.addresses import Address
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.errors import ImageError
from omnireid.images.fetching import fetch_ahead
from omnireid.progress import progress_bar
from omnireid.types import Crops
from omnireid.version import __version__


def embed_crops(
    embedder: Embedder,
    crops: Crops,
    *,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = False,
    label: str = "embed",
) -> EmbeddingTable:
    """Embed all crops into one table in memory.

    Args:
        embedder: the network.
        crops: the files, in the order of the rows.
        batch_size: crops a step of the network; by default the number that suits the runtime.
        skip_unreadable: leave out crops that cannot be decoded and list them in the
            table's provenance, instead of stopping at the first.
        progress: show a bar on standard error.
        label: text before the bar.

    Raises:
        ImageError: a crop cannot be decoded, and `skip_unreadable` is False.
    """
    with progress_bar(label, len(crops), show=progress) as advance:
        chunks = embed_chunks(
            embedder,
            crops,
            [range(len(crops))],
            batch_size=batch_size,
            skip_unreadable=skip_unreadable,
            advance=advance,
        )
        return next(chunks)


def embed_chunks(
    embedder: Embedder,
    crops: Crops,
    chunks: Sequence[range],
    *,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    advance: Callable[[int], None],
) -> Iterator[EmbeddingTable]:
    """Embed the chunks as one stream, so that decoding never waits at a border between them.

    A table is given as soon as the last crop of its chunk is done.

    Args:
        embedder: the network.
        crops: all crops.
        chunks: which of them to embed: ranges of positions, ascending, each with at least one crop unless it is alone.
        batch_size: as for `embed_crops`.
        skip_unreadable: as for `embed_crops`.
        advance: called with the number of crops done since the last call.
    """
    positions = [position for chunk in chunks for position in chunk]
    unreadable: dict[int, str] = {}

    def leave_out(index: int, error: ImageError) -> None:
        unreadable[index] = str(error)
        advance(1)

    paths = [crops.paths[position] for position in positions]
    has_addresses = any(isinstance(path, Address) for path in paths)
    stream = embedder.embed_batches(
        fetch_ahead(paths) if has_addresses else paths,
        batch_size=batch_size,
        on_unreadable=leave_out if skip_unreadable else None,
    )
    indices, rows = np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
    start = 0
    for chunk in chunks:
        embeddings = np.empty((len(chunk), embedder.metadata.embedding_dimension), dtype=np.float32)
        is_readable = np.zeros(len(chunk), dtype=bool)
        while not is_readable[-1:].any():
            if not len(indices):
                batch = next(stream, None)
                if batch is None:
                    break
                indices, rows = batch
                advance(len(indices))
            count = int(np.searchsorted(indices, start + len(chunk)))
            embeddings[indices[:count] - start] = rows[:count]
            is_readable[indices[:count] - start] = True
            indices, rows = indices[count:], rows[count:]
            if len(indices):  # they belong to a later chunk
                break
        reasons = [unreadable.get(start + offset) for offset in range(len(chunk))]
        skipped = [(str(crops.paths[i]), why) for i, why in zip(chunk, reasons, strict=True) if why is not None]
        kept = np.asarray(chunk, dtype=np.int64)[is_readable]
        yield EmbeddingTable(
            crops.select(kept),
            embeddings if is_readable.all() else embeddings[is_readable],
            replace(provenance_of(embedder), skipped=tuple(skipped)),
        )
        start += len(chunk)


def provenance_of(embedder: Embedder) -> Provenance:
    """What an embedder's tables say of their making."""
    metadata = embedder.metadata
    return Provenance(
        weights_sha256=embedder.weights_sha256,
        model=metadata.architecture,
        preprocessing=asdict(metadata.preprocessing),
        distance=metadata.distance,
        licence=metadata.licence,
        omnireid_version=__version__,
        runtime=f"{embedder.runtime} {embedder.precision}",
    )
