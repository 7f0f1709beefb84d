"""Tracklets that grow window by window."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.whereabouts import SPAN_S
from omnireid.tracking.windows import EmbeddedCrop, Window


@dataclass(eq=False)
class _Growing:
    """A tracklet that may go on. The arrays hold numbers without an object for each, as they grow for hours."""

    frames: array[int] = field(default_factory=lambda: array("q"))
    times: array[float] = field(default_factory=lambda: array("d"))
    boxes: array[float] = field(default_factory=lambda: array("f"))
    scores: array[float] = field(default_factory=lambda: array("f"))
    crops: list[EmbeddedCrop] = field(default_factory=list)


class TrackletAssembly:
    """Puts the boxes and crops of windows together to tracklets.

    Args:
        camera: Name of the camera.
        dimension: Values D of an embedding.
        most_crops: Most embedded crops that a tracklet keeps; see `CropOptions.most_crops`.
    """

    def __init__(self, camera: str, dimension: int, most_crops: int) -> None:
        self._camera = camera
        self._dimension = dimension
        self._most_crops = most_crops
        self._growing: dict[int, _Growing] = {}

    def __len__(self) -> int:
        return len(self._growing)

    def add(self, window: Window) -> None:
        """Add what was seen in a window. Windows must come in the order of time."""
        for followed in window.followed:
            for number, box, score in zip(followed.numbers.tolist(), followed.boxes, followed.scores, strict=True):
                one = self._growing.setdefault(number, _Growing())
                one.frames.append(followed.frame)
                one.times.append(followed.time)
                one.boxes.extend(box.tolist())
                one.scores.append(float(score))
        for number, crop in window.crops.items():
            crops = self._growing[number].crops
            crops.append(crop)
            if len(crops) > self._most_crops:
                del crops[1::2]

    def crop_count(self, number: int) -> int:
        """Number of embedded crops of a tracklet."""
        return len(self._growing[number].crops)

    def tracklet(self, number: int) -> Tracklet:
        """A tracklet as far as it has grown."""
        one = self._growing[number]
        frames = np.array(one.frames, dtype=np.int64)
        embeddings = np.array([crop.embedding for crop in one.crops], dtype=np.float32)
        return Tracklet(
            self._camera,
            number,
            frames,
            np.array(one.times),
            np.array(one.boxes, dtype=np.float32).reshape(-1, 4),
            np.array(one.scores, dtype=np.float32),
            np.searchsorted(frames, [crop.frame for crop in one.crops]).astype(np.int64),
            embeddings.reshape(-1, self._dimension),
            np.array([crop.quality for crop in one.crops], dtype=np.float32),
        )

    def tracklet_end(self, number: int) -> Tracklet:
        """The last second of a tracklet as a tracklet of its own, without crops."""
        one = self._growing[number]
        first = bisect_left(one.times, one.times[-1] - SPAN_S)
        return Tracklet(
            self._camera,
            number,
            np.array(one.frames[first:], dtype=np.int64),
            np.array(one.times[first:]),
            np.array(one.boxes[4 * first :], dtype=np.float32).reshape(-1, 4),
            np.array(one.scores[first:], dtype=np.float32),
            np.empty(0, np.int64),
            np.empty((0, self._dimension), np.float32),
            np.empty(0, np.float32),
        )

    def take_last_seen_before(self, time: float) -> list[Tracklet]:
        """Take out the tracklets whose last box is older than `time`, by rising number."""
        ended = sorted(number for number, one in self._growing.items() if one.times[-1] < time)
        tracklets = [self.tracklet(number) for number in ended]
        for number in ended:
            del self._growing[number]
        return tracklets

    def take_all(self) -> list[Tracklet]:
        """Take out all tracklets, by rising number."""
        return self.take_last_seen_before(float("inf"))
