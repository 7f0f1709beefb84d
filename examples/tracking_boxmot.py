"""A loop like those of BoxMOT, which asks its model for `get_features(boxes, image)` and matches by cosine.

Run: python examples/tracking_boxmot.py FIRST.png SECOND.png LEFT TOP RIGHT BOTTOM …
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from omnireid import TrackerEmbedder, load_embedder


def main(first: str, second: str, *edges: str) -> None:
    boxes = np.array(edges, dtype=np.float32).reshape(-1, 4)
    model = TrackerEmbedder(load_embedder())
    frames = [np.array(Image.open(file).convert("RGB"))[..., ::-1] for file in (first, second)]  # BGR
    before, now = (model.get_features(boxes, frame) for frame in frames)
    before, now = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (before, now))
    cost = 1 - before @ now.T
    for box, match in zip(*linear_sum_assignment(cost), strict=True):
        print(f"box {box} of {first} is box {match} of {second}, cosine {1 - cost[box, match]:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
