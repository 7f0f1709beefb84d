"""From an epoch's order to batches on the device: crops are looked up by index, a few batches ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from omnireid.training.augmentation import Augmentation
from omnireid.training.augmentation_plan import AugmentationPlan, plan_augmentation, to_device
from omnireid.types import FloatArray, IntArray

BATCHES_AHEAD = 3
"""Number of batches prepared while one is trained on."""

DEVICE_SHARE = 0.5
"""Largest share of a GPU's free memory that the decoded crops may take."""


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """A rank's share of one batch.

    Attributes:
        indices: (B,) indices of the crops in the data, on the host.
        images: (B, H, W, 3) uint8 RGB, on the device.
        identities: (B,) int64, on the device.
        plan: How the images are augmented.
        patch_images: (P, H, W, 3) uint8, the crops from which the plan's patches are cut.
        targets: (B, E) float32, the teacher's embeddings of the crops as the plan flips them; None without a teacher.
        attributes: (B, 2, K) float32, attributes and their weights, see `AttributeTargets`; None without attributes.
    """

    indices: IntArray
    images: Tensor
    identities: Tensor
    plan: AugmentationPlan
    patch_images: Tensor
    targets: Tensor | None = None
    attributes: Tensor | None = None


class Pixels:
    """Decoded crops, taken by index and copied to a device.

    If the GPU has room, all crops are copied there once. Otherwise each batch is copied from the memory map into
    pinned memory and sent without waiting.

    Args:
        pixels: (N, H, W, 3) uint8.
        device: Device on which batches are needed.
    """

    def __init__(self, pixels: npt.NDArray[np.uint8], device: torch.device) -> None:
        self._pixels = pixels
        self._device = device
        self._whole: Tensor | None = None
        if device.type == "cuda" and pixels.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._whole = torch.from_numpy(np.array(pixels)).to(device)

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, H, W."""
        count, height, width, _ = self._pixels.shape
        return count, height, width

    def take(self, indices: IntArray) -> Tensor:
        """The crops at `indices`, in that order: (n, H, W, 3) uint8 on the device."""
        if self._whole is not None:
            return self._whole.index_select(0, to_device(torch.from_numpy(indices), self._device))
        if self._device.type == "cpu":
            return torch.from_numpy(self._pixels[indices])
        images = torch.empty((len(indices), *self._pixels.shape[1:]), dtype=torch.uint8, pin_memory=True)
        np.take(self._pixels, indices, axis=0, out=images.numpy(), mode="clip")  # without clip NumPy buffers the output
        return images.to(self._device, non_blocking=True)


def count_repeats(order: IntArray) -> IntArray:
    """Count how often each entry of `order` (any shape) has come before, in reading order; same shape.

    A crop that comes several times in an epoch is augmented differently each time.

    >>> count_repeats(np.array([[5, 7], [5, 5]]))
    array([[0, 0],
           [1, 2]])
    """
    flat = order.reshape(-1)
    by_value = np.argsort(flat, kind="stable")
    ordered = flat[by_value]
    starts = np.r_[True, ordered[1:] != ordered[:-1]]
    positions = np.arange(len(flat))
    repeats = np.empty(len(flat), dtype=np.int64)
    repeats[by_value] = positions - np.maximum.accumulate(np.where(starts, positions, 0))
    return repeats.reshape(order.shape)


def feed(
    pixels: Pixels,
    identities: IntArray,
    augmentation: Augmentation,
    indices: IntArray,
    repeats: IntArray,
    *,
    seed: int,
    epoch: int,
    images_seen: int,
    images_a_step: int,
    device: torch.device,
    targets: FloatArray | None = None,
    attributes: FloatArray | None = None,
) -> Generator[TrainingBatch]:
    """Yield the batches of an epoch, or of the rest of one, in order.

    Args:
        pixels: The crops at the epoch's resolution.
        identities: (N,) identities of all crops.
        augmentation: What may be done to a crop.
        indices: (S, B) this rank's crops of each step.
        repeats: (S, B) counts from `count_repeats` over the whole epoch and all ranks.
        seed: The run's seed.
        epoch: Counted from 0.
        images_seen: Number of images all ranks trained on before the first of these steps.
        images_a_step: Number of images in one step of all ranks.
        device: Device on which batches are needed.
        targets: (N, 2, E) the teacher's embeddings of all crops and of their mirror images; None without a teacher.
        attributes: (N, 2, K) attributes of all crops and their weights; None without attributes.
    """

    def prepare(step: int) -> TrainingBatch:
        count, height, width = pixels.shape
        plan = plan_augmentation(
            augmentation,
            seed=seed,
            epoch=epoch,
            indices=indices[step],
            repeats=repeats[step],
            height=height,
            width=width,
            crop_count=count,
            images_seen=images_seen + step * images_a_step,
        )
        return TrainingBatch(
            indices[step],
            pixels.take(indices[step]),
            to_device(torch.from_numpy(identities[indices[step]]), device),
            plan,
            pixels.take(plan.patch_indices),
            None if targets is None else to_device(torch.from_numpy(_targets_of(targets, indices[step], plan)), device),
            None if attributes is None else to_device(torch.from_numpy(attributes[indices[step]]), device),
        )

    waiting: deque[Future[TrainingBatch]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as thread:
        try:
            for step in range(len(indices) + BATCHES_AHEAD):
                if step < len(indices):
                    waiting.append(thread.submit(prepare, step))
                if step >= BATCHES_AHEAD:
                    yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _targets_of(targets: FloatArray, indices: IntArray, plan: AugmentationPlan) -> FloatArray:
    """(B, E) the teacher's embeddings of a batch: of the mirror image where the plan flips the crop."""
    is_flipped = np.zeros(len(indices), dtype=np.int64)
    is_flipped[plan.flips] = 1
    return np.ascontiguousarray(targets[indices, is_flipped])
