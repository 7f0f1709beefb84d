"""Claim: four writers and eight readers share a gallery for a minute without an error and without a lost write.

Each writer adds batches of 256 sightings of its own; each reader searches for one query at a time, leaving out a
camera. Every process opens the gallery itself, started by spawn. Afterwards every sighting that a writer was told of
must be there, once, and `check` must find nothing. The baseline is one reader alone, in the same run. Every reader
keeps all sightings in memory and reads what is new after each write. Expect 2 minutes for 60 seconds, and up to 1 GiB
of memory for each reader.

Run: python benchmarks/gallery_writers.py [SECONDS]
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from omnireid import Crops, EmbeddingTable, Gallery, SightingFilter
from omnireid.embedding.tables import Provenance
from omnireid.machine import describe

WIDTH = 512
BATCH = 256
WRITERS, READERS = 4, 8
START = 10_000
PROVENANCE = Provenance("0" * 64, "osnet_x1_0", {"height": 256}, "cosine", "none", "0")


def table(seed: int, count: int, writer: int) -> EmbeddingTable:
    """Random sightings of one writer."""
    rng = np.random.default_rng(seed)
    paths = tuple(Path(f"/nowhere/{writer}/{seed}/{row}.jpg") for row in range(count))
    crops = Crops(paths, rng.integers(0, 500, count), np.arange(count) % 6)
    return EmbeddingTable(crops, rng.random((count, WIDTH), dtype=np.float32), PROVENANCE)


def write(place: str, writer: int, until: float, acknowledged: str) -> None:
    """Add batch after batch, and write down how many sightings were acknowledged."""
    warnings.simplefilter("ignore")  # that it waits for another writer, which is what is measured
    gallery, done, batch = Gallery.open(place), 0, 0
    while time.time() < until:
        done += gallery.add(table(1_000_000 * (writer + 1) + batch, BATCH, writer)).added
        batch += 1
    Path(acknowledged).write_text(str(done))


def read(place: str, until: float, times: str) -> None:
    """Search again and again, and write down the milliseconds."""
    gallery, rng, taken = Gallery.open(place), np.random.default_rng(), []
    while time.time() < until:
        began = time.perf_counter()
        gallery.search(rng.random((1, WIDTH), dtype=np.float32), 10, SightingFilter(not_cameras=("1",)))
        taken.append(1000 * (time.perf_counter() - began))
    np.save(times, taken)


def measure(place: Path, folder: Path, writers: int, readers: int, seconds: float) -> tuple[int, list[float]]:
    """Acknowledged sightings, and all times of all readers, in milliseconds."""
    spawn = multiprocessing.get_context("spawn")
    until = time.time() + seconds + 15  # until all have started
    processes = [
        spawn.Process(target=write, args=(str(place), number, until, str(folder / f"w{number}")))
        for number in range(writers)
    ]
    processes += [
        spawn.Process(target=read, args=(str(place), until, str(folder / f"r{number}.npy")))
        for number in range(readers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not [process.exitcode for process in processes if process.exitcode]
    done = sum(int((folder / f"w{number}").read_text()) for number in range(writers))
    return done, [float(ms) for number in range(readers) for ms in np.load(folder / f"r{number}.npy")]


def main(seconds: float) -> None:
    """Measure one reader alone, then all of them."""
    print(describe())
    folder = Path(tempfile.mkdtemp(prefix="omnireid-writers-"))
    try:
        place = folder / "g"
        gallery = Gallery.open(place)
        gallery.add(table(0, START, 99))
        _, alone = measure(place, folder, 0, 1, min(seconds, 10))
        p50, p95 = np.percentile(alone, [50, 95])
        print(f"one reader alone: {len(alone):,} searches, p50 {p50:.1f} ms, p95 {p95:.1f} ms")
        done, times = measure(place, folder, WRITERS, READERS, seconds)
        there = gallery.info().sightings
        p50, p95 = np.percentile(times, [50, 95])
        print(f"{WRITERS} writers: {done:,} sightings acknowledged, {there - START:,} there")
        print(f"{READERS} readers: {len(times):,} searches")
        print(f"readers p50 {p50:.1f} ms, p95 {p95:.1f} ms; problems: {list(gallery.check().problems) or 'none'}")
        assert there - START == done
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
