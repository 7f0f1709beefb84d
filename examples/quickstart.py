"""The whole job on people nobody has to ask: draw them, index them in a gallery, search it, and write reports.

Run by ``make quickstart``. The default network ships with the package. Drawn people of other seeds are among what it
learned from, so it never saw these. Nothing here needs torch; examples/quickstart_training.py trains a network.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from omnireid import Gallery, SightingFilter, load_dataset, load_embedder


def run(*words: str) -> None:
    """Run one command as a user would type it, and stop if it fails."""
    print(f"\n$ omnireid {' '.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "omnireid", *words], check=False).returncode
    if code:
        sys.exit(code)


def show_nearest(place: Path, people: Path) -> Path:
    """Search a gallery as a program would: print what other cameras have seen of the first query. Returns its file."""
    query = load_dataset(people).splits["query"].select([0])
    assert query.camera_ids is not None
    elsewhere = SightingFilter(not_cameras=(str(query.camera_ids[0]),))
    found = Gallery.open(place, load_embedder()).search(query, 5, elsewhere)
    print(f"\nNearest to {query.paths[0].name} in other cameras (names begin with person and camera):")
    for match in found[0]:
        print(f"  {Path(match.sighting.path).name}   distance {match.distance:.2f}   person {match.sighting.person}")
    return query.paths[0]


def quickstart(folder: Path) -> None:
    """Draw people into `folder`, and show what the network finds among them."""
    people, gallery, sheet, found, scores = (
        folder / name for name in ("people", "people.gallery", "people.png", "found.png", "scores.json")
    )
    reports = {"gallery": folder / "gallery.html", "evaluation": folder / "report.html"}
    run("synthesize", str(people), "--identities", "60", "--seed", "0", "--sheet", str(sheet))
    run("gallery", "add", str(people / "bounding_box_test"), "--gallery", str(gallery))
    query = show_nearest(gallery, people)
    run("gallery", "search", str(query), "--gallery", str(gallery), "--not-same-camera", "--picture", str(found))
    run("evaluate", "--data", str(people), "--json", str(scores))
    run("report", "--gallery", str(gallery), "--output", str(reports["gallery"]))
    run("report", "--data", str(people), "--output", str(reports["evaluation"]))
    print("\nOpen these files:")
    print(f"  {reports['gallery']}   who is in the gallery, where and when, and who nobody named looks like")
    print(
        f"  {reports['evaluation']}   how good the network is on these people: scores, cameras, worst and best queries"
    )
    print(f"  {sheet}   some of the drawn people: a row for each person, a column for each camera")
    print(f"  {found}   what the gallery found for one of them")
    print(f"  {gallery}   the gallery itself, to go on with: omnireid gallery --help")
    print("\nNext: omnireid demo   from drawn footage of four cameras to a page of their people")


if __name__ == "__main__":
    quickstart(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart"))
