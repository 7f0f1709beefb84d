"""Detections that come with a video: Parquet tables and text files of them, and what `supervision` calls detections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from omnireid.errors import DataNotFoundError, TrackingError, first_line, list_briefly
from omnireid.parquet import read_parquet
from omnireid.tracking.detections import FrameDetections, check_boxes
from omnireid.tracking.mot_files import (
    NO_IDENTITY,
    PERSON_CLASS,
    MotTable,
    check_image_size,
    read_detections,
    scale_confidences,
)
from omnireid.types import DoubleArray, IntArray

if TYPE_CHECKING:
    import pyarrow as pa

BOX_COLUMN = "box_xyxy"
EDGES = ("left", "top", "right", "bottom")
_LEAST_FLOAT_FRAME = 2**53


class SupervisionDetections(Protocol):
    """What is read of a `supervision.Detections`."""

    @property
    def xyxy(self) -> Any:
        """(N, 4) left, top, right, bottom in pixels."""

    @property
    def confidence(self) -> Any:
        """(N,) confidences in [0, 1], or None."""

    @property
    def class_id(self) -> Any:
        """(N,) classes, or None."""


def read_detections_of_video(path: Path) -> MotTable:
    """Read detections from a Parquet table (``.parquet``), or else from MOTChallenge's text.

    Raises:
        DataNotFoundError: There is no such file.
        TrackingError: The file cannot be read, or a box cannot be one.
    """
    return read_detection_table(path) if path.suffix.lower() == ".parquet" else read_detections(path)


def read_detection_table(path: Path) -> MotTable:
    """Read detections from a Parquet table.

    It has a column ``frame``, counted from 0, and the box either as ``box_xyxy`` (a list of four numbers) or as
    ``left``, ``top``, ``right`` and ``bottom``, in pixels. ``score`` is the confidence; without it, every box counts as
    certain. Rows that are not in the order of frames are sorted, and `MotTable.notes` says so.

    Raises:
        DataNotFoundError: There is no such file.
        TrackingError: It is no Parquet file, lacks a column, or a row holds no box; the message has its number.
    """
    import pyarrow as pa

    if not path.is_file():
        raise DataNotFoundError(f"There is no file {path}.")
    try:
        table = read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TrackingError(f"{path} cannot be read as Parquet: {first_line(error)}.") from error
    frames = _frames_of(table, path)
    boxes = _boxes_of(table, path)
    check_boxes(boxes.astype(np.float32), str(path))
    scores = _numbers(table, "score", path) if "score" in table.column_names else np.ones(len(frames))
    notes = [] if (np.diff(frames) >= 0).all() else [f"{path}: The rows were not in the order of frames."]
    if (note := scale_confidences(scores)[1]) is not None:
        notes.append(f"{path}: {note}")
    count = len(frames)
    classes, nobody = np.full(count, PERSON_CLASS, np.int64), np.full(count, NO_IDENTITY, np.int64)
    read = MotTable(frames, nobody, boxes, scores, classes, np.ones(count), tuple(notes))
    return read.select(np.argsort(frames, kind="stable"))


def detections_of_supervision(
    detections: SupervisionDetections, frame: int, *, person_class: int | None = None
) -> FrameDetections:
    """Take over the detections of a frame from `supervision.Detections`.

    Args:
        detections: Boxes with their confidences; without confidences, every box counts as certain.
        frame: Number of the frame, counted from 0.
        person_class: Class to keep, such as 0 in COCO. Without it, every box is kept.

    Raises:
        TrackingError: A box has no area or is not finite, or there are no classes to choose by.
    """
    boxes = np.asarray(detections.xyxy, dtype=np.float32).reshape(-1, 4)
    given = detections.confidence
    scores = np.ones(len(boxes), np.float32) if given is None else np.asarray(given, dtype=np.float32)
    if person_class is None or not len(boxes):
        return FrameDetections(frame, boxes, scores)
    if detections.class_id is None:
        raise TrackingError(f"The detections of frame {frame} have no class_id to choose {person_class} by.")
    kept = np.asarray(detections.class_id) == person_class
    return FrameDetections(frame, boxes[kept], scores[kept])


def check_belongs_to_video(
    table: MotTable, path: Path, *, width: int, height: int, frame_count: int | None = None
) -> None:
    """Check that detections can be those of a video.

    Args:
        table: Detections of a file.
        path: The file, for the message.
        width: Width of the video in pixels.
        height: Height of the video in pixels.
        frame_count: Number of the video's frames, where it is known.

    Raises:
        TrackingError: The boxes lie outside the frame, or belong to frames that the video does not have.
    """
    check_image_size(table, width, height, path)
    beyond = np.unique(table.frames[table.frames >= frame_count]) if frame_count is not None else table.frames[:0]
    if len(beyond):
        raise TrackingError(
            f"{path} has detections in frames that the video does not have: {list_briefly(beyond.tolist())}, counted "
            f"from 0; the video has {frame_count:,} frames. Give the video that the detections were made on."
        )


def _frames_of(table: pa.Table, path: Path) -> IntArray:
    numbers = _numbers(table, "frame", path)
    wrong = np.flatnonzero((numbers < 0) | (numbers != np.floor(numbers)) | (numbers >= _LEAST_FLOAT_FRAME))
    if len(wrong):
        raise TrackingError(
            f"Row {wrong[0]} of {path}: a frame is a whole number, counted from 0; found {numbers[wrong[0]]:g}."
        )
    frames: IntArray = numbers.astype(np.int64)
    return frames


def _boxes_of(table: pa.Table, path: Path) -> DoubleArray:
    """(N, 4) left, top, right, bottom."""
    if BOX_COLUMN not in table.column_names:
        return np.stack([_numbers(table, edge, path) for edge in EDGES], axis=1)
    rows = table.column(BOX_COLUMN).to_pylist()
    for row, box in enumerate(rows):
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, (int, float)) for edge in box):
            raise TrackingError(f"Row {row} of {path}: {BOX_COLUMN} must be four numbers; found {box!r}.")
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _numbers(table: pa.Table, name: str, path: Path) -> DoubleArray:
    """A column of finite numbers."""
    if name not in table.column_names:
        raise TrackingError(
            f"{path} has no column {name!r}; it has {', '.join(table.column_names)}. A table of detections has frame, "
            f"and {BOX_COLUMN} or {', '.join(EDGES)}."
        )
    try:
        numbers: DoubleArray = np.array(table.column(name).to_pylist(), dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError) as error:
        raise TrackingError(f"The column {name!r} of {path} does not hold numbers ({first_line(error)}).") from error
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise TrackingError(f"Row {wrong[0]} of {path}: {name} must be a finite number; found {numbers[wrong[0]]}.")
    return numbers
