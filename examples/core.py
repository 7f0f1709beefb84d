"""The core install at work, without torch: draw people, embed them, search for one, and score the search.

Run: python examples/core.py FOLDER
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from omnireid import evaluate_ranking, load_dataset, load_embedder, search, synthesize


def main(folder: Path) -> None:
    people = synthesize(folder / "people", identities=20, cameras=3)
    dataset = load_dataset(people)
    embedder = load_embedder()
    print(embedder.choice)
    query = embedder.embed(dataset.query.paths)
    gallery = embedder.embed(dataset.gallery.paths)
    found = search(query[:1], gallery, 3, embedder.metadata.distance)
    for index, distance in zip(found.indices[0], found.distances[0], strict=True):
        print(f"{dataset.query.paths[0].name} ~ {dataset.gallery.paths[index].name}   {distance:.2f}")
    labels = dataset.query.labels, dataset.gallery.labels
    print(evaluate_ranking(query, gallery, *labels, embedder.metadata.distance).table())
    print(f"torch is {'not ' if find_spec('torch') is None else ''}installed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
