"""The boxes of one frame as crops, and what embedding them gives.

Shapes: N boxes, D values of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from omnireid.errors import SettingError, ShapeError, TrackingError
from omnireid.images.decode import RgbArray
from omnireid.images.quality import measure_crop, problems_of_boxes
from omnireid.types import BoolArray, ByteArray, DoubleArray, FloatArray, IntArray, as_array
from omnireid.weights.description import ChannelOrder

OUTSIDE = "there is no pixel of the frame in its box"
"""Problem of a box that could not be embedded."""


@dataclass(frozen=True, eq=False)
class BoxEmbeddings:
    """The embeddings of the boxes of a frame, one row a box.

    Attributes:
        embeddings: (N, D) float32, not normalised; zeros for a box that is not valid.
        valid: (N,) whether there is a pixel of the frame in the box. Only valid boxes were embedded.
        qualities: (N,) float32 sharpness of each crop in [0, 1], as the gallery keeps it; 0 where the crop is too small
            to be measured, or not valid.
        problems: Why each crop would better be left out (too small, not upright, too blurred, cut off by the frame,
            covered by another box); None where it is good.
    """

    embeddings: FloatArray
    valid: BoolArray
    qualities: FloatArray
    problems: tuple[str | None, ...]

    def __post_init__(self) -> None:
        count = len(self.embeddings)
        if self.embeddings.ndim != 2 or not len(self.valid) == len(self.qualities) == len(self.problems) == count:
            raise ShapeError(
                f"Embeddings of shape {self.embeddings.shape} do not belong to {len(self.valid)} boxes, "
                f"{len(self.qualities)} qualities and {len(self.problems)} problems."
            )

    def __len__(self) -> int:
        return len(self.embeddings)


def check_frame(frame: object) -> ByteArray:
    """Check that a frame is one.

    Raises:
        ShapeError: It is no (H, W, 3) uint8 array with pixels in it.
    """
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        found = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ShapeError(f"A frame is a (height, width, 3) uint8 array; got {found}.")
    if 0 in frame.shape:
        raise ShapeError(f"There is no pixel in a frame of shape {frame.shape}. Was it read?")
    return frame


def check_finite_boxes(boxes_xyxy: object) -> DoubleArray:
    """Boxes as (N, 4) float64.

    Raises:
        ShapeError: They have another shape.
        TrackingError: A box is not finite.
    """
    boxes = as_array(boxes_xyxy, "boxes_xyxy")
    if boxes.size == 0:
        return np.empty((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iuf":
        raise ShapeError(
            "boxes_xyxy must be (N, 4) numbers, left, top, right and bottom of each box; "
            f"got {boxes.dtype} of shape {boxes.shape}."
        )
    finite = np.isfinite(boxes).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise TrackingError(
            f"Box {row} of {len(boxes)} is not finite: {boxes[row].tolist()}. Leave it out before embedding."
        )
    return boxes.astype(np.float64)


def pixel_boxes(boxes: DoubleArray, height: int, width: int) -> IntArray:
    """Round (N, 4) boxes to whole pixels and clip them to the frame.

    Edges are rounded to the nearest whole number and halves to the even one, as `supervision.crop_image` does. A box
    without a pixel of the frame comes out with right ≤ left or bottom ≤ top.
    """
    limits = np.array([width, height, width, height])
    clipped: IntArray = np.clip(np.rint(boxes), 0, limits).astype(np.int64)
    return clipped


def cover_a_pixel(boxes: DoubleArray, height: int, width: int) -> IntArray:
    """Round and clip as `pixel_boxes` does, and widen what is empty to the nearest pixel of the frame."""
    clipped = pixel_boxes(boxes, height, width)
    first = np.minimum(clipped[:, :2], [width - 1, height - 1])
    return np.hstack([first, np.maximum(clipped[:, 2:], first + 1)])


def embed_boxes(
    embed: Callable[[Sequence[RgbArray]], FloatArray],
    frame: ByteArray,
    boxes_xyxy: object,
    channels: ChannelOrder,
) -> BoxEmbeddings:
    """Embed the boxes of a frame; see `Embedder.embed_boxes`.

    Args:
        embed: Embeds RGB crops, one row each, and gives (0, D) where there is none.
        frame: (H, W, 3) uint8.
        boxes_xyxy: (N, 4) left, top, right, bottom.
        channels: Order of the frame's colours.
    """
    if channels not in ("bgr", "rgb"):
        raise SettingError(f"channels must be 'bgr' (frames of OpenCV) or 'rgb'; got {channels!r}.")
    frame = check_frame(frame)
    height, width, _ = frame.shape
    boxes = pixel_boxes(check_finite_boxes(boxes_xyxy), height, width)
    valid: BoolArray = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    crops = cut_crops(frame, boxes[valid], channels)
    found = embed(crops)
    embeddings = np.zeros((len(boxes), found.shape[1]), dtype=np.float32)
    embeddings[valid] = found
    measured = [measure_crop(crop) for crop in crops]
    by_box = problems_of_boxes(
        boxes[valid].astype(np.float64), np.full(len(crops), float(width)), np.full(len(crops), float(height))
    )
    qualities = np.zeros(len(boxes), dtype=np.float32)
    qualities[valid] = [quality.sharpness for quality in measured]
    problems: list[str | None] = [OUTSIDE] * len(boxes)
    for crop, row in enumerate(np.flatnonzero(valid)):
        problems[row] = measured[crop].problem or by_box.get(crop)
    return BoxEmbeddings(embeddings, valid, qualities, tuple(problems))


def cut_crops(frame: ByteArray, boxes: IntArray, channels: ChannelOrder) -> list[RgbArray]:
    """Cut boxes of whole pixels out of a frame, as RGB: views of an RGB frame, copies of those parts of a BGR frame."""
    crops = [frame[top:bottom, left:right] for left, top, right, bottom in boxes.tolist()]
    return crops if channels == "rgb" else [_reversed_channels(crop) for crop in crops]


def _reversed_channels(crop: ByteArray) -> RgbArray:
    rgb = np.empty_like(crop, order="C")
    for channel in range(3):  # a copy of one channel at a time is faster than one of reversed triples
        rgb[..., channel] = crop[..., 2 - channel]
    return rgb
