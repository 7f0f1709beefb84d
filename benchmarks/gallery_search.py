"""Claim: a search with a camera filter takes 20 ms at most (median) among a million sightings, with recall@10 ≥ 0.98.

Embeddings form one cluster for each identity, with a direction that all share, are not negative, and lie on a sphere,
as OSNet's do. The gallery is filled through `Gallery.add`, and `optimize` chooses between the exact search and an
index. Queries are single; each leaves out its own camera. Baselines, in the same run and with the same filter:

- a NumPy scan: the matrix product of float32 embeddings in memory, a mask, and argpartition;
- LanceDB used plainly: the same table, its index with its own defaults (IVF_PQ), a filter, and 10 neighbours. Making
  that index may take three minutes; where it takes longer it is stopped, and LanceDB searches without.

Recall is against the exact answer. The memory of a reader is the peak resident size of another process, which opens the
gallery and searches it with every filter; `optimize` and erasing need more, which is the peak of this process, with the
drawn embeddings. Erasing one person is measured last, with its check of every byte. Without naming any of the parts
``search``, ``plain`` and ``erase``, all are run. Expect on two idle cores less than a minute for 10,000 sightings, some
4 minutes for 100,000, and for a million 10 to 15 minutes, 10 GiB of memory and 5 GB of space for temporary files.

Run: python benchmarks/gallery_search.py [10000] [100000] [1000000] [search] [plain] [erase]
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
from lancedb.index import IvfPq

from omnireid import Crops, EmbeddingTable, Gallery, SightingFilter
from omnireid.embedding.tables import Provenance
from omnireid.gallery.options import ErasureOptions
from omnireid.machine import describe
from omnireid.types import FloatArray, IntArray

WIDTH = 512
CAMERAS = 8
QUERIES = 200
FEW_QUERIES, LARGE = 100, 500_000
"""Single queries from this size on, where an exact search of all takes a quarter of a second."""
PLAIN_INDEX_S = 180
"""Seconds that LanceDB has to make its index."""
LEAST_INDEXED = 10_000
PARTS = ("search", "plain", "erase")
FOUND = 10
NOISE = 0.6
PROVENANCE = Provenance("0" * 64, "osnet_x1_0", {"height": 256}, "cosine", "none", "0")


def drawn(count: int, seed: int, identities: int) -> tuple[FloatArray, IntArray]:
    """(count, WIDTH) float32 embeddings of length 1, none negative, and their identities."""
    rng = np.random.default_rng(seed)
    people = np.random.default_rng(0).standard_normal((identities, WIDTH), dtype=np.float32) + 0.5
    who = rng.integers(0, identities, count)
    rows = np.empty((count, WIDTH), dtype=np.float32)
    for start in range(0, count, 50_000):
        part = people[who[start : start + 50_000]]
        part = np.maximum(part + NOISE * rng.standard_normal(part.shape, dtype=np.float32), 0)
        rows[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return rows, who


def fill(place: Path, rows: FloatArray, who: IntArray) -> tuple[Gallery, float]:
    """A gallery of all rows, and how many a second were added."""
    gallery = Gallery.open(place)
    cameras = np.arange(len(rows)) % CAMERAS
    began = time.perf_counter()
    for start in range(0, len(rows), 100_000):
        part = slice(start, start + 100_000)
        paths = tuple(Path(f"/nowhere/{row:08d}.jpg") for row in range(start, start + len(rows[part])))
        gallery.add(EmbeddingTable(Crops(paths, who[part], cameras[part]), rows[part], PROVENANCE))
    return gallery, len(rows) / (time.perf_counter() - began)


def measure(find: Callable[[int], IntArray], truth: list[IntArray]) -> str:
    """Median and 95th percentile of a search in milliseconds, and recall, as text."""
    for query in range(min(CAMERAS, len(truth))):  # every filter once, as in a gallery that has been open for a while
        find(query)
    times, hits = [], 0
    for query in range(len(truth)):
        began = time.perf_counter()
        found = find(query)
        times.append(1000 * (time.perf_counter() - began))
        hits += len(np.intersect1d(found, truth[query]))
    p50, p95 = np.percentile(times, [50, 95])
    return f"p50 {p50:8.2f} ms  p95 {p95:8.2f} ms  recall@{FOUND} {hits / (FOUND * len(truth)):.4f}"


def peak_mib() -> float:
    """Peak resident size of this process in MiB. What getrusage gives begins with that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def disk_mb(folder: Path) -> float:
    """Size of all files of a folder in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def read_alone(place: Path, queries: FloatArray, truth: list[IntArray]) -> None:
    """In a process of its own: open the gallery, search it with every filter, and say what that takes."""
    began = time.perf_counter()
    gallery = Gallery.open(place)
    gallery.search(queries[:1], FOUND)
    print(f"  a reader alone: first search {time.perf_counter() - began:.1f} s after opening")
    print(f"  gallery, chosen   {measure(gallery_search(gallery, queries), truth)}")
    print(f"  a reader alone: peak memory {peak_mib():,.0f} MiB", flush=True)


def gallery_search(gallery: Gallery, queries: FloatArray) -> Callable[[int], IntArray]:
    """A search of the gallery that leaves out the query's own camera."""
    filters = [SightingFilter(not_cameras=(str(camera),)) for camera in range(CAMERAS)]

    def find(query: int) -> IntArray:
        found = gallery.search(queries[query : query + 1], FOUND, filters[query % CAMERAS])
        return np.array([match.sighting.number for match in found[0]])

    return find


def run(count: int, parts: Sequence[str]) -> None:
    """Measure one size."""
    rows, who = drawn(count, 1, max(10, count // 20))
    asked = QUERIES if count < LARGE else FEW_QUERIES
    queries, _ = drawn(asked, 2, max(10, count // 20))
    folder = Path(tempfile.mkdtemp(prefix="omnireid-gallery-"))
    print(f"\n{count:,} sightings")
    try:
        gallery, rate = fill(folder / "g", rows, who)
        print(f"  add: {rate:,.0f} embeddings/s")
        cameras = np.arange(count) % CAMERAS

        def by_scan(query: int) -> IntArray:
            values = rows @ queries[query]
            values[cameras == query % CAMERAS] = -np.inf
            best = np.argpartition(-values, FOUND)[:FOUND]
            return best + 1

        truth = [by_scan(query) for query in range(asked)]

        if "search" in parts:
            print(f"  NumPy scan        {measure(by_scan, truth)}")
            print(f"  gallery, exact    {measure(gallery_search(gallery, queries), truth)}", flush=True)
            began = time.perf_counter()
            report = gallery.optimize()
            took = time.perf_counter() - began
            print(f"  optimize: {took:.1f} s\n    " + report.table().replace("\n", "\n    "))
            print(f"  disk {disk_mb(folder / 'g'):,.0f} MB", flush=True)
            in_child(read_alone, folder / "g", queries, truth)
            print(f"  peak memory {peak_mib():,.0f} MiB, of which {rows.nbytes / 2**20:,.0f} are the drawn embeddings")
        if "plain" in parts:
            plain = shutil.copytree(folder / "g", folder / "plain")
            began = time.perf_counter()
            made = count >= LEAST_INDEXED and in_child(index_plainly, plain, limit_s=PLAIN_INDEX_S)
            kind = "its index" if made else "no index"
            print(f"  LanceDB, plain: {kind}, after {time.perf_counter() - began:.0f} s")
            print(f"  LanceDB, plain    {measure(plain_search(plain, queries), truth)}", flush=True)
            shutil.rmtree(plain)
        if "erase" in parts:
            began = time.perf_counter()
            receipt = gallery.remove(ErasureOptions(person=(str(int(who[0])),)))
            took = time.perf_counter() - began
            searched = f"{receipt.bytes:,} bytes searched, {receipt.found} found"
            print(f"  erase {receipt.sightings} sightings: {took:.1f} s, {searched}")
            print(f"  peak memory {peak_mib():,.0f} MiB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_child(work: Callable[..., None], *what: Any, limit_s: float | None = None) -> bool:
    """Do some work in a new process, which is stopped at the limit; returns whether it was finished."""
    child = multiprocessing.get_context("spawn").Process(target=work, args=what)
    child.start()
    child.join(limit_s)
    finished = child.exitcode == 0
    child.kill()
    child.join()
    return finished


def index_plainly(place: Path) -> None:
    """LanceDB's default index."""
    lancedb.connect(str(place)).open_table("sightings").create_index("embedding", config=IvfPq(distance_type="cosine"))


def plain_search(place: Path, queries: FloatArray) -> Callable[[int], IntArray]:
    """A search as LanceDB's documentation has it: a filter, and its own ranking."""
    table: Any = lancedb.connect(str(place)).open_table("sightings")

    def find(query: int) -> IntArray:
        asked = table.search(queries[query], vector_column_name="embedding").distance_type("cosine")
        asked = asked.where(f"camera != '{query % CAMERAS}'", prefilter=True).select(["sighting", "_distance"])
        found: IntArray = asked.limit(FOUND).to_arrow().column("sighting").to_numpy()
        return found

    return find


if __name__ == "__main__":
    print(describe())
    words = sys.argv[1:]
    for size in [word for word in words if word.isdigit()] or ["10000", "100000"]:
        run(int(size), [word for word in words if word in PARTS] or PARTS)
