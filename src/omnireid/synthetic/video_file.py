"""Writing frames as an MP4 file, the same bytes for the same frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from omnireid.errors import require
from omnireid.types import ByteArray


@contextmanager
def video_file(path: Path, width: int, height: int, rate: float) -> Iterator[Callable[[ByteArray], None]]:
    """Open an MP4 file, and yield the function that appends a frame, (H, W, 3) RGB.

    The codec is H.264 where PyAV has its encoder, and MPEG-4 elsewhere. It runs on one thread, so one version of PyAV
    always gives the same bytes.

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
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1

        def append(frame: ByteArray) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

        yield append
        container.mux(stream.encode(None))
