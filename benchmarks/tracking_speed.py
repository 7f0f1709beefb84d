"""Claim: embedding adds less than a quarter of real time to motion tracking, at 25 frames a second and 8 boxes a frame.

Frames of 640 × 360 with 1, 8 and 32 people who walk in straight lines are tracked, from frames in memory to people:
once by motion alone, and once with crops embedded and tracklets linked, as `omnireid track` does with detections from a
file. Both alternate in the same run, and the medians over the rounds are printed. Decoding a video of this size is
measured beside them, and the detector, if one is given.

Run: python benchmarks/tracking_speed.py [ROUNDS] [SECONDS] [yolox.onnx]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from omnireid import Embedder, load_embedder
from omnireid.machine import describe
from omnireid.tracking.assembly import TrackletAssembly
from omnireid.tracking.detections import FrameDetections
from omnireid.tracking.detector import load_detector
from omnireid.tracking.linking import link_recording
from omnireid.tracking.motion import follow_boxes
from omnireid.tracking.tracking_options import TrackingOptions
from omnireid.tracking.video import open_video
from omnireid.tracking.video_file import video_file
from omnireid.tracking.windows import SeenFrame, watch
from omnireid.types import ByteArray

HEIGHT, WIDTH, RATE = 360, 640, 25.0
COUNTS = (1, 8, 32)
SHARE = 0.25
OPTIONS = TrackingOptions()


def draw(count: int, frames: int) -> list[SeenFrame]:
    """Frames of smooth noise, and boxes of people who cross them."""
    rng = np.random.default_rng(count)
    small = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    pixels: ByteArray = np.array(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
    heights = rng.uniform(60, 140, count)
    lefts, tops = rng.uniform(0, WIDTH - 60, count), rng.uniform(2, HEIGHT - 142, count)
    speeds = rng.uniform(-1.5, 1.5, count)
    seen = []
    for frame in range(frames):
        x = (lefts + speeds * frame) % (WIDTH - 60) + 2
        boxes = np.stack([x, tops, x + heights * 0.4, tops + heights], axis=1).astype(np.float32)
        found = FrameDetections(frame, boxes, np.full(count, 0.9, np.float32))
        seen.append(SeenFrame(found, frame / RATE, pixels))
    return seen


def by_motion(frames: list[SeenFrame]) -> None:
    pairs: Iterator[tuple[FrameDetections, float]] = ((frame.detections, frame.time) for frame in frames)
    for _ in follow_boxes(pairs, RATE, OPTIONS.motion):
        pass


def with_people(frames: list[SeenFrame], embedder: Embedder) -> None:
    assembly = TrackletAssembly("drawn", embedder.metadata.embedding_dimension, OPTIONS.crops.most_crops)
    for window in watch(frames, embedder, RATE, OPTIONS.motion, OPTIONS.crops):
        assembly.add(window)
    link_recording(assembly.take_all())


def milliseconds_a_frame(seconds: float, frames: int) -> float:
    return 1000 * seconds / frames


def measure(rounds: int, frames: list[SeenFrame], embedder: Embedder) -> tuple[float, float]:
    """Milliseconds a frame by motion alone, and with embedding and linking."""
    times = []
    by_motion(frames[:5])  # what it imports is not measured
    for _ in range(rounds):
        begin = time.perf_counter()
        by_motion(frames)
        middle = time.perf_counter()
        with_people(frames, embedder)
        times.append((middle - begin, time.perf_counter() - middle))
    motion, whole = (statistics.median(values) for values in zip(*times, strict=True))
    return milliseconds_a_frame(motion, len(frames)), milliseconds_a_frame(whole, len(frames))


def measure_decoding(frames: int) -> float:
    """Milliseconds a frame for decoding the same pixels from an MP4 file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.mp4"
        with video_file(path, WIDTH, HEIGHT, RATE) as append:
            for frame in draw(1, frames):
                assert frame.pixels is not None
                append(frame.pixels)
        begin = time.perf_counter()
        with open_video(path) as video:
            count = sum(1 for _ in video.frames())
    return milliseconds_a_frame(time.perf_counter() - begin, count)


def measure_detector(path: str, rounds: int) -> float:
    """Milliseconds a frame for the detector."""
    detector = load_detector(path)
    (frame,) = draw(8, 1)
    assert frame.pixels is not None
    times = []
    for number in range(rounds + 1):
        begin = time.perf_counter()
        detector.detect(frame.pixels, number)
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times[1:])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    length = round(RATE * (float(sys.argv[2]) if len(sys.argv) > 2 else 20))
    embedder = load_embedder()
    print(embedder.choice)
    decoding = measure_decoding(length)
    print(f"decoding: {decoding:.2f} ms a frame")
    if len(sys.argv) > 3:
        print(f"detector: {measure_detector(sys.argv[3], rounds):.1f} ms a frame")
    print(
        f"{'boxes':>5}{'motion, ms':>12}{'people, ms':>12}{'added, ms':>11}{'added, of real time':>21}"
        f"{'frames/s with decoding':>24}"
    )
    for count in COUNTS:
        motion, whole = measure(rounds, draw(count, length), embedder)
        share = (whole - motion) * RATE / 1000
        target = f"  target {SHARE:.0%}: {'met' if share < SHARE else 'missed'}" if count == 8 else ""
        rate = 1000 / (whole + decoding)
        print(f"{count:>5}{motion:>12.2f}{whole:>12.2f}{whole - motion:>11.2f}{share:>21.1%}{rate:>24.0f}{target}")
    print(describe().text())


if __name__ == "__main__":
    main()
