from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from omnireid.errors import SettingError, TrackingError
from omnireid.tracking.detections import FrameDetections
from omnireid.tracking.tracklets import Tracklet

BOXES = np.array([[0, 0, 10, 20], [1, 0, 11, 20], [2, 0, 12, 20]], dtype=np.float32)
TRACKLET = Tracklet(
    "door",
    7,
    frames=np.array([3, 4, 6]),
    times=np.array([0.1, 0.2, 0.4]),
    boxes=BOXES,
    scores=np.full(3, 0.9, dtype=np.float32),
    embedded=np.array([0, 2]),
    embeddings=np.ones((2, 4), dtype=np.float32),
    qualities=np.array([0.5, 0.7], dtype=np.float32),
)


def test_a_tracklet_knows_when_it_starts_and_ends() -> None:
    assert (TRACKLET.start, TRACKLET.end) == (0.1, 0.4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": np.array([0.1, 0.2])}, "differ in length"),
        ({"frames": np.array([3, 3, 6])}, "must rise"),
        ({"times": np.array([0.1, 0.4, 0.2])}, "must rise"),
        ({"boxes": BOXES[:, [2, 1, 0, 3]]}, "no area"),
        ({"embedded": np.array([0, 3])}, "lie below 3"),
        ({"embeddings": np.full((2, 4), np.nan, dtype=np.float32)}, "not finite"),
        ({"qualities": np.ones(1, dtype=np.float32)}, "1 qualities"),
        ({"frames": np.zeros(0, dtype=np.int64)}, "no box"),
    ],
)
def test_a_tracklet_that_cannot_be_one_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(TrackingError, match=message) as caught:
        replace(TRACKLET, **change)  # type: ignore[arg-type]
    assert "tracklet 7 of camera door" in str(caught.value)


def test_the_boxes_of_a_frame_may_be_none() -> None:
    assert len(FrameDetections(0, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))) == 0


@pytest.mark.parametrize(
    ("boxes", "scores", "message"),
    [
        (BOXES, np.ones(2), "3 boxes and 2 scores"),
        (BOXES * np.nan, np.ones(3), "not finite"),
        (BOXES[:, [0, 1, 0, 3]], np.ones(3), "no area"),
        (BOXES, np.array([1, 2, 0]), "outside"),
        (BOXES, np.array([1, np.nan, 0]), "outside"),
    ],
)
def test_boxes_of_a_frame_that_cannot_be_boxes_are_refused(boxes: np.ndarray, scores: np.ndarray, message: str) -> None:
    with pytest.raises(TrackingError, match=message):
        FrameDetections(0, boxes, scores)


def test_frames_are_counted_from_0() -> None:
    with pytest.raises(SettingError, match="frame"):
        FrameDetections(-1, BOXES, np.ones(3, np.float32))
