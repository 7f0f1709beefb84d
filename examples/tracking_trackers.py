"""Roboflow's `trackers` follow people; omnireid adds what they look like, one row a track.

Run: python examples/tracking_trackers.py VIDEO DETECTIONS.csv   (rows of frame, left, top, right, bottom, score)
"""

from __future__ import annotations

import sys

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

from omnireid import TrackerEmbedder, load_embedder


def main(video: str, detections: str) -> None:
    rows = np.loadtxt(detections, delimiter=",", ndmin=2)
    tracker, reid = ByteTrackTracker(), TrackerEmbedder(load_embedder())
    for number, frame in enumerate(sv.get_video_frames_generator(video)):
        found = rows[rows[:, 0] == number]
        boxes = sv.Detections(found[:, 1:5], confidence=found[:, 5], class_id=np.zeros(len(found), int))
        tracked = tracker.update(boxes)
        features = reid.extract_features(tracked, frame)
        print(number, tracked.tracker_id, features.shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
