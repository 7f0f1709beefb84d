"""What PyAV reads: files and streams. This is the only file of the library that knows how PyAV decodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.errors import TrackingError, first_line, require
from omnireid.tracking.video_options import VideoOptions
from omnireid.types import ByteArray
from omnireid.weights.description import ChannelOrder

_LIVE_PROTOCOLS = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "srt")
_LEAST_STEP = 0.001
_USUAL_RATE = 25.0
_NO_PACKET = object()


@dataclass(eq=False)
class VideoCounts:
    """What happened while a video was read. It grows with the reading.

    Attributes:
        read: Frames that were met, whether or not they were given to the caller.
        broken: Frames that could not be decoded and were skipped.
        dropped: Frames of a live stream that nobody took in time.
        reconnections: How often a live stream was opened again.
        ended_because: Why a live stream ended; None for one that goes on, and for a file.
    """

    read: int = 0
    broken: int = 0
    dropped: int = 0
    reconnections: int = 0
    ended_because: str | None = None


@dataclass(frozen=True, eq=False)
class UndecodedFrame:
    """A frame whose pixels are made when they are asked for, so that a dropped frame costs little.

    Attributes:
        number: Number of the frame, counted from 0.
        time: Seconds since the first frame.
        decode: Makes the (H, W, 3) uint8 pixels; None where the picture is broken.
    """

    number: int
    time: float
    decode: Callable[[ChannelOrder], ByteArray | None]


@dataclass(frozen=True, eq=False)
class OpenContainer:
    """A file or stream that PyAV has opened.

    Attributes:
        name: Path or address.
        width: Width of a frame in pixels, turned upright.
        height: Height of a frame in pixels, turned upright.
        rate: Average frames a second, for frames without a timestamp.
        frame_count: Number of frames, where the file states it.
        is_live: Whether it is a stream without an end.
        decoded: Frames of PyAV in their order, None for one that is broken. It may be read once.
        close: Closes the file or connection.
    """

    name: str
    width: int
    height: int
    rate: float
    frame_count: int | None
    is_live: bool
    decoded: Iterator[Any] = field(repr=False)
    close: Callable[[], None] = field(repr=False)


class RisingTimes:
    """Timestamps as seconds since the first one, made to rise.

    A missing timestamp counts as one frame after the last, and one that does not rise as a millisecond after it.
    """

    def __init__(self, rate: float, offset: float = 0.0) -> None:
        self._step = 1 / rate
        self._offset = offset
        self._first: float | None = None
        self.last = -math.inf

    def following(self, stamp: float | None) -> float:
        """The time of the next frame."""
        if stamp is None:
            time = self._offset if self.last == -math.inf else self.last + self._step
        else:
            self._first = stamp if self._first is None else self._first
            time = self._offset + stamp - self._first
        self.last = time if time > self.last else self.last + _LEAST_STEP
        return self.last

    def restart(self, offset: float) -> None:
        """Begin anew at `offset` seconds, because the timestamps of a new connection begin anew."""
        self._offset, self._first = offset, None


def is_address(name: str) -> bool:
    """Whether a source is an address, not a path."""
    return "://" in name


def read_container(name: str, options: VideoOptions) -> OpenContainer:
    """Open a file or an address, and look at its first frame.

    Raises:
        TrackingError: There is no such file or no answer, no video in it, or no frame that can be decoded.
        MissingDependencyError: PyAV is not installed.
    """
    require("av", "track", "Reading a video")
    import av

    if not is_address(name) and not Path(name).is_file():
        raise TrackingError(f"No such video: {name}. Give a video file, a folder of images, or an address.")
    settings = {"rtsp_transport": "tcp"} if name.startswith("rtsp") else {}
    try:
        container = av.open(name, options=settings, timeout=options.timeout if is_address(name) else None)
    except (av.FFmpegError, OSError) as error:
        raise TrackingError(f"{name} cannot be opened as a video: {first_line(error)}.") from error
    if not container.streams.video:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        container.close()
        raise TrackingError(f"There is no video in {name}; it holds {kinds}.")
    stream = container.streams.video[0]
    is_live = is_address(name) and (container.duration is None or name.partition(":")[0] in _LIVE_PROTOCOLS)
    decoded = _decoded(container, stream, options.broken_in_a_row, name)
    try:
        beginning = _up_to_first_frame(decoded)
    except av.FFmpegError as error:
        container.close()
        raise TrackingError(f"{name} cannot be read: {first_line(error)}.") from error
    if not beginning or beginning[-1] is None:
        container.close()
        raise TrackingError(f"No frame of {name} can be decoded. Is it complete?")
    first = beginning[-1]
    height, width = (first.height, first.width) if _quarter_turns(first) % 2 == 0 else (first.width, first.height)
    rate = float(stream.average_rate or _USUAL_RATE)
    frames = chain(beginning, decoded)
    return OpenContainer(name, width, height, rate, stream.frames or None, is_live, frames, container.close)


def _up_to_first_frame(decoded: Iterator[Any]) -> list[Any]:
    """What is decoded up to and with the first frame that is not broken."""
    beginning: list[Any] = []
    for frame in decoded:
        beginning.append(frame)
        if frame is not None:
            break
    return beginning


def _decoded(container: Any, stream: Any, broken_in_a_row: int, name: str) -> Iterator[Any]:
    """Frames of PyAV in their order, and None for each that is broken.

    Raises:
        TrackingError: Too many in a row are broken.
        av.FFmpegError: The connection failed.
    """
    import av

    in_a_row = 0
    packets = container.demux(stream)
    failure: av.FFmpegError | None = None
    packet: Any = _NO_PACKET
    while packet is not None:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            failure, packet = error, None
        try:
            frames: list[Any] = stream.codec_context.decode(packet)  # None asks for the frames that still wait
        except av.EOFError:
            continue
        except av.FFmpegError:
            frames = [None]
        for frame in frames:
            is_broken = frame is None or frame.is_corrupt
            in_a_row = in_a_row + 1 if is_broken else 0
            if in_a_row > broken_in_a_row:
                raise TrackingError(
                    f"{in_a_row} frames in a row of {name} are broken. The file is damaged or the connection poor; "
                    "copy it again, or allow more with broken_in_a_row."
                )
            yield None if is_broken else frame
    if failure is not None:
        raise failure


def pictures_of(
    opened: OpenContainer, counts: VideoCounts, stated_rate: float | None = None
) -> Generator[UndecodedFrame]:
    """The frames of a file. What cannot be read to its end, ends where it breaks off.

    Args:
        opened: The file.
        counts: What happens to the frames is added here.
        stated_rate: Frames a second that count instead of the file's own timestamps.
    """
    import av

    times = RisingTimes(opened.rate)
    try:
        for frame in opened.decoded:
            if frame is None:
                counts.broken += 1
            else:
                time = times.following(frame.time) if stated_rate is None else counts.read / stated_rate
                yield undecoded(counts.read, time, frame)
            counts.read += 1
    except av.FFmpegError as error:
        counts.ended_because = f"{opened.name} breaks off: {first_line(error)}"
    finally:
        opened.close()


def undecoded(number: int, time: float, frame: Any) -> UndecodedFrame:
    """A frame of PyAV with its number and time."""

    def decode(channels: ChannelOrder) -> ByteArray:
        pixels: ByteArray = frame.to_ndarray(format="bgr24" if channels == "bgr" else "rgb24")
        turns = _quarter_turns(frame)
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    return UndecodedFrame(number, time, decode)


def _quarter_turns(frame: Any) -> int:
    """Quarter turns anticlockwise that put a frame upright."""
    turns: int = round(frame.rotation / 90) % 4
    return turns
