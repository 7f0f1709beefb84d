"""The whole job on people nobody has to ask: draw them, embed them, search, score, and write pictures and a report.

Run by ``make quickstart``. The default network ships with the package. Drawn people of other seeds are among what it
learned from, so it never saw these. Nothing here needs torch; examples/quickstart_training.py trains a network.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from omnireid import read_embeddings, search


def run(*words: str) -> None:
    """Run one command as a user would type it, and stop if it fails."""
    print(f"\n$ omnireid {' '.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "omnireid", *words], check=False).returncode
    if code:
        sys.exit(code)


def show_nearest(query_table: Path, gallery_table: Path) -> None:
    """Print the crops of other cameras that are nearest to the first query, found as a program would find them."""
    query, gallery = read_embeddings(query_table), read_embeddings(gallery_table)
    assert query.crops.camera_ids is not None
    assert gallery.crops.camera_ids is not None
    elsewhere = np.flatnonzero(gallery.crops.camera_ids != query.crops.camera_ids[0])
    found = search(query.embeddings[:1], gallery.embeddings[elsewhere], count=5)
    print(f"\nNearest to {query.crops.paths[0].name} in other cameras (names begin with person and camera):")
    for index, distance in zip(elsewhere[found.indices[0]], found.distances[0], strict=True):
        print(f"  {gallery.crops.paths[index].name}   distance {distance:.2f}")


def quickstart(folder: Path) -> None:
    """Draw people into `folder`, and show what the network finds among them."""
    people, sheet, ranked, scores = (folder / name for name in ("people", "people.png", "ranked.png", "scores.json"))
    report = folder / "report.html"
    tables = {split: folder / f"{split}.parquet" for split in ("query", "gallery")}
    run("synthesize", str(people), "--identities", "60", "--seed", "0", "--sheet", str(sheet))
    for split, table in tables.items():
        run("embed", str(people), "--split", split, "--output", str(table))
    show_nearest(*tables.values())
    words = [word for split, table in tables.items() for word in (f"--{split}", str(table))]
    run("evaluate", *words, "--picture", str(ranked), "--json", str(scores))
    run("report", *words, "--output", str(report))
    print("\nOpen these files:")
    print(f"  {report}   everything on one page: scores, cameras, what a distance means, the worst and best queries")
    print(f"  {sheet}   some of the drawn people: a row for each person, a column for each camera")
    print(f"  {ranked}   what the network found for some of them")
    print(f"  {scores}   the scores above")


if __name__ == "__main__":
    quickstart(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart"))
