"""Claim: `evaluate_ranking` takes at most 1.5 times the bare float32 matrix product, and at most 512 MiB.

The baseline is measured in the same run, in turn with the evaluation: the product
of all queries with all gallery embeddings, in the two ways a person would write it
(``query @ gallery.T`` where the result fits, and in blocks into one buffer). The
faster one counts. Embeddings are random; people, cameras and counts are those of
Market-1501 and MSMT17. `evaluate_ranking` runs with its defaults. Memory is the peak
of a process of its own, beyond what it held when its inputs were ready.

Run: python benchmarks/evaluation.py [market1501|msmt17]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnireid import Labels, evaluate_ranking
from omnireid.machine import describe
from omnireid.types import FloatArray

WIDTH = 512
BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Size:
    """The shape of a data set, and how many times to measure it."""

    queries: int
    gallery: int
    identities: int
    cameras: int
    distractors: float  # fraction of the gallery whose people are not searched for
    repeats: int


SIZES = {
    "market1501": Size(3_368, 15_913, 750, 6, 0.175, 9),
    "msmt17": Size(11_659, 82_161, 3_060, 15, 0.0, 2),
}


def inputs(size: Size) -> tuple[FloatArray, FloatArray, Labels, Labels]:
    """Draw random embeddings and labels, the same in every run."""
    rng = np.random.default_rng(0)
    query = rng.standard_normal((size.queries, WIDTH), dtype=np.float32)
    gallery = rng.standard_normal((size.gallery, WIDTH), dtype=np.float32)
    people = rng.integers(1, size.identities + 1, size.gallery)
    people[rng.random(size.gallery) < size.distractors] = 0
    query_labels = Labels(
        np.arange(size.queries) % size.identities + 1, rng.integers(1, size.cameras + 1, size.queries)
    )
    return query, gallery, query_labels, Labels(people, rng.integers(1, size.cameras + 1, size.gallery))


def time_of_whole(query: FloatArray, gallery: FloatArray) -> float:
    """Measure ``query @ gallery.T``, in seconds."""
    start = time.perf_counter()
    query @ gallery.T
    return time.perf_counter() - start


def time_of_blocks(query: FloatArray, gallery: FloatArray) -> float:
    """Measure the same product in blocks of rows into one buffer, in seconds."""
    rows = max(1, BLOCK_BYTES // (4 * len(gallery)))
    buffer = np.empty((rows, len(gallery)), dtype=np.float32)
    start = time.perf_counter()
    for first in range(0, len(query), rows):
        block = query[first : first + rows]
        np.matmul(block, gallery.T, out=buffer[: len(block)])
    return time.perf_counter() - start


def time_of_evaluation(query: FloatArray, gallery: FloatArray, query_labels: Labels, gallery_labels: Labels) -> float:
    """Measure `evaluate_ranking` with its defaults, in seconds."""
    start = time.perf_counter()
    evaluate_ranking(query, gallery, query_labels, gallery_labels)
    return time.perf_counter() - start


def peak_mib(name: str) -> float:
    """Measure the peak memory of an evaluation beyond its inputs, in a process of its own."""
    words = [sys.executable, __file__, name, "--memory"]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def measure_memory(name: str) -> None:
    """Print how far one evaluation raises the peak memory of this process, in MiB."""
    ready = inputs(SIZES[name])
    query, gallery, query_labels, gallery_labels = ready
    few = Labels(np.zeros(8, np.int64), np.arange(8) % 2)
    evaluate_ranking(query[:8], gallery[:8], few, few)  # loads all code before the memory is read
    before = _peak_kib()
    time_of_evaluation(query, gallery, query_labels, gallery_labels)
    print((_peak_kib() - before) / 1024)


def _peak_kib() -> int:
    """Peak resident memory of this process (Linux). ru_maxrss would start at the parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def measure(name: str) -> None:
    """Measure one size, and print its line."""
    size = SIZES[name]
    query, gallery, query_labels, gallery_labels = inputs(size)
    fits = 4 * size.queries * size.gallery < 2**30
    products, evaluations, ratios = [], [], []
    for _ in range(size.repeats + 1):
        product = time_of_blocks(query, gallery)
        if fits:
            product = min(product, time_of_whole(query, gallery))
        evaluation = time_of_evaluation(query, gallery, query_labels, gallery_labels)
        products.append(product)
        evaluations.append(evaluation)
        ratios.append(evaluation / product)
    products, evaluations, ratios = products[1:], evaluations[1:], ratios[1:]
    print(
        f"{name:<11} {size.queries:,} × {size.gallery:,} × {WIDTH}   product {statistics.median(products):6.2f} s   "
        f"evaluate {statistics.median(evaluations):6.2f} s   ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f}–{max(ratios):.2f})   beyond the inputs {peak_mib(name):.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    chosen = [word for word in sys.argv[1:] if not word.startswith("-")] or list(SIZES)
    for chosen_name in chosen:
        if "--memory" in sys.argv:
            measure_memory(chosen_name)
        else:
            measure(chosen_name)
    if "--memory" not in sys.argv:
        print(describe().text())
