"""What a motion tracker followed without a gap.

Shapes: N boxes of a tracklet, K of them embedded, D values of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnireid.errors import TrackingError
from omnireid.tracking.detections import check_boxes
from omnireid.types import DoubleArray, FloatArray, IntArray


@dataclass(frozen=True)
class Tracklet:
    """One person's boxes in one camera, in the order of time, as a motion tracker found them.

    Attributes:
        camera: Name of the camera.
        number: The motion tracker's number; no two tracklets of a camera have the same.
        frames: (N,) numbers of the frames, rising, counted from 0.
        times: (N,) seconds since the recording's start, rising.
        boxes: (N, 4) left, top, right, bottom in pixels of the frame; right and bottom are excluded.
        scores: (N,) confidence of each box, in [0, 1].
        embedded: (K,) rows of `boxes` whose crops were embedded, rising; empty where none was good enough.
        embeddings: (K, D) embeddings of these crops, not normalised.
        qualities: (K,) quality of these crops, in [0, 1].

    Raises:
        TrackingError: There is no box, the lengths differ, frames or times do not rise, a box has no area, or an
            embedding is not finite.
    """

    camera: str
    number: int
    frames: IntArray
    times: DoubleArray
    boxes: FloatArray
    scores: FloatArray
    embedded: IntArray
    embeddings: FloatArray
    qualities: FloatArray

    def __post_init__(self) -> None:
        where = f"tracklet {self.number} of camera {self.camera}"
        count, embedded = len(self.frames), len(self.embedded)
        if count == 0:
            raise TrackingError(f"There is no box in {where}.")
        if self.boxes.shape != (count, 4) or len(self.times) != count or len(self.scores) != count:
            raise TrackingError(
                f"In {where}, frames, times, boxes and scores differ in length: {count}, {len(self.times)}, "
                f"{len(self.boxes)} and {len(self.scores)}."
            )
        if self.embeddings.ndim != 2 or len(self.embeddings) != embedded or len(self.qualities) != embedded:
            raise TrackingError(
                f"In {where}, {embedded} crops were embedded, but there are embeddings of shape "
                f"{self.embeddings.shape} and {len(self.qualities)} qualities."
            )
        if (np.diff(self.frames) <= 0).any() or (np.diff(self.times) <= 0).any():
            raise TrackingError(f"Frames and times must rise in {where}.")
        if embedded and (self.embedded[0] < 0 or self.embedded[-1] >= count or (np.diff(self.embedded) <= 0).any()):
            raise TrackingError(f"The rows of embedded crops must rise and lie below {count} in {where}.")
        if not np.isfinite(self.embeddings).all():
            raise TrackingError(f"An embedding is not finite in {where}. Embed its crops again.")
        check_boxes(self.boxes, where)

    @property
    def start(self) -> float:
        """Seconds since the recording's start at the first box."""
        return float(self.times[0])

    @property
    def end(self) -> float:
        """Seconds since the recording's start at the last box."""
        return float(self.times[-1])
