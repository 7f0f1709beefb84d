"""A program written for roboflow's `reid`: the same two methods, with an omnireid network behind them.

Run: python examples/tracking_reid.py FRAME.png CROP.png …
"""

from __future__ import annotations

import sys

import numpy as np
import supervision as sv
from PIL import Image

from omnireid import TrackerEmbedder, load_embedder


def main(frame_file: str, *crops: str) -> None:
    frame = np.array(Image.open(frame_file).convert("RGB"))[..., ::-1]  # BGR, as cv2.imread gives it
    model = TrackerEmbedder(load_embedder())
    height, width, _ = frame.shape
    halves = sv.Detections(np.array([[0, 0, width / 2, height], [width / 2, 0, width, height]]))
    in_frame = model.extract_embeddings(halves, frame)
    known = model.extract_embeddings_from_paths(crops)
    norms = [np.linalg.norm(part, axis=1, keepdims=True) for part in (in_frame, known)]
    print((in_frame / norms[0]) @ (known / norms[1]).T)


if __name__ == "__main__":
    main(*sys.argv[1:])
