"""A folder of images as a video, as MOTChallenge's sequences are."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from omnireid.errors import ImageError, TrackingError, first_line
from omnireid.images.decode import IMAGE_SUFFIXES, read_image
from omnireid.tracking.mot_files import read_sequence_info
from omnireid.tracking.video_container import UndecodedFrame, VideoCounts
from omnireid.tracking.video_options import VideoOptions
from omnireid.types import ByteArray
from omnireid.weights.description import ChannelOrder


@dataclass(frozen=True)
class FrameFolder:
    """Images in the order of the numbers in their names.

    Attributes:
        paths: The images; the first is frame 0, whatever its name.
        rate: Frames a second.
        width: Width of the first readable image in pixels.
        height: Height of the first readable image in pixels.
    """

    paths: tuple[Path, ...]
    rate: float
    width: int
    height: int

    @classmethod
    def open(cls, folder: Path, options: VideoOptions) -> FrameFolder:
        """List a folder, and look at its first readable image.

        Raises:
            TrackingError: There is no image in it, none can be read, or the frame rate is not known.
        """
        paths = tuple(sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=_order))
        if not paths:
            raise TrackingError(f"There is no image in {folder}. A folder of frames has one image for each frame.")
        rate = options.frame_rate or stated_rate(folder)
        if rate is None:
            raise TrackingError(
                f"The frame rate of the images in {folder} is not known. Give frame_rate, or put a seqinfo.ini with "
                "frameRate beside the folder."
            )
        reason = ""
        for path in paths[: options.broken_in_a_row + 1]:
            try:
                height, width, _ = read_image(path).shape
            except ImageError as error:
                reason = reason or first_line(error)
                continue
            return cls(paths, rate, width, height)
        raise TrackingError(f"No image of {folder} can be read: {reason}")

    def pictures(self, counts: VideoCounts, options: VideoOptions) -> Generator[UndecodedFrame]:
        """The images in their order. A broken one is counted when its pixels are asked for."""
        in_a_row = 0

        def decode(path: Path, channels: ChannelOrder) -> ByteArray | None:
            nonlocal in_a_row
            try:
                pixels = read_image(path)
            except ImageError as error:
                counts.broken += 1
                in_a_row += 1
                if in_a_row > options.broken_in_a_row:
                    raise TrackingError(f"{in_a_row} frames in a row are broken: {first_line(error)}") from error
                return None
            in_a_row = 0
            return pixels if channels == "rgb" else np.ascontiguousarray(pixels[..., ::-1])

        for number, path in enumerate(self.paths):
            counts.read += 1
            yield UndecodedFrame(number, number / self.rate, partial(decode, path))


def _order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort by the numbers in a name, so that 10.jpg follows 9.jpg."""
    parts = re.split(r"(\d+)", path.stem)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.suffix


def stated_rate(path: Path) -> float | None:
    """The frame rate in `seqinfo.ini`, in a folder or beside it, or beside a file; None where there is none."""
    for place in (path, path.resolve().parent):
        if (place / "seqinfo.ini").is_file():
            rate = read_sequence_info(place / "seqinfo.ini").frame_rate
            if rate is not None:
                return rate
    return None
