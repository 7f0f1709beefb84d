"""From the frames of a video to followed boxes and embedded crops, window by window, in constant memory.

A window is a short piece of time. At its end the best crop of each tracklet in it
is embedded, all of them in one batch.

Shapes: D values of an embedding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from omnireid.embedding.boxes import cut_crops, pixel_boxes
from omnireid.embedding.embedder import Embedder
from omnireid.images.decode import RgbArray
from omnireid.images.quality import MOST_COVERED, covered_shares, measure_crop, problems_of_boxes
from omnireid.tracking.detections import FrameDetections
from omnireid.tracking.mot_files import MotTable
from omnireid.tracking.motion import FollowedBoxes, follow_boxes
from omnireid.tracking.tracking_options import CropOptions, MotionOptions
from omnireid.tracking.video import Frame
from omnireid.types import ByteArray, DoubleArray, FloatArray

DetectPeople: TypeAlias = Callable[[Frame], FrameDetections]
"""Gives the boxes of the people in a frame, from a detector or from a file."""

_ROUNDING = 1e-6
"""Part of a window by which a time that begins it may be too small."""

_MOST_COUNTED = 10_000
"""Tracklets whose windows are counted. The oldest are forgotten; they have long ended."""


@dataclass(frozen=True, eq=False)
class EmbeddedCrop:
    """A crop that was embedded.

    Attributes:
        frame: Number of the frame, counted from 0.
        row: Row of its box among the frame's detections.
        embedding: (D,) its embedding, not normalised.
        quality: Its sharpness in [0, 1].
    """

    frame: int
    row: int
    embedding: FloatArray
    quality: float


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame in which people were looked for.

    Attributes:
        detections: Boxes of the people in it.
        time: Seconds since the recording's start.
        pixels: (H, W, 3) uint8 BGR; None for a frame that an earlier run has finished.
        crops: Crops that an earlier run has embedded, by row of `detections`.
    """

    detections: FrameDetections
    time: float
    pixels: ByteArray | None
    crops: Mapping[int, EmbeddedCrop] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Window:
    """What was seen in a window.

    Attributes:
        frames: Its frames, with their pixels where these are kept.
        followed: Boxes of each of these frames that belong to a tracklet.
        crops: Crops that were embedded, by number of the tracklet.
    """

    frames: tuple[SeenFrame, ...]
    followed: tuple[FollowedBoxes, ...]
    crops: Mapping[int, EmbeddedCrop]

    @property
    def end(self) -> float:
        """Seconds since the recording's start at its last frame."""
        return self.frames[-1].time


@dataclass(frozen=True, eq=False)
class _Candidate:
    """The best crop of a tracklet in the window so far."""

    worth: float
    frame: int
    row: int
    crop: RgbArray


@dataclass(eq=False)
class _OpenWindow:
    index: int
    frames: list[SeenFrame] = field(default_factory=list)
    followed: list[FollowedBoxes] = field(default_factory=list)
    candidates: dict[int, _Candidate] = field(default_factory=dict)
    crops: dict[int, EmbeddedCrop] = field(default_factory=dict)


def watch(
    frames: Iterable[SeenFrame],
    embedder: Embedder,
    frame_rate: float,
    motion: MotionOptions,
    options: CropOptions = CropOptions(),
    *,
    keeps_pixels: bool = False,
) -> Iterator[Window]:
    """Follow the people in frames, and embed good crops of them.

    Args:
        frames: The frames in the order of time. Those of an earlier run come first, with their crops.
        embedder: What embeds the crops.
        frame_rate: Usual number of frames a second.
        motion: How boxes are followed.
        options: Which crops are embedded.
        keeps_pixels: Whether a window keeps the pixels of its frames.

    Raises:
        TrackingError: Frame numbers or times do not rise.
        MissingDependencyError: ``trackers`` is not installed.
    """
    waiting: deque[SeenFrame] = deque()

    def feed() -> Iterator[tuple[FrameDetections, float]]:
        for frame in frames:
            waiting.append(frame)
            yield frame.detections, frame.time

    seen_in: dict[int, int] = {}
    window: _OpenWindow | None = None
    for followed in follow_boxes(feed(), frame_rate, motion):
        frame = waiting.popleft()
        index = int(frame.time * options.crops_per_s + _ROUNDING)
        if window is not None and index != window.index:
            yield _close(window, seen_in, embedder, options)
            window = None
        window = window or _OpenWindow(index)
        _add_crops(window, frame, followed)
        window.frames.append(frame if keeps_pixels else SeenFrame(frame.detections, frame.time, None, frame.crops))
        window.followed.append(followed)
    if window is not None:
        yield _close(window, seen_in, embedder, options)


def detected(frames: Iterable[Frame], detect: DetectPeople) -> Iterator[SeenFrame]:
    """Look for people in each frame."""
    for frame in frames:
        yield SeenFrame(detect(frame), frame.time, frame.pixels)


def detections_of_table(table: MotTable) -> DetectPeople:
    """The boxes of a file as people of each frame. A frame that the file leaves out has nobody in it."""
    found = table.detections()

    def detect(frame: Frame) -> FrameDetections:
        nobody = FrameDetections(frame.number, np.empty((0, 4), np.float32), np.empty(0, np.float32))
        return found.get(frame.number, nobody)

    return detect


def crop_worths(boxes: FloatArray, scores: FloatArray, width: int, height: int) -> DoubleArray:
    """How good the crops of a frame's boxes are: confidence times the share that no other box covers.

    Returns:
        (N,) worths in [0, 1]; 0 where a box is cut off by the frame or mostly covered.
    """
    exact = boxes.astype(np.float64)
    free: DoubleArray = 1 - covered_shares(exact)
    worths: DoubleArray = scores.astype(np.float64) * np.where(free >= 1 - MOST_COVERED, free, 0)
    worths[list(problems_of_boxes(exact, np.full(len(exact), width), np.full(len(exact), height)))] = 0
    return worths


def _add_crops(window: _OpenWindow, frame: SeenFrame, followed: FollowedBoxes) -> None:
    """Put the crops of a frame into the window where they are better than what is there."""
    for number, row in zip(followed.numbers.tolist(), followed.rows.tolist(), strict=True):
        if row in frame.crops:
            window.crops[number] = frame.crops[row]
    if frame.pixels is None or not len(followed):
        return
    height, width, _ = frame.pixels.shape
    worths = crop_worths(followed.boxes, followed.scores, width, height)
    whole = pixel_boxes(followed.boxes.astype(np.float64), height, width)
    for place, number in enumerate(followed.numbers.tolist()):
        best = window.candidates.get(number)
        if worths[place] > (0 if best is None else best.worth):
            crop = cut_crops(frame.pixels, whole[place : place + 1], "bgr")[0]
            window.candidates[number] = _Candidate(
                float(worths[place]), followed.frame, int(followed.rows[place]), crop
            )


def _close(window: _OpenWindow, seen_in: dict[int, int], embedder: Embedder, options: CropOptions) -> Window:
    """Embed what is worth it. `seen_in` counts the windows of each tracklet, and goes on counting."""
    chosen: dict[int, tuple[_Candidate, float]] = {}
    for number in sorted({number for followed in window.followed for number in followed.numbers.tolist()}):
        before = seen_in.pop(number, 0)
        seen_in[number] = before + 1
        candidate = window.candidates.get(number)
        if candidate is not None and before % options.stride(before) == 0:
            quality = measure_crop(candidate.crop)
            if quality.problem is None:
                chosen[number] = candidate, quality.sharpness
    for number in list(seen_in)[: len(seen_in) - _MOST_COUNTED]:
        del seen_in[number]
    embeddings = embedder.embed([candidate.crop for candidate, _ in chosen.values()])
    crops = dict(window.crops)
    for (number, (candidate, sharpness)), embedding in zip(chosen.items(), embeddings, strict=True):
        crops[number] = EmbeddedCrop(candidate.frame, candidate.row, embedding, sharpness)
    return Window(tuple(window.frames), tuple(window.followed), crops)
