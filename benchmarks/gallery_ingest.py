"""Claim: a gallery takes 10,000 embeddings a second, and crops at 0.9 of the rate at which `embed` makes a table.

Embeddings are random, 512 values each, in tables of 100,000 whose files are elsewhere. Crops are drawn people. `embed`
is what ``omnireid embed`` does: decode, run the default network, write a Parquet file. `add` is ``omnireid gallery
add``, which also hashes each crop, measures its quality, and brings every chunk to the disk. Both use the same loaded
network, in turn, and the ratio is that of the medians. Expect 3 minutes on two idle cores, and 2 GiB of memory.

Run: python benchmarks/gallery_ingest.py [EMBEDDINGS] [CROPS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from omnireid import Crops, EmbeddingTable, Gallery, load_embedder
from omnireid.data.listing import list_crops
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.jobs import embed_to_parquet
from omnireid.embedding.tables import Provenance
from omnireid.machine import describe
from omnireid.synthetic.dataset import synthesize

WIDTH = 512
TABLE = 100_000
ROUNDS = 5
PROVENANCE = Provenance("0" * 64, "osnet_x1_0", {"height": 256}, "cosine", "none", "0")


def add_embeddings(folder: Path, count: int) -> float:
    """Embeddings that a new gallery takes in a second."""
    rng = np.random.default_rng(0)
    gallery, seconds = Gallery.open(folder / "embeddings"), 0.0
    warm = EmbeddingTable(Crops((Path("/nowhere/warm.jpg"),)), rng.random((1, WIDTH), dtype=np.float32), PROVENANCE)
    gallery.add(warm)  # LanceDB is imported now
    for start in range(0, count, TABLE):
        rows = min(TABLE, count - start)
        paths = tuple(Path(f"/nowhere/{row:08d}.jpg") for row in range(start, start + rows))
        crops = Crops(paths, rng.integers(0, 1000, rows), np.arange(rows) % 8)
        table = EmbeddingTable(crops, rng.random((rows, WIDTH), dtype=np.float32), PROVENANCE)
        began = time.perf_counter()
        assert gallery.add(table).added == rows
        seconds += time.perf_counter() - began
    return count / seconds


def time_crops(folder: Path, embedder: Embedder, crops: Crops, number: int) -> tuple[float, float]:
    """Seconds of `embed`, and of `add` to a new gallery."""
    began = time.perf_counter()
    embed_to_parquet(embedder, crops, folder / f"{number}.parquet")
    embedding = time.perf_counter() - began
    gallery = Gallery.open(folder / f"crops{number}", embedder)
    began = time.perf_counter()
    summary = gallery.add(crops, keep_all=True)
    adding = time.perf_counter() - began
    assert summary.added + summary.found == len(crops)
    return embedding, adding


def main(embeddings: int, crops: int) -> None:
    """Measure both."""
    print(describe())
    with tempfile.TemporaryDirectory(prefix="omnireid-ingest-") as place:
        folder = Path(place)
        rate = add_embeddings(folder, embeddings)
        print(f"{embeddings:,} embeddings: {rate:,.0f} a second")
        synthesize(folder / "people", identities=max(2, crops // 16))
        listed = list_crops([str(folder / "people")])
        listed = listed.select(np.arange(min(crops, len(listed))))
        embedder = load_embedder()
        time_crops(folder, embedder, listed.select(np.arange(min(64, len(listed)))), -1)
        times = [time_crops(folder, embedder, listed, number) for number in range(ROUNDS)]
        embed_rate, add_rate = (len(listed) / median(seconds) for seconds in zip(*times, strict=True))
        print(f"{len(listed):,} crops, {embedder.choice}")
        print(
            f"embed {embed_rate:,.0f} crops/s, gallery add {add_rate:,.0f} crops/s, ratio {add_rate / embed_rate:.3f}"
        )


if __name__ == "__main__":
    main(*(int(word) for word in (sys.argv[1:] or ["200000", "4000"])))
