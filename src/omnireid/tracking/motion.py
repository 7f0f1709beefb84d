"""Boxes followed from frame to frame by their motion, which the package ``trackers`` does.

No other file of omnireid knows that package. Its trackers compare boxes, never
pixels, so the result depends on the boxes and times alone.

Shapes: N boxes of one frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.errors import SettingError, TrackingError, require
from omnireid.tracking.detections import FrameDetections
from omnireid.tracking.tracking_options import MotionOptions
from omnireid.types import FloatArray, IntArray

if TYPE_CHECKING:
    from trackers import BoTSORTTracker, ByteTrackTracker, OCSORTTracker

_BUFFER_RATE = 30.0
"""``trackers`` states how long a lost person is kept in frames of this many a second, whatever the frame rate is."""


@dataclass(frozen=True)
class FollowedBoxes:
    """The boxes of one frame that belong to a tracklet.

    Attributes:
        frame: Number of the frame, counted from 0.
        time: Seconds since the recording's start.
        rows: (N,) rows of the frame's detections, rising. A detection whose row is missing belongs to no tracklet: its
            score is too low, or the motion tracker has not seen enough of it yet.
        numbers: (N,) number of each box's tracklet, counted from 0; no number occurs twice.
        boxes: (N, 4) left, top, right, bottom in pixels, exactly as detected.
        scores: (N,) confidence of each box, in [0, 1].
    """

    frame: int
    time: float
    rows: IntArray
    numbers: IntArray
    boxes: FloatArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.rows)


def follow_boxes(
    frames: Iterable[tuple[FrameDetections, float]], frame_rate: float, options: MotionOptions = MotionOptions()
) -> Iterator[FollowedBoxes]:
    """Follow boxes from frame to frame.

    One result a frame, as soon as the frame is there. Memory does not grow with the length of the recording.

    Args:
        frames: The boxes of each frame, and the frame's time in seconds since the recording's start, in the order of
            time. A frame without boxes has to be there too: otherwise those who were lost are kept too long.
        frame_rate: Usual number of frames a second. Times say how far apart frames really are.
        options: How boxes are followed.

    Raises:
        SettingError: The frame rate is not a positive number.
        TrackingError: Frame numbers or times do not rise.
        MissingDependencyError: ``trackers`` is not installed.
    """
    if not (math.isfinite(frame_rate) and frame_rate > 0):
        raise SettingError(f"frame_rate must be a positive number of frames a second; got {frame_rate!r}.")
    tracker = _make_tracker(frame_rate, options)
    before: tuple[int, float] | None = None
    for detections, time in frames:
        _check_order(before, (detections.frame, time))
        before = (detections.frame, time)
        yield _follow_frame(tracker, detections, time)


def _make_tracker(frame_rate: float, options: MotionOptions) -> BoTSORTTracker | ByteTrackTracker | OCSORTTracker:
    """A new tracker of the library, with the library's own settings but for the time that a lost person is kept."""
    require("trackers", extra="track", purpose="Following boxes")
    import trackers

    buffer: Any = options.lost_s * _BUFFER_RATE  # a fraction of a frame is fine where times are given
    if options.tracker == "bytetrack":
        return trackers.ByteTrackTracker(lost_track_buffer=buffer, frame_rate=frame_rate)
    if options.tracker == "ocsort":
        return trackers.OCSORTTracker(lost_track_buffer=buffer, frame_rate=frame_rate)
    return trackers.BoTSORTTracker(lost_track_buffer=buffer, frame_rate=frame_rate, enable_cmc=False)


def _check_order(before: tuple[int, float] | None, now: tuple[int, float]) -> None:
    if not math.isfinite(now[1]):
        raise TrackingError(f"The time of frame {now[0]} is not finite: {now[1]}.")
    if before is not None and (now[0] <= before[0] or now[1] <= before[1]):
        raise TrackingError(
            f"Frames must come in the order of time, each once; frame {now[0]} at {now[1]:g} s came after frame "
            f"{before[0]} at {before[1]:g} s."
        )


def _follow_frame(
    tracker: BoTSORTTracker | ByteTrackTracker | OCSORTTracker, detections: FrameDetections, time: float
) -> FollowedBoxes:
    import supervision

    given = supervision.Detections(
        xyxy=detections.boxes.copy(), confidence=detections.scores.copy(), data={"row": np.arange(len(detections))}
    )
    followed = tracker.update(given, timestamp=time)
    numbers = np.asarray(followed.tracker_id, dtype=np.int64).reshape(-1)
    rows = np.asarray(followed.data.get("row", ()), dtype=np.int64)[numbers >= 0]
    numbers = numbers[numbers >= 0]
    order = np.argsort(rows)
    rows = rows[order]
    return FollowedBoxes(detections.frame, time, rows, numbers[order], detections.boxes[rows], detections.scores[rows])
