"""How a video is read. No heavy imports."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnireid.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a video is read.

    Attributes:
        frame_rate: Frames a second of a folder of images, which has no timestamps of its own, or of a file whose
            timestamps are wrong. Without it, `frameRate` in a `seqinfo.ini` beside the folder or file is taken; a file
            without one has its own timestamps.
        broken_in_a_row: Most broken frames that may follow each other. Broken frames are skipped and counted.
        waiting_frames: Frames of a live stream that may wait. When another arrives, the oldest is dropped and counted.
        reconnects: Most attempts in a row to open a live stream again after it ended. An attempt that gives a frame
            starts the count anew.
        reconnect_wait: Seconds before the first attempt to open a stream again. Each further attempt waits twice as
            long, and at most 30 seconds.
        timeout: Seconds to wait for a stream to open, or for its next packet.

    Raises:
        SettingError: A value is out of range.
    """

    frame_rate: float | None = None
    broken_in_a_row: int = 100
    waiting_frames: int = 1
    reconnects: int = 5
    reconnect_wait: float = 1.0
    timeout: float = 10.0

    def __post_init__(self) -> None:
        for name, least in (("broken_in_a_row", 0), ("waiting_frames", 1), ("reconnects", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingError(f"{name} must be a whole number, at least {least}; got {value!r}.")
        for name in ("reconnect_wait", "timeout", "frame_rate"):
            value = getattr(self, name)
            if value is None and name == "frame_rate":
                continue
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
                raise SettingError(f"{name} must be a finite number above 0; got {value!r}.")
