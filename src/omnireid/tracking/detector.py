"""A detector of the YOLOX family, run in ONNX Runtime: from a frame to the boxes of the people in it.

Shapes: H and W are the network's input size, A the number of its cells over all strides, C the number of classes.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from omnireid.embedding.boxes import check_frame
from omnireid.embedding.network import check_threads
from omnireid.errors import CheckpointError, CoverageError, SettingError, WeightsNotFoundError, first_line
from omnireid.tracking.detections import FrameDetections, box_overlaps
from omnireid.tracking.detector_options import DetectorOptions
from omnireid.types import ByteArray, DoubleArray, FloatArray, IntArray
from omnireid.weights.description import ChannelOrder
from omnireid.weights.graph_file import check_texts

STRIDES = (8, 16, 32)
PADDING = 114
"""Grey level around a picture whose proportions are not those of the input, as in YOLOX's training."""

_MOST_RAW_OFFSET = 40.0
"""Undecoded centres lie within a few cells of their own. A graph that decodes gives pixels, in the hundreds."""


@dataclass(frozen=True, eq=False)
class Detector:
    """A detector that is ready to run. Made by `load_detector`.

    Attributes:
        path: File of the graph.
        height: Input height H in pixels.
        width: Input width W in pixels.
        classes: Number of classes C.
        options: Which boxes are kept.
        run: Runs the graph: (1, 3, H, W) float32 to (A, 5 + C) float32.
    """

    path: Path
    height: int
    width: int
    classes: int
    options: DetectorOptions
    run: Callable[[FloatArray], FloatArray] = field(repr=False)

    def detect(self, pixels: ByteArray, frame: int, channels: ChannelOrder = "bgr") -> FrameDetections:
        """Find the people in a frame.

        Args:
            pixels: (height, width, 3) uint8, of any size.
            frame: Number of the frame, counted from 0.
            channels: Order of the frame's colours.

        Returns:
            Boxes in pixels of the frame, by falling confidence. They may reach beyond the frame. Boxes that are
            narrower or lower than a pixel are left out.

        Raises:
            ShapeError: The frame is no (height, width, 3) uint8 array.
        """
        letterboxed, ratio = letterbox(check_frame(pixels), self.height, self.width)
        bgr = letterboxed if channels == "bgr" else letterboxed[..., ::-1]
        raw = self.run(np.ascontiguousarray(bgr.transpose(2, 0, 1)[np.newaxis], dtype=np.float32))
        scores = raw[:, 4] * raw[:, 5 + self.options.person_class]
        likely = np.flatnonzero(scores >= self.options.least_score)
        boxes = decode_boxes(raw[likely], cells(self.height, self.width)[likely]) / ratio
        has_pixel = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        boxes, likely = boxes[has_pixel], likely[has_pixel]
        kept = suppress_overlaps(boxes, scores[likely], self.options.most_overlap)
        return FrameDetections(frame, boxes[kept].astype(np.float32), np.minimum(scores[likely][kept], 1))


def load_detector(path: str | os.PathLike[str], options: DetectorOptions = DetectorOptions()) -> Detector:
    """Open a detector of the YOLOX family, exported to ONNX without its decoding.

    Raises:
        WeightsNotFoundError: There is no such file.
        CheckpointError: ONNX Runtime cannot read it.
        CoverageError: It is a graph, but not of the YOLOX family; the message says what was found.
        SettingError: It has no class of that number, or there are more threads than cores.
    """
    import onnxruntime

    file = Path(path)
    if not file.is_file():
        raise WeightsNotFoundError(f"There is no detector {file}. Give an ONNX file of the YOLOX family.")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = check_threads(options.threads), 1
    settings.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        check_texts(session)
    except Exception as error:
        raise CheckpointError(f"{file} cannot be read as an ONNX graph: {first_line(error)}.") from error
    height, width = _input_size(session, file)
    name = session.get_inputs()[0].name

    def run(pixels: FloatArray) -> FloatArray:
        output: FloatArray = session.run(None, {name: pixels})[0][0]
        return output

    classes = _checked_classes(session, run, (height, width), file)
    if options.person_class >= classes:
        raise SettingError(f"{file} has {classes} classes, counted from 0, and so no class {options.person_class}.")
    return Detector(file, height, width, classes, options, run)


def letterbox(pixels: ByteArray, height: int, width: int) -> tuple[ByteArray, float]:
    """Fit a frame into (height, width, 3) with its proportions kept, at the top left of a grey picture.

    Returns:
        The picture, and the factor by which the frame was resized.
    """
    ratio = min(height / pixels.shape[0], width / pixels.shape[1])
    size = (max(1, int(pixels.shape[1] * ratio)), max(1, int(pixels.shape[0] * ratio)))
    resized = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    picture = np.full((height, width, 3), PADDING, dtype=np.uint8)
    picture[: size[1], : size[0]] = resized
    return picture, ratio


def cells(height: int, width: int) -> IntArray:
    """(A, 3) column, row and stride of each cell, in the order of the network's output."""
    parts = []
    for stride in STRIDES:
        rows, columns = np.indices((height // stride, width // stride))
        parts.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1))
    return np.concatenate(parts)


def decode_boxes(raw: FloatArray, at: IntArray) -> DoubleArray:
    """Turn outputs of cells into boxes: centres relative to the cell, sizes as logarithms, both in strides.

    Args:
        raw: (N, 4 or more) output of N cells.
        at: (N, 3) these cells, as `cells` gives them.

    Returns:
        (N, 4) left, top, right, bottom in pixels of the network's input.
    """
    values = raw[:, :4].astype(np.float64)
    centres = (values[:, :2] + at[:, :2]) * at[:, 2:]
    halves = np.exp(np.minimum(values[:, 2:], 20)) * at[:, 2:] / 2
    boxes: DoubleArray = np.hstack([centres - halves, centres + halves])
    return boxes


def suppress_overlaps(boxes: DoubleArray, scores: FloatArray, most_overlap: float) -> IntArray:
    """Of boxes that overlap by more than `most_overlap` (intersection over union), keep the one with the best score.

    Returns:
        Rows that are kept, by falling score. Ties go to the lower row.
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[box_overlaps(boxes[best][None], boxes[left])[0] <= most_overlap]
    return np.array(kept, dtype=np.int64)


def _input_size(session: Any, path: Path) -> tuple[int, int]:
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    fits = len(shape) == 4 and shape[1] == 3 and inputs[0].type == "tensor(float)"
    if not fits or not all(isinstance(size, int) and size % STRIDES[-1] == 0 for size in shape[2:]):
        found = ", ".join(f"{given.name} {given.type} {given.shape}" for given in inputs) or "nothing"
        raise _not_of_the_family(
            path, f"it takes {found}, not float pixels of (1, 3, H, W) with H and W multiples of {STRIDES[-1]}"
        )
    return shape[2], shape[3]


def _checked_classes(session: Any, run: Callable[[FloatArray], FloatArray], size: tuple[int, int], path: Path) -> int:
    """Run the graph on a grey picture, and return the number of its classes.

    Raises:
        CoverageError: The output is not that of a YOLOX without decoding.
    """
    outputs = session.get_outputs()
    expected = len(cells(*size))
    shape = outputs[0].shape
    if len(outputs) != 1 or len(shape) != 3 or shape[1] != expected or not isinstance(shape[2], int) or shape[2] < 6:
        found = ", ".join(f"{given.name} {given.shape}" for given in outputs)
        raise _not_of_the_family(
            path, f"it gives {found}, not (1, {expected}, 5 + classes): a row for each cell of strides 8, 16 and 32"
        )
    grey = np.full((1, 3, *size), PADDING, dtype=np.float32)
    raw = run(grey)
    if not np.isfinite(raw).all() or raw[:, 4:].min() < 0 or raw[:, 4:].max() > 1:
        raise _not_of_the_family(path, "what should be confidences lies outside [0, 1]")
    if np.abs(raw[:, :2]).max() > _MOST_RAW_OFFSET:
        raise _not_of_the_family(path, "it decodes its boxes itself. Export it without decode_in_inference")
    return int(shape[2]) - 5


def _not_of_the_family(path: Path, reason: str) -> CoverageError:
    return CoverageError(
        f"{path} is no detector of the YOLOX family: {reason}. Detections of any other detector can be given as a file."
    )
