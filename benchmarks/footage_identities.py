"""Claim: the default weights tell the people of drawn footage apart across its cameras.

The footage of `omnireid synthesize-video` is drawn, its video is decoded again, and
the boxes of its ground truth are embedded, about one a second for each person and
camera, leaving out those of whom less than 60 % is seen. Each crop then looks for the
same person in the other cameras. The second row joins the crops of one visit by the
mean of their embeddings, as linking does with a tracklet.

The baseline is the mean colour of the upper, middle and lower third of each crop: what
clothes alone tell. Two seeds are drawn, so that the figures are not those of one
lucky cast.

Run: python benchmarks/footage_identities.py [SECONDS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from omnireid import Labels, evaluate_ranking, load_embedder
from omnireid.embedding.embedder import Embedder
from omnireid.machine import describe
from omnireid.synthetic.footage import synthesize_video
from omnireid.synthetic.footage_plan import FootagePlan
from omnireid.tracking.mot_files import MotTable
from omnireid.tracking.video import open_video
from omnireid.types import DoubleArray, FloatArray

SEEDS = (0, 1)
LEAST_SEEN = 0.6
GAP = 12
"""Frames between two crops of one person; longer pauses separate two visits."""


def mean_colours(pixels: np.ndarray, boxes: DoubleArray) -> FloatArray:
    """(N, 9) mean colours of the thirds of each box."""
    rows = []
    for left, top, right, bottom in np.clip(boxes, 0, [*pixels.shape[1::-1]] * 2).astype(int).tolist():
        thirds = np.array_split(pixels[top:bottom, left:right].astype(np.float32), 3)
        rows.append(np.concatenate([third.mean(axis=(0, 1)) for third in thirds]))
    return np.stack(rows)


def describe_crops(
    embedder: Embedder, video: Path, truth: MotTable
) -> tuple[FloatArray, FloatArray, list[tuple[int, int]]]:
    """Embeddings, mean colours, and person and visit of the crops of one camera."""
    embeddings, colours, owners = [], [], []
    last: dict[int, tuple[int, int]] = {}
    good = truth.select(truth.visibilities >= LEAST_SEEN)
    with open_video(video) as frames:
        for frame in frames.frames():
            rows = np.flatnonzero(good.frames == frame.number)
            chosen = []
            for row in rows.tolist():
                person = int(good.identities[row])
                before, visit = last.get(person, (-GAP, 0))
                if frame.number - before >= GAP:
                    visit += frame.number - before > 3 * GAP
                    last[person] = (frame.number, visit)
                    chosen.append(row)
                    owners.append((person, visit))
            if chosen:
                embeddings.append(embedder.embed_boxes(frame.pixels, good.boxes[chosen], "bgr").embeddings)
                colours.append(mean_colours(frame.pixels, good.boxes[chosen]))
    return np.concatenate(embeddings), np.concatenate(colours), owners


def join_visits(
    values: FloatArray, owners: list[tuple[int, int, int]]
) -> tuple[FloatArray, list[tuple[int, int, int]]]:
    """The mean of the normalised rows of each person, camera and visit."""
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    visits = sorted(set(owners))
    return np.stack([unit[[owner == visit for owner in owners]].mean(axis=0) for visit in visits]), visits


def report(name: str, values: FloatArray, owners: list[tuple[int, int, int]]) -> None:
    """Print how well rows find the same person in another camera."""
    people, cameras, _ = np.array(owners, dtype=np.int64).T
    labels = Labels(people, cameras)
    scores = evaluate_ranking(values, values, labels, labels)
    print(f"  {name:<28} {len(values):>5} rows   rank-1 {scores.rank1:.3f}   mAP {scores.mean_average_precision:.3f}")


def main() -> None:
    """Draw, embed and compare."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    print(describe())
    embedder = load_embedder()
    for seed in SEEDS:
        plan = FootagePlan(seconds=seconds, seed=seed)
        embeddings, colours, owners = [], [], []
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "footage"
            for camera, (name, truth) in enumerate(synthesize_video(root, plan, progress=True).items()):
                found = describe_crops(embedder, root / name / "video.mp4", truth)
                embeddings.append(found[0])
                colours.append(found[1])
                owners += [(person, camera, visit) for person, visit in found[2]]
        print(f"seed {seed}: {plan.cameras} cameras, {plan.people} people, {seconds:g} s")
        for name, parts in (("mean colours of thirds", colours), ("default weights", embeddings)):
            values = np.concatenate(parts)
            report(name, values, owners)
            report(f"{name}, visits", *join_visits(values, owners))


if __name__ == "__main__":
    main()
