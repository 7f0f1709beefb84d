"""The frames of a video file, a folder of images or a live stream, one after the other, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from inspect import GEN_CREATED, getgeneratorstate
from pathlib import Path
from types import TracebackType
from typing import Self

from omnireid.errors import TrackingError
from omnireid.tracking.frame_folder import FrameFolder, stated_rate
from omnireid.tracking.live_stream import newest_frames
from omnireid.tracking.video_container import UndecodedFrame, VideoCounts, is_address, pictures_of, read_container
from omnireid.tracking.video_options import VideoOptions
from omnireid.types import ByteArray, check_whole_number
from omnireid.weights.description import ChannelOrder


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        number: Number of the frame, counted from 0. Broken and dropped frames have a number too, so the numbers of the
            frames that are given may have gaps.
        time: Seconds since the first frame, by the video's own timestamps. It rises from frame to frame.
        pixels: (H, W, 3) uint8, turned upright as the video's rotation flag says.
    """

    number: int
    time: float
    pixels: ByteArray


@dataclass(eq=False)
class Video:
    """A video that is being read. Made by `open_video`; it may be read once.

    Attributes:
        name: Path or address.
        width: Width of a frame in pixels, after turning it upright.
        height: Height of a frame in pixels, after turning it upright.
        rate: Usual number of frames a second.
        is_live: Whether frames are lost when they are not taken in time.
        frame_count: Number of frames, where the file states it.
        channels: Order of the colours in `Frame.pixels`.
        counts: What has happened so far: frames read, broken, dropped, and reconnections.
    """

    name: str
    width: int
    height: int
    rate: float
    is_live: bool
    frame_count: int | None
    channels: ChannelOrder
    counts: VideoCounts
    _pictures: Generator[UndecodedFrame] = field(repr=False)
    _release: Callable[[], None] = field(repr=False)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from number `start` on.

        A file or folder gives every frame that can be decoded. A live stream gives the newest frames: while the caller
        is busy, at most `VideoOptions.waiting_frames` wait, and older ones are dropped and counted. It ends when the
        stream cannot be opened again, and `counts.ended_because` says why.

        Raises:
            TrackingError: A frame has another size than the first, or too many in a row are broken.
        """
        check_whole_number(start, "start", least=0)
        for picture in self._pictures:
            if picture.number < start:
                continue
            pixels = picture.decode(self.channels)
            if pixels is None:
                continue
            height, width, _ = pixels.shape
            if (width, height) != (self.width, self.height):
                raise TrackingError(
                    f"Frame {picture.number} of {self.name} has {width} × {height} pixels, but the video began with "
                    f"{self.width} × {self.height}. Cut it into parts of one size."
                )
            yield Frame(picture.number, picture.time, pixels)

    def close(self) -> None:
        """Stop reading, and let go of the file or connection. Frames that wait are dropped."""
        if getgeneratorstate(self._pictures) == GEN_CREATED:  # a reading that never began cannot let go by itself
            self._release()
        self._pictures.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_video(
    source: str | os.PathLike[str], options: VideoOptions = VideoOptions(), *, channels: ChannelOrder = "bgr"
) -> Video:
    """Open a video.

    Args:
        source: A video file, a folder of images, or an address such as ``rtsp://camera/stream``. An address whose
            length is not known is live.
        options: How it is read.
        channels: Order of the colours in the frames.

    Raises:
        TrackingError: There is no such file or no answer, or no video in it.
        MissingDependencyError: PyAV is not installed, and the source is no folder.
    """
    name = os.fspath(source)
    counts = VideoCounts()
    if not is_address(name) and Path(name).is_dir():
        folder = FrameFolder.open(Path(name), options)
        images = folder.pictures(counts, options)
        size = (folder.width, folder.height)
        return Video(name, *size, folder.rate, False, len(folder.paths), channels, counts, images, lambda: None)
    opened = read_container(name, options)
    stated = None if is_address(name) else options.frame_rate or stated_rate(Path(name))
    pictures = newest_frames(opened, options, counts) if opened.is_live else pictures_of(opened, counts, stated)
    size, known = (opened.width, opened.height), opened.frame_count
    return Video(name, *size, stated or opened.rate, opened.is_live, known, channels, counts, pictures, opened.close)
