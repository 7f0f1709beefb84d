"""Augmentation of whole batches, on the device they are trained on.

The host plans what is done to each crop. Every random number is a function of the
seed, the epoch, the crop, and how often the crop has come before in the epoch (see
`omnireid.training.draws`). The device then carries out the plan, and the host does
not wait for it. An image comes out the same alone or in any batch, on any number
of ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnireid.training.augmentation import Augmentation
from omnireid.training.draws import BOX_COLUMNS, Boxes, Purpose, choose, draw_uniforms, fit_boxes
from omnireid.training.patches import PATCH_COLUMNS, PatchPlan, paste_patches, place_patches, pool_size
from omnireid.types import DoubleArray, FloatArray, IntArray

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in grey (ITU-R BT.601), the same as Pillow's."""


@dataclass(frozen=True, eq=False)
class AugmentationPlan:
    """What is done to the B images of one batch. Positions are indices into the batch, ascending.

    Attributes:
        flips: Positions of the images that are flipped.
        crops: Positions of the images that are cropped.
        crop_rows: (n, H) row of the original from which each row of a cropped image is read, with a fraction.
        crop_columns: (n, W) column of the original from which each column is read, with a fraction.
        patches: The patches, and where they are pasted.
        jitters: Positions of the images whose colours change.
        factors: (n, 5) factors for contrast, for saturation, and for R, G and B. The last three are brightness × tint.
        blurs: Positions of the images that are blurred.
        sigmas: (n,) standard deviation of the blur of each, in pixels.
        largest_sigma: Largest standard deviation that the recipe allows, in pixels.
        erasures: Positions of the images in which a box is erased.
        boxes: The n erased boxes.
    """

    flips: IntArray
    crops: IntArray
    crop_rows: FloatArray
    crop_columns: FloatArray
    patches: PatchPlan
    jitters: IntArray
    factors: FloatArray
    blurs: IntArray
    sigmas: FloatArray
    largest_sigma: float
    erasures: IntArray
    boxes: Boxes

    @property
    def patch_indices(self) -> IntArray:
        """Indices of the training crops from which patches are cut; `apply_plan` needs their pixels too."""
        return self.patches.indices


def plan_augmentation(
    augmentation: Augmentation,
    *,
    seed: int,
    epoch: int,
    indices: IntArray,
    repeats: IntArray,
    height: int,
    width: int,
    crop_count: int,
    images_seen: int,
) -> AugmentationPlan:
    """Decide what happens to each image of a batch.

    Args:
        augmentation: What may happen.
        seed: The run's seed.
        epoch: Counted from 0.
        indices: (B,) indices of the crops in the data.
        repeats: (B,) how often each crop has come before in this epoch.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        crop_count: Number of crops in the data, from which patches may be cut.
        images_seen: Number of images the run has trained on so far; the pool of patches grows with it.
    """

    def draw(purpose: Purpose, columns: int) -> DoubleArray:
        return draw_uniforms(seed, purpose, epoch, indices, repeats, columns=columns)

    crop = draw(Purpose.CROP, 3)
    crops = np.flatnonzero(crop[:, 0] < augmentation.crop)
    jitter = draw(Purpose.JITTER, 7)
    jitters = np.flatnonzero(jitter[:, 0] < augmentation.jitter)
    blur = draw(Purpose.BLUR, 2)
    blurs = np.flatnonzero(blur[:, 0] < augmentation.blur)
    largest_sigma = augmentation.blur_sigma * height
    erasing = draw(Purpose.ERASING, 1 + BOX_COLUMNS)
    erasures = np.flatnonzero(erasing[:, 0] < augmentation.erasing)
    patch = draw(Purpose.PATCH, 1 + PATCH_COLUMNS)
    patched = np.flatnonzero(patch[:, 0] < augmentation.patch)
    return AugmentationPlan(
        flips=np.flatnonzero(draw(Purpose.FLIP, 1)[:, 0] < augmentation.flip),
        crops=crops,
        crop_rows=_crop_places(crop[crops, 1], height, augmentation.crop_scale),
        crop_columns=_crop_places(crop[crops, 2], width, augmentation.crop_scale),
        patches=place_patches(
            patched,
            patch[patched, 1:],
            seed=seed,
            pool=pool_size(images_seen),
            crop_count=crop_count,
            height=height,
            width=width,
        ),
        jitters=jitters,
        factors=_colour_factors(augmentation, jitter[jitters, 1:]),
        blurs=blurs,
        sigmas=(blur[blurs, 1] * largest_sigma).astype(np.float32),
        largest_sigma=largest_sigma,
        erasures=erasures,
        boxes=fit_boxes(erasing[erasures, 1:], augmentation.erasing_area, augmentation.erasing_aspect, height, width),
    )


def apply_plan(
    images: Tensor,
    plan: AugmentationPlan,
    patch_images: Tensor,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Augment and normalise a batch. An image that nothing happens to is exactly what inference would see.

    The random crop interpolates between the stored pixels in one step. The customary way, which enlarges the image
    and then cuts it, rounds to whole grey levels in between.

    Args:
        images: (B, H, W, 3) uint8 RGB, on the device; they are not changed.
        plan: What is done to each image of this batch.
        patch_images: (P, H, W, 3) uint8, the crops that `AugmentationPlan.patch_indices` names.
        mean: Mean of R, G and B, in [0, 1], to be subtracted.
        std: Standard deviation of R, G and B, in [0, 1], to divide by.

    Returns:
        (B, 3, H, W) float32, channels last in memory.
    """
    device = images.device
    count, height, width, _ = images.shape
    if len(plan.flips):
        flips = to_device(torch.from_numpy(plan.flips), device)
        images = images.index_copy(0, flips, images.index_select(0, flips).flip(2))
    pixels = images.float()
    if len(plan.crops):
        crops = to_device(torch.from_numpy(plan.crops), device)
        pixels.index_copy_(0, crops, _crop(pixels.index_select(0, crops), plan))
    if len(plan.patches):
        patched = to_device(torch.from_numpy(plan.patches.positions), device)
        table = to_device(torch.from_numpy(plan.patches.table()), device)
        pixels.index_copy_(0, patched, paste_patches(pixels.index_select(0, patched), patch_images, table))
    if len(plan.jitters):
        jitters = to_device(torch.from_numpy(plan.jitters), device)
        factors = to_device(torch.from_numpy(plan.factors), device)
        pixels.index_copy_(0, jitters, _jitter(pixels.index_select(0, jitters), factors))
    if len(plan.blurs) and plan.largest_sigma > 0:
        blurs = to_device(torch.from_numpy(plan.blurs), device)
        pixels.index_copy_(0, blurs, _blur(pixels.index_select(0, blurs), plan))
    # Each line of pixels is treated as one long row: broadcasting over an axis of three is slow on a CPU.
    lines = pixels.view(count, height, width * 3)
    lines *= _tiled([1 / (255 * value) for value in std], width, device)
    lines -= _tiled([average / value for average, value in zip(mean, std, strict=True)], width, device)
    if len(plan.erasures):
        erasures = to_device(torch.from_numpy(plan.erasures), device)
        pixels.index_copy_(0, erasures, _erase(pixels.index_select(0, erasures), plan.boxes))
    return pixels.permute(0, 3, 1, 2)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device without waiting for the copy to end."""
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def _tiled(values: list[float], width: int, device: torch.device) -> Tensor:
    return to_device(torch.tensor(values, dtype=torch.float32).repeat(width), device)


def _crop_places(uniforms: DoubleArray, size: int, scale: float) -> FloatArray:
    """(n, size) where the rows or columns of a random crop lie in the original, by pixel centres, inside the image."""
    enlarged = round(size * scale)
    offsets = choose(uniforms, enlarged - size + 1)
    places = (offsets[:, None] + np.arange(size) + 0.5) * (size / enlarged) - 0.5
    return np.asarray(np.clip(places, 0, size - 1), dtype=np.float32)


def _crop(pixels: Tensor, plan: AugmentationPlan) -> Tensor:
    """Resample bilinearly, one axis after the other."""
    count, height, width, _ = pixels.shape
    above = np.minimum(plan.crop_rows.astype(np.int64), height - 2) if height > 1 else np.zeros((count, 1), np.int64)
    left = np.minimum(plan.crop_columns.astype(np.int64), width - 2) if width > 1 else np.zeros((count, 1), np.int64)
    down = to_device(torch.from_numpy(plan.crop_rows - above.astype(np.float32)), pixels.device)
    right = to_device(torch.from_numpy(plan.crop_columns - left.astype(np.float32)), pixels.device)
    first = to_device(torch.from_numpy((above + np.arange(count)[:, None] * height).reshape(-1)), pixels.device)
    lines = pixels.view(count * height, width * 3)
    rows = torch.lerp(
        lines.index_select(0, first), lines.index_select(0, first + min(1, height - 1)), down.view(-1, 1)
    ).view(count, height, width, 3)
    columns = to_device(torch.from_numpy(left), pixels.device).view(count, 1, width, 1).expand(-1, height, -1, 3)
    nearer = rows.gather(2, columns)
    farther = rows.gather(2, columns + min(1, width - 1))
    return torch.lerp(nearer, farther, right.view(count, 1, width, 1))


def _colour_factors(augmentation: Augmentation, uniforms: DoubleArray) -> FloatArray:
    """(n, 5) the plan's factors from (n, 6) uniform numbers."""
    asked = augmentation
    strengths = np.array([asked.brightness, asked.contrast, asked.saturation, asked.tint, asked.tint, asked.tint])
    factors = 1 + (2 * uniforms - 1) * strengths
    brightness = factors[:, :1].astype(np.float32)
    return np.concatenate([factors[:, 1:3].astype(np.float32), brightness * factors[:, 3:].astype(np.float32)], axis=1)


def _jitter(pixels: Tensor, factors: Tensor) -> Tensor:
    """Change brightness and tint, then contrast, then saturation; after each, values are clamped to [0, 255]."""
    contrast, saturation = factors[:, :2, None, None, None].unbind(1)
    luma = torch.tensor(LUMA)
    weights = to_device(luma, pixels.device)
    pixels = (pixels * factors[:, 2:].view(-1, 1, 1, 3)).clamp_(0, 255)
    # The sum is of integers, so that its value does not depend on the order or the number of threads.
    mean = (pixels * weights).sum(dim=3).round().to(torch.int64).sum(dim=(1, 2)).float() / (
        pixels.shape[1] * pixels.shape[2]
    )
    middle = mean.view(-1, 1, 1, 1)
    pixels = ((pixels - middle) * contrast + middle).clamp_(0, 255)
    grey = (pixels * weights).sum(dim=3, keepdim=True)
    return ((pixels - grey) * saturation + grey).clamp_(0, 255)


def _blur(pixels: Tensor, plan: AugmentationPlan) -> Tensor:
    """Blur each image by a Gaussian of its own width, cut off at 2.5 of the largest; edges repeat their last pixel."""
    reach = max(1, math.ceil(2.5 * plan.largest_sigma))
    distances = np.arange(-reach, reach + 1)
    # A width far below a pixel leaves the image as it is, and its weights must not be 0 / 0.
    exponents = -0.5 * (distances / np.maximum(plan.sigmas[:, None].astype(np.float64), 1e-3)) ** 2
    weights = np.exp(exponents)
    weights /= weights.sum(axis=1, keepdims=True)
    table = to_device(torch.from_numpy(weights.astype(np.float32)), pixels.device)
    for axis in (1, 2):
        size = pixels.shape[axis]
        blurred = torch.zeros_like(pixels)
        for number, distance in enumerate(distances.tolist()):
            places = torch.from_numpy(np.clip(np.arange(size) + distance, 0, size - 1))
            shifted = pixels.index_select(axis, to_device(places, pixels.device))
            blurred.addcmul_(shifted, table[:, number, None, None, None])
        pixels = blurred
    return pixels


def _erase(pixels: Tensor, boxes: Boxes) -> Tensor:
    """Fill one box of each image with 0, the mean colour after normalisation."""
    height, width = pixels.shape[1:3]
    rows, columns = np.arange(height), np.arange(width)
    tall = (rows >= boxes.tops[:, None]) & (rows < (boxes.tops + boxes.heights)[:, None])
    wide = (columns >= boxes.lefts[:, None]) & (columns < (boxes.lefts + boxes.widths)[:, None])
    tall_mask = to_device(torch.from_numpy(tall), pixels.device)[:, :, None, None]
    wide_mask = to_device(torch.from_numpy(wide), pixels.device)[:, None, :, None]
    return pixels.masked_fill(tall_mask & wide_mask, 0)
