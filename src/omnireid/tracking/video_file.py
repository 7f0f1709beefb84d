"""Writing frames as an MP4 file, the same bytes for the same frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from omnireid.errors import require
from omnireid.types import ByteArray
from omnireid.weights.description import ChannelOrder

_TICKS = 10_000
"""Timestamps a second. MPEG-4 allows 65,535 at most."""


class AppendFrame(Protocol):
    """Appends a frame, (H, W, 3) uint8, shown at a time in seconds where the file has times."""

    def __call__(self, frame: ByteArray, time: float = 0.0) -> None: ...  # noqa: D102


@contextmanager
def video_file(
    path: Path, width: int, height: int, rate: float, *, channels: ChannelOrder = "rgb", has_times: bool = False
) -> Iterator[AppendFrame]:
    """Open an MP4 file, and yield the function that appends a frame.

    Args:
        path: File to write.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        rate: Frames a second.
        channels: Order of the colours in the frames.
        has_times: Whether each frame comes with its time. Otherwise the frames follow each other by `rate`.

    The codec is H.264 where PyAV has its encoder, and MPEG-4 elsewhere. It runs on one thread, so one version of PyAV
    always gives the same bytes. A last row or column is left out where the height or width is odd, which the codecs
    cannot write.

    Raises:
        MissingDependencyError: PyAV is not installed.
        OSError: The file cannot be written.
    """
    require("av", "track", "Writing a video")
    import av

    h264 = "libx264" in av.codecs_available
    options = {"preset": "veryfast", "crf": "21", "threads": "1"} if h264 else {"qscale": "4", "threads": "1"}
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264" if h264 else "mpeg4", rate=Fraction(rate).limit_denominator(1001), options=options
        )
        stream.width, stream.height, stream.pix_fmt = width - width % 2, height - height % 2, "yuv420p"
        stream.codec_context.thread_count = 1

        if has_times:
            stream.codec_context.time_base = Fraction(1, _TICKS)

        def append(frame: ByteArray, time: float = 0.0) -> None:
            pixels = np.ascontiguousarray(frame[: stream.height, : stream.width])
            picture = av.VideoFrame.from_ndarray(pixels, format=f"{channels}24")
            if has_times:
                picture.pts, picture.time_base = round(time * _TICKS), Fraction(1, _TICKS)
            container.mux(stream.encode(picture))

        yield append
        container.mux(stream.encode(None))
