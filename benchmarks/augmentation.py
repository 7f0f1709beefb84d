"""Claim: augmenting a batch on a CPU takes less time than with kornia's batched augmentations.

Both start from the same 64 uint8 images in memory and produce normalised float32.
They flip, crop at random (enlarge 1.125 times and cut back), change brightness,
contrast and saturation, and erase at random, each for about half of the images.
The time includes drawing the random numbers on both sides.

The baseline runs in the same process, alternating with ours. It is kornia with
the faster of its two ways of cropping: `slice` (one image after another) or
`resample` (all at once).

Run: python benchmarks/augmentation.py [--tiny]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import kornia.augmentation as kornia
import numpy as np
import torch
from torch import Tensor, nn

from omnireid.images.preprocess import IMAGENET_MEAN, IMAGENET_STD
from omnireid.machine import describe
from omnireid.training.augmentation import Augmentation
from omnireid.training.augmentation_plan import apply_plan, plan_augmentation

PROBABILITY = 0.5
CROP_SCALE = 1.125
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.15, 0.1
ERASING_AREA = (0.02, 0.4)
ERASING_ASPECT = (0.3, 3.3)
ERASING_VALUE = 0.0  # after normalisation, which is the mean
CROPPING_MODES = ("slice", "resample")


@dataclass(frozen=True)
class Size:
    """The shape of a batch, and how often to augment it."""

    count: int
    height: int
    width: int
    repeats: int


SIZES = (Size(64, 128, 64, 31), Size(64, 256, 128, 31))
TINY_SIZES = (Size(4, 32, 16, 2),)


def our_augmentation(images: Tensor) -> Callable[[int], Tensor]:
    """Augment `images` with omnireid; the argument is the epoch, so that each time is another."""
    count, height, width, _ = images.shape
    augmentation = Augmentation(
        flip=PROBABILITY,
        crop=PROBABILITY,
        crop_scale=CROP_SCALE,
        jitter=PROBABILITY,
        brightness=BRIGHTNESS,
        contrast=CONTRAST,
        saturation=SATURATION,
        erasing=PROBABILITY,
        erasing_area=ERASING_AREA,
        erasing_aspect=ERASING_ASPECT,
    )
    no_patches = images[:0]

    def augment(epoch: int) -> Tensor:
        plan = plan_augmentation(
            augmentation,
            seed=0,
            epoch=epoch,
            indices=np.arange(count),
            repeats=np.zeros(count, dtype=np.int64),
            height=height,
            width=width,
            crop_count=count,
            images_seen=0,
        )
        return apply_plan(images, plan, no_patches, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    return augment


def kornia_augmentation(images: Tensor, cropping_mode: str) -> Callable[[int], Tensor]:
    """Augment `images` with kornia, which has a random state of its own."""
    _, height, width, _ = images.shape
    area = 1 / CROP_SCALE**2
    steps = nn.Sequential(
        kornia.RandomHorizontalFlip(p=PROBABILITY),
        kornia.RandomResizedCrop(
            (height, width),
            scale=(area, area),
            ratio=(width / height, width / height),
            align_corners=False,
            p=PROBABILITY,
            cropping_mode=cropping_mode,
        ),
        kornia.ColorJitter(BRIGHTNESS, CONTRAST, SATURATION, p=PROBABILITY),
        kornia.Normalize(torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)),
        kornia.RandomErasing(ERASING_AREA, ERASING_ASPECT, ERASING_VALUE, p=PROBABILITY),
    )

    def augment(_: int) -> Tensor:
        result: Tensor = steps(images.permute(0, 3, 1, 2).contiguous().float().div_(255))
        return result

    return augment


def milliseconds(augment: Callable[[int], Tensor], epoch: int) -> float:
    start = time.perf_counter()
    augment(epoch)
    return 1000 * (time.perf_counter() - start)


@torch.no_grad()
def measure(size: Size, threads: int) -> None:
    """Print one size's line."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (size.count, size.height, size.width, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels)
    ours = our_augmentation(images)
    theirs = {mode: kornia_augmentation(images, mode) for mode in CROPPING_MODES}
    for augment in (ours, *theirs.values()):
        shape = tuple(augment(0).shape)
        if shape != (size.count, 3, size.height, size.width):
            raise SystemExit(f"Not a batch of the size asked for: {shape}.")
    own_times: list[float] = []
    their_times: dict[str, list[float]] = {mode: [] for mode in CROPPING_MODES}
    for epoch in range(1, size.repeats + 1):
        own_times.append(milliseconds(ours, epoch))
        for mode, augment in theirs.items():
            their_times[mode].append(milliseconds(augment, epoch))
    fastest = min(CROPPING_MODES, key=lambda mode: statistics.median(their_times[mode]))
    ratios = [theirs_took / own for own, theirs_took in zip(own_times, their_times[fastest], strict=True)]
    medians = ", ".join(f"{mode} {statistics.median(their_times[mode]):.1f} ms" for mode in CROPPING_MODES)
    print(
        f"{size.count} × {size.height} × {size.width}, {threads} thread(s)   "
        f"omnireid {statistics.median(own_times):.1f} ms   kornia {medians}   "
        f"ratio to {fastest} {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
        flush=True,
    )


def main() -> None:
    for size in TINY_SIZES if "--tiny" in sys.argv else SIZES:
        for threads in (1, 2):
            measure(size, threads)
    print(describe().text())
    print(f"kornia {version('kornia')}, kornia_rs {version('kornia_rs')}")


if __name__ == "__main__":
    main()
