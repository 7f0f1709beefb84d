"""Random patch: paste a piece of another training crop, as a person in front would cover this one.

The paper keeps a pool of patches cut from the crops seen so far. That pool is a
state, different on every rank and lost when a run stops. Here it is *virtual*:
entry j of 50,000 is a pure function of (seed, j), a uniformly drawn training crop
and a box in it, and `min(images_seen, 50,000)` entries exist once that many crops
were seen. Pixels are fetched from the store when a patch is pasted, and never
kept. As in the paper nothing is pasted before 100 entries exist.

This differs from the paper in three ways: the pool is not renewed after 50,000
entries; a patch is cut from the crop as stored, not as it was augmented; and a
rotated patch has no black corners, since the image shows through there.

Source: Zhou et al., "Learning Generalisable Omni-Scale Representations for Person
Re-Identification", TPAMI 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnireid.training.draws import BOX_COLUMNS, Boxes, Purpose, choose, draw_uniforms, fit_boxes
from omnireid.types import BoolArray, DoubleArray, FloatArray, IntArray

POOL_CAPACITY = 50_000
POOL_START = 100
PATCH_AREA = (0.01, 0.5)
"""Smallest and largest area of a patch, as fractions of the image."""
PATCH_ASPECT = (0.1, 10.0)
"""Smallest and largest height / width of a patch, in pixels."""
ROTATION_DEGREES = 10.0
PATCH_COLUMNS = 6
"""Number of uniform numbers that `place_patches` takes for a patch."""

_PASTE_COLUMNS = 9


@dataclass(frozen=True, eq=False)
class PatchPlan:
    """What is pasted on P images of a batch, and where. Arrays of P, aligned.

    Attributes:
        positions: Indices of the images in the batch, ascending.
        indices: Indices of the crops in the data from which the patches are cut.
        sources: Boxes that are cut out of these crops.
        tops: First rows at which the patches are pasted.
        lefts: First columns at which the patches are pasted.
        flips: Whether each patch is flipped, bool.
        angles: Rotations about the patch's own centre, counter-clockwise, in degrees; 0 for none.
    """

    positions: IntArray
    indices: IntArray
    sources: Boxes
    tops: IntArray
    lefts: IntArray
    flips: BoolArray
    angles: DoubleArray

    def __len__(self) -> int:
        return len(self.positions)

    def table(self) -> FloatArray:
        """The values of each patch that `paste_patches` needs, (P, 9) float32, in which whole pixels are exact."""
        radians = np.deg2rad(self.angles)
        sources = self.sources
        columns = [self.tops, self.lefts, sources.heights, sources.widths, sources.tops, sources.lefts, self.flips]
        return np.stack([*columns, np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def pool_size(images_seen: int) -> int:
    """Number of patches in the pool after `images_seen` crops; 0 until there are 100."""
    return min(images_seen, POOL_CAPACITY) if images_seen >= POOL_START else 0


def look_up_patches(
    seed: int, entries: IntArray, *, crop_count: int, height: int, width: int
) -> tuple[IntArray, Boxes]:
    """Look up which crop, and which box in it, the pool's `entries` are cut from.

    Args:
        seed: The run's seed.
        entries: (P,) entries, from 0 to 49,999.
        crop_count: Number of training crops.
        height: Height of a decoded crop, in pixels.
        width: Width of a decoded crop, in pixels.

    Returns:
        (P,) indices of crops in the data, and P boxes.
    """
    uniforms = draw_uniforms(seed, Purpose.PATCH_POOL, entries, columns=1 + BOX_COLUMNS)
    return choose(uniforms[:, 0], crop_count), fit_boxes(uniforms[:, 1:], PATCH_AREA, PATCH_ASPECT, height, width)


def place_patches(
    positions: IntArray,
    uniforms: DoubleArray,
    *,
    seed: int,
    pool: int,
    crop_count: int,
    height: int,
    width: int,
) -> PatchPlan:
    """Choose a patch of the pool for each of P images, and where and how it is pasted.

    Args:
        positions: (P,) indices of the images in the batch.
        uniforms: (P, `PATCH_COLUMNS`) numbers in [0, 1): entry, row, column, flip, whether rotated, angle.
        seed: The run's seed.
        pool: Number of entries in the pool; see `pool_size`. With 0 nothing is pasted.
        crop_count: Number of training crops.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
    """
    if not pool:
        positions, uniforms = positions[:0], uniforms[:0]
    entries = choose(uniforms[:, 0], pool)
    indices, sources = look_up_patches(seed, entries, crop_count=crop_count, height=height, width=width)
    return PatchPlan(
        positions=positions,
        indices=indices,
        sources=sources,
        tops=choose(uniforms[:, 1], height - sources.heights + 1),
        lefts=choose(uniforms[:, 2], width - sources.widths + 1),
        flips=uniforms[:, 3] < 0.5,
        angles=np.where(uniforms[:, 4] < 0.5, (2 * uniforms[:, 5] - 1) * ROTATION_DEGREES, 0.0),
    )


def paste_patches(images: Tensor, patch_images: Tensor, table: Tensor) -> Tensor:
    """Paste a piece of each of P crops on each of P images, in one gather.

    Rotation takes the nearest pixel. The rotated patch is cut to its upright box.

    Args:
        images: (P, H, W, 3) images to paste on; the result has their type.
        patch_images: (P, H, W, 3) uint8, the whole crops from which patches are cut.
        table: (P, 9) float32 values of `PatchPlan.table`, on the same device.

    Returns:
        (P, H, W, 3), a new tensor.
    """
    count, height, width = images.shape[:3]
    device = images.device
    top, left, tall, wide, source_top, source_left, flip, cosine, sine = table.view(count, _PASTE_COLUMNS, 1, 1).unbind(
        1
    )
    rows = torch.arange(height, device=device, dtype=torch.float32)[:, None]
    columns = torch.arange(width, device=device, dtype=torch.float32)
    down = (rows + 0.5) - (top + tall / 2)  # from the centre of the place; exact, like all halves of small integers
    right = (columns + 0.5) - (left + wide / 2)
    row = (cosine * down + sine * right + tall / 2).floor_()
    column = (cosine * right - sine * down + wide / 2).floor_()
    is_covered = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
    is_covered &= (row >= 0) & (row < tall) & (column >= 0) & (column < wide)
    column = torch.where(flip > 0, wide - 1 - column, column)
    source = (source_top + row) * width + (source_left + column)
    # Each pixel comes from the image itself (the first half of the rows below) or from its patch's crop (the second).
    own = rows * width + columns
    pixel = torch.where(is_covered, source + height * width, own).to(torch.int64)
    pixel += torch.arange(count, device=device).view(-1, 1, 1) * (2 * height * width)
    both = torch.cat([images, patch_images.to(images.dtype)], dim=1).view(-1, 3)
    return both.index_select(0, pixel.view(-1)).view(images.shape)
