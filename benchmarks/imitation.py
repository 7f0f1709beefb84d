"""Question: how closely does a network follow its teacher, on crops it learned from, other people and other cameras?

Two numbers for each part of each data set, from at most 500 crops drawn at random:
the correlation of the two networks' cosine similarities over all pairs of crops, and
how many of a crop's 10 nearest by the teacher are among its 10 nearest by the student.
A student that is far from its teacher on crops it learned from has learned too little
or cannot hold more; one that is near there and far elsewhere has learned its cameras.

Run: python benchmarks/imitation.py TEACHER STUDENT DATA [DATA …]
"""

from __future__ import annotations

import sys

import numpy as np

from omnireid import Embedder, RuntimeOptions, Split, load_dataset, load_embedder
from omnireid.machine import describe
from omnireid.types import FloatArray

CROPS = 500
NEIGHBOURS = 10


def similarities(embedder: Embedder, crops: Split) -> FloatArray:
    """(N, N) cosine similarities of N crops."""
    embeddings = embedder.embed(crops.paths)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found: FloatArray = unit @ unit.T
    return found


def nearest(similarity: FloatArray) -> FloatArray:
    """(N, N) whether the column is among the nearest of the row."""
    others = similarity - 4 * np.eye(len(similarity), dtype=np.float32)
    border = np.sort(others, axis=1)[:, -NEIGHBOURS]
    return (others >= border[:, None]).astype(np.float32)


def compare(teacher: Embedder, student: Embedder, crops: Split) -> tuple[float, float]:
    """The correlation of the similarities, and the share of the teacher's nearest crops that the student finds."""
    wanted, found = similarities(teacher, crops), similarities(student, crops)
    pairs = np.triu_indices(len(wanted), 1)
    correlation = float(np.corrcoef(wanted[pairs], found[pairs])[0, 1])
    return correlation, float((nearest(wanted) * nearest(found)).sum(axis=1).mean()) / NEIGHBOURS


def main(teacher: str, student: str, roots: list[str]) -> None:
    """Print a line for each part of each data set."""
    options = RuntimeOptions(precision="fp32")
    networks = load_embedder(teacher, options), load_embedder(student, options)
    print(f"{'data set':28s} {'part':8s} crops  correlation  {NEIGHBOURS} nearest shared")
    for root in roots:
        dataset = load_dataset(root)
        for part in ("train", "query"):
            crops = dataset.splits[part]
            if len(crops) < 2 * NEIGHBOURS:
                continue
            chosen = np.sort(np.random.default_rng(0).permutation(len(crops))[:CROPS])
            correlation, shared = compare(*networks, crops.select(chosen))
            name = dataset.root.name
            print(f"{name:28s} {part:8s} {len(chosen):5d}  {correlation:11.3f}  {shared:16.2f}", flush=True)
    print(describe().text())


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
