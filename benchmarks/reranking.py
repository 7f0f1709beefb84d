"""Claim: `rerank` takes at most 8 s and 1.2 GB at Market-1501's size, and at most 8 GB at MSMT17's.

The baseline is measured in the same run, at a quarter of that size, where both take
little time: the published algorithm in dense NumPy and float32 (the whole distance
matrix sorted, N × N weights, Jaccard distances one query at a time). The script checks
that both give the same distances. Embeddings form one cluster for each identity, so
that crops have about as many k-reciprocal neighbours as real ones (26 entries an
encoding; the queries of Market-1501 have 29 under a trained network). Counts are those
of Market-1501 and MSMT17. A time covers `rerank` and the writing of all rows of its
result into one buffer. Memory is the peak resident size of a process of its own, with
inputs and interpreter.

Run: python benchmarks/reranking.py [quarter] [market1501] [msmt17]
     python benchmarks/reranking.py real QUERY GALLERY     scores of two tables of omnireid embed, and the dense scores
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from omnireid import Labels, RerankedDistances, Reranking, evaluate_ranking, rerank
from omnireid.data.matches import find_matches
from omnireid.embedding.tables import read_embeddings
from omnireid.machine import describe
from omnireid.retrieval.comparison import compare_blocks
from omnireid.types import FloatArray

WIDTH = 512
NOISE = 1.2  # standard deviation of crops about their identity; identities have 1 in each coordinate
SUBSET = (300, 3_000)  # queries and gallery crops of the real data that the dense algorithm scores, too


@dataclass(frozen=True)
class Size:
    """The shape of a data set, and how many times to measure it."""

    queries: int
    gallery: int
    identities: int
    repeats: int


SIZES = {
    "quarter": Size(842, 3_978, 188, 3),
    "market1501": Size(3_368, 15_913, 750, 3),
    "msmt17": Size(11_659, 82_161, 3_060, 1),
}


def inputs(size: Size) -> tuple[FloatArray, FloatArray]:
    """Draw clustered embeddings, the same in every run."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((size.queries + size.gallery, WIDTH), dtype=np.float32)
    rows *= NOISE
    rows += rng.standard_normal((size.identities, WIDTH), dtype=np.float32)[rng.integers(0, size.identities, len(rows))]
    return rows[: size.queries], rows[size.queries :]


def rerank_densely(query: FloatArray, gallery: FloatArray) -> FloatArray:
    """Re-rank as Zhong et al. (CVPR 2017) is usually written, with whole matrices."""
    k1, k2, weight = Reranking().k1, Reranking().k2, np.float32(Reranking().lambda_value)
    rows = np.concatenate([query, gallery])
    norms = np.einsum("nd,nd->n", rows, rows)
    distances = norms[:, None] + norms - 2 * rows @ rows.T
    distances /= distances.max(axis=1, keepdims=True)
    ranks = np.argsort(distances, axis=1)

    def reciprocal(row: int, count: int) -> npt.NDArray[np.int64]:
        forward = ranks[row, : count + 1]
        found: npt.NDArray[np.int64] = forward[(ranks[forward, : count + 1] == row).any(axis=1)]
        return found

    weights = np.zeros_like(distances)
    for row in range(len(rows)):
        members = reciprocal(row, k1)
        sets = [members]
        for member in members:
            candidates = reciprocal(int(member), round(k1 / 2))
            if 3 * len(np.intersect1d(candidates, members)) > 2 * len(candidates):
                sets.append(candidates)
        expanded = np.unique(np.concatenate(sets))
        chosen = np.exp(-distances[row, expanded])
        weights[row, expanded] = chosen / chosen.sum()
    weights = np.stack([weights[ranks[row, :k2]].mean(axis=0) for row in range(len(rows))])
    holders = [np.flatnonzero(column) for column in weights.T]
    result: FloatArray = weight * distances[: len(query), len(query) :]
    for row in range(len(query)):
        common = np.zeros(len(rows), dtype=np.float32)
        for column in np.flatnonzero(weights[row]):
            common[holders[column]] += np.minimum(weights[row, column], weights[holders[column], column])
        result[row] += (1 - weight) * (1 - common / (2 - common))[len(query) :]
    return result


def write_all(reranked: RerankedDistances) -> None:
    """Write every row of the result, in blocks, and keep none."""
    for _ in compare_blocks(reranked, label="write"):
        pass


def times(query: FloatArray, gallery: FloatArray) -> tuple[float, float]:
    """Measure `rerank`, and the writing of its rows, in seconds."""
    start = time.perf_counter()
    reranked = rerank(query, gallery)
    middle = time.perf_counter()
    write_all(reranked)
    return middle - start, time.perf_counter() - middle


def peak_mib(name: str, way: str) -> float:
    """Measure the peak memory of one re-ranking in a process of its own, in MiB."""
    words = [sys.executable, __file__, name, way]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def measure_memory(name: str, way: str) -> None:
    """Print this process's peak resident size, in MiB, after one re-ranking."""
    query, gallery = inputs(SIZES[name])
    if way == "--memory-dense":
        rerank_densely(query, gallery)
    else:
        times(query, gallery)
    lines = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss would start at the parent's peak
    print(int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024)


def measure(name: str) -> None:
    """Measure one size, and print its lines."""
    size = SIZES[name]
    query, gallery = inputs(size)
    measured = [times(query, gallery) for _ in range(size.repeats)]
    totals = [sum(pair) for pair in measured]
    entries = len(rerank(query, gallery).encoding.values) / size.queries if size.repeats > 1 else None
    writing = statistics.median(pair[1] for pair in measured)
    print(
        f"{name:<11} {size.queries:,} + {size.gallery:,} × {WIDTH}   rerank {statistics.median(totals):.2f} s "
        f"({min(totals):.2f}–{max(totals):.2f}), {writing:.2f} s of it to write the rows   "
        f"peak {peak_mib(name, '--memory'):.0f} MiB" + (f"   {entries:.0f} entries an encoding" if entries else ""),
        flush=True,
    )
    if name != "quarter":
        return
    start = time.perf_counter()
    expected = rerank_densely(query, gallery)
    dense = time.perf_counter() - start
    difference = float(np.abs(rerank(query, gallery).dense() - expected).max())
    print(
        f"{'':<11} dense {dense:.2f} s, peak {peak_mib(name, '--memory-dense'):.0f} MiB: "
        f"{dense / statistics.median(totals):.1f} times as long; largest difference of a distance {difference:.1e}",
        flush=True,
    )


def score_matrix(matrix: FloatArray, query: Labels, gallery: Labels) -> tuple[float, float]:
    """Compute rank-1 and mAP of a whole matrix under the single-query protocol, by sorting it."""
    matches = find_matches(query, gallery, use_cameras=True)
    first, precision = [], []
    for number, row in enumerate(matches.queries):
        part = slice(matches.offsets[number], matches.offsets[number + 1])
        crops, is_true_match = matches.crop_indices[part], matches.is_true_match[part]
        values = matrix[row].copy()
        values[crops[~is_true_match]] = np.inf
        ranks = np.sort(np.argsort(np.argsort(values, kind="stable"))[crops[is_true_match]]) + 1
        first.append(ranks[0] == 1)
        precision.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return 100 * float(np.mean(first)), 100 * float(np.mean(precision))


def measure_real(query_table: Path, gallery_table: Path) -> None:
    """Print scores of stored embeddings with and without re-ranking, and of a subset with the dense algorithm, too."""
    left, right = read_embeddings(query_table), read_embeddings(gallery_table)
    if left.labels is None or right.labels is None:
        sys.exit("The tables have no person ids; embed a data set's split (--split).")
    query, gallery, query_labels, gallery_labels = left.embeddings, right.embeddings, left.labels, right.labels
    for title, reranking in (("distance alone", None), ("re-ranked", Reranking())):
        start = time.perf_counter()
        scores = evaluate_ranking(query, gallery, query_labels, gallery_labels, reranking=reranking)
        print(
            f"{title:<15} {len(query):,} + {len(gallery):,}   rank-1 {100 * scores.rank1:.2f}   "
            f"mAP {100 * scores.mean_average_precision:.2f}   {time.perf_counter() - start:.2f} s",
            flush=True,
        )
    rng = np.random.default_rng(0)
    chosen = [
        np.sort(rng.permutation(len(table))[:count]) for table, count in zip((query, gallery), SUBSET, strict=True)
    ]
    query, gallery = query[chosen[0]], gallery[chosen[1]]
    query_labels, gallery_labels = _select(query_labels, chosen[0]), _select(gallery_labels, chosen[1])
    scores = evaluate_ranking(query, gallery, query_labels, gallery_labels, reranking=Reranking())
    dense = score_matrix(rerank_densely(query, gallery), query_labels, gallery_labels)
    print(
        f"{'a subset':<15} {len(query):,} + {len(gallery):,}   re-ranked: rank-1 {100 * scores.rank1:.4f}, "
        f"mAP {100 * scores.mean_average_precision:.4f}   dense: rank-1 {dense[0]:.4f}, mAP {dense[1]:.4f}"
    )


def _select(labels: Labels, chosen: npt.NDArray[np.int64]) -> Labels:
    return Labels(labels.person_ids[chosen], None if labels.camera_ids is None else labels.camera_ids[chosen])


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["real"]:
        measure_real(Path(arguments[1]), Path(arguments[2]))
    elif arguments[-1:] in (["--memory"], ["--memory-dense"]):
        measure_memory(*arguments)
        sys.exit()  # its parent reads one number
    else:
        for chosen_name in arguments or SIZES:
            measure(chosen_name)
    print(describe().text())
