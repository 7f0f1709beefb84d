"""Small videos whose frames can be told apart: frame n is grey, with a level of 40 + 10 n, and its top left is red."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from omnireid.types import ByteArray

WIDTH, HEIGHT = 64, 48


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> ByteArray:
    """Frame `number`, RGB."""
    pixels = np.full((height, width, 3), 40 + 10 * number, dtype=np.uint8)
    pixels[: height // 2, : width // 2] = (250, 10, 10)
    return pixels


def number_of(pixels: ByteArray) -> int:
    """The number of a frame by its level, wherever its red part is."""
    return round((float(np.median(pixels[..., 1][pixels[..., 1] > 30])) - 40) / 10)


def write_video(
    path: Path,
    times: Sequence[float],
    *,
    codec: str = "mjpeg",
    rotation: int = 0,
    broken: Sequence[int] = (),
    first: int = 0,
    ticks: int = 1000,
) -> Path:
    """Write a video with one frame for each of `times`, in seconds, some of which are replaced by garbage.

    `ticks` is the number of timestamps a second."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10 if ticks == 1000 else ticks)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, ticks)
        stream.codec_context.gop_size = 1
        if rotation:
            stream.set_display_rotation(rotation)
        packets = []
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(first + number), format="rgb24")
            frame.pts, frame.time_base = round(time * ticks), Fraction(1, ticks)
            packets += stream.encode(frame)
        packets += stream.encode()
        for number, packet in enumerate(packets):
            if number in broken:
                garbage = av.Packet(b"\x00garbage\x00" * 20)
                garbage.pts, garbage.dts, garbage.time_base = packet.pts, packet.dts, packet.time_base
                garbage.stream = stream
                container.mux(garbage)
            else:
                container.mux(packet)
    return path


def write_sound(path: Path) -> Path:
    """A file with sound and no video."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
