"""What other people's trackers call on a re-identification model, answered by an `Embedder`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omnireid.embedding.boxes import check_finite_boxes, check_frame, cover_a_pixel, cut_crops
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.options import check_batch_size
from omnireid.errors import ShapeError
from omnireid.types import ByteArray, FloatArray, check_whole_number


class HasBoxes(Protocol):
    """Detections of a frame, such as `supervision.Detections`."""

    @property
    def xyxy(self) -> Any:
        """(N, 4) left, top, right, bottom in pixels of the frame."""


@dataclass(frozen=True)
class TrackerEmbedder:
    """An embedder under the names that trackers call. Every frame is BGR, as OpenCV reads it.

    Each method gives one row a box, in the order of the boxes: float32, finite and not normalised; (0, D) if there is
    no box. A box is rounded to whole pixels and clipped to the frame. One that then holds no pixel is widened to the
    nearest pixel of the frame, so that the tracker still gets a row for it. Use `Embedder.embed_boxes` to be told
    which boxes these are.

    Attributes:
        embedder: The network.

    Raises:
        ShapeError: The frame is no (H, W, 3) uint8 array, or the detections have no boxes of shape (N, 4).
        TrackingError: A box is not finite.
    """

    embedder: Embedder

    def extract_features(self, detections: HasBoxes, frame: ByteArray) -> FloatArray:
        """Embed detections, as a tracker of roboflow's `trackers` with a re-identification model asks for them.

        Args:
            detections: Anything with boxes as ``xyxy``.
            frame: (H, W, 3) uint8 BGR.

        Returns:
            (N, D) float32.
        """
        return self._embed(_boxes_of(detections), frame)

    def extract_embeddings(self, detections: HasBoxes, frame: ByteArray, *, batch_size: int = 32) -> FloatArray:
        """Embed detections, as roboflow's `reid` does.

        Args:
            detections: Anything with boxes as ``xyxy``.
            frame: (H, W, 3) uint8 BGR.
            batch_size: Crops per step of the network.

        Returns:
            (N, D) float32.
        """
        return self._embed(_boxes_of(detections), frame, check_batch_size(batch_size))

    def extract_embeddings_from_paths(
        self, paths: Sequence[str | os.PathLike[str]], *, batch_size: int = 32, num_workers: int = 0
    ) -> FloatArray:
        """Embed files of crops, as roboflow's `reid` does.

        Args:
            paths: Files, one crop each.
            batch_size: Crops per step of the network.
            num_workers: Accepted because `reid` has it. Crops are always decoded by threads of this process.

        Returns:
            (N, D) float32.
        """
        check_whole_number(num_workers, "num_workers", least=0)
        return self.embedder.embed(paths, batch_size=batch_size)

    def get_features(self, boxes: object, image: ByteArray) -> FloatArray:
        """Embed boxes, as the trackers of BoxMOT and loops like theirs do.

        Args:
            boxes: (N, 4) left, top, right, bottom in pixels.
            image: (H, W, 3) uint8 BGR.

        Returns:
            (N, D) float32. No row is zero.
        """
        return self._embed(boxes, image)

    def _embed(self, boxes: object, frame: ByteArray, batch_size: int | None = None) -> FloatArray:
        height, width, _ = check_frame(frame).shape
        crops = cut_crops(frame, cover_a_pixel(check_finite_boxes(boxes), height, width), "bgr")
        if batch_size is not None and len(crops) <= batch_size:
            batch_size = None  # a single batch is embedded in the way that answers soonest
        return self.embedder.embed(crops, batch_size=batch_size)


def _boxes_of(detections: object) -> object:
    boxes = getattr(detections, "xyxy", None)
    if boxes is None:
        raise ShapeError(
            f"Detections need their boxes as .xyxy, as supervision.Detections have them; got a "
            f"{type(detections).__name__}. For an array of boxes, use get_features(boxes, frame)."
        )
    return boxes
