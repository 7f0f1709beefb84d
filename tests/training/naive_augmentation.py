"""Augmentations to test, and a naive one to compare with: one image after the other, in float64."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from omnireid.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from omnireid.training.augmentation import Augmentation
from omnireid.training.augmentation_plan import AugmentationPlan, apply_plan, plan_augmentation
from omnireid.training.draws import BOX_COLUMNS, Purpose, draw_uniforms, fit_boxes
from omnireid.training.patches import PATCH_COLUMNS, look_up_patches
from omnireid.types import FloatArray, IntArray

Pixels = npt.NDArray[np.uint8]


Grey = npt.NDArray[np.float64]


NOTHING = Augmentation(flip=0)


def alike(probability: float) -> Augmentation:
    """Each of the six with the same probability."""
    changed: dict[str, Any] = dict.fromkeys(("flip", "crop", "patch", "jitter", "blur", "erasing"), probability)
    return Augmentation(brightness=0.4, contrast=0.3, saturation=0.5, tint=0.2, blur_sigma=0.03, **changed)


EVERYTHING, HALF = alike(1), alike(0.5)


SIZES = [(64, 32), (33, 17), (1, 1), (1, 9), (9, 1), (2, 3)]


def random_pixels(count: int, height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def plan_for(
    augmentation: Augmentation, data: Pixels, indices: list[int] | IntArray, **changed: Any
) -> AugmentationPlan:
    """A plan for crops of `data`, of which a thousand were seen, with the arguments `changed`."""
    indices = np.asarray(indices, dtype=np.int64)
    count, height, width, _ = data.shape
    arguments: dict[str, Any] = {"seed": 0, "epoch": 0, "repeats": np.zeros_like(indices), "images_seen": 1_000}
    arguments |= {"height": height, "width": width, "crop_count": count}
    return plan_augmentation(augmentation, indices=indices, **(arguments | changed))


def augment(data: Pixels, indices: list[int] | IntArray, plan: AugmentationPlan) -> FloatArray:
    images, patch_images = torch.from_numpy(data[indices]), torch.from_numpy(data[plan.patch_indices])
    return apply_plan(images, plan, patch_images, mean=IMAGENET_MEAN, std=IMAGENET_STD).numpy()


def normalise(pixels: Pixels) -> FloatArray:
    return Preprocessing(*pixels.shape[1:3]).normalise(np.ascontiguousarray(pixels))


def grey_levels(inputs: FloatArray) -> Grey:
    """(B, 3, H, W) as the network takes them, as (B, H, W, 3) from 0 to 255."""
    return (inputs.transpose(0, 2, 3, 1).astype(np.float64) * IMAGENET_STD + IMAGENET_MEAN) * 255


def equal_plans(one: AugmentationPlan, other: AugmentationPlan) -> bool:
    def leaves(value: Any) -> list[npt.NDArray[Any]]:
        if not dataclasses.is_dataclass(value):
            return [np.asarray(value)]
        return [leaf for field in dataclasses.fields(value) for leaf in leaves(getattr(value, field.name))]

    return all(map(np.array_equal, leaves(one), leaves(other)))


class Naive:
    """The augmentation of one image after the other, in float64, from the numbers drawn for it."""

    def __init__(self, augmentation: Augmentation, data: Pixels, *, seed: int, epoch: int, pool: int) -> None:
        self.augmentation, self.data, self.seed, self.epoch, self.pool = augmentation, data, seed, epoch, pool
        _, self.height, self.width, _ = data.shape

    def draw(self, purpose: Purpose, index: int, repeat: int, columns: int) -> list[float]:
        drawn: list[float] = draw_uniforms(self.seed, purpose, self.epoch, index, repeat, columns=columns)[0].tolist()
        return drawn

    def augment(self, index: int, repeat: int = 0) -> tuple[Grey, npt.NDArray[np.bool_]]:
        """Grey levels, and which pixels rounding alone decides on."""
        asked, pixels = self.augmentation, self.data[index].astype(np.float64)
        unsure = np.zeros(pixels.shape[:2], bool)
        if self.draw(Purpose.FLIP, index, repeat, 1)[0] < asked.flip:
            pixels = pixels[:, ::-1].copy()
        if (drawn := self.draw(Purpose.CROP, index, repeat, 3))[0] < asked.crop:
            pixels = self.crop(pixels, drawn[1], drawn[2])
        if (drawn := self.draw(Purpose.PATCH, index, repeat, 1 + PATCH_COLUMNS))[0] < asked.patch and self.pool:
            pixels, unsure = self.paste(pixels, drawn[1:])
        if (drawn := self.draw(Purpose.JITTER, index, repeat, 7))[0] < asked.jitter:
            pixels = self.jitter(pixels, drawn[1:])
        if (drawn := self.draw(Purpose.BLUR, index, repeat, 2))[0] < asked.blur:
            pixels = self.blur(pixels, drawn[1] * asked.blur_sigma * self.height)
        drawn = self.draw(Purpose.ERASING, index, repeat, 1 + BOX_COLUMNS)
        if drawn[0] < asked.erasing:
            uniforms = np.array([drawn[1:]])
            box = fit_boxes(uniforms, asked.erasing_area, asked.erasing_aspect, self.height, self.width)
            rows = slice(box.tops[0], box.tops[0] + box.heights[0])
            pixels = pixels.copy()
            pixels[rows, box.lefts[0] : box.lefts[0] + box.widths[0]] = np.multiply(IMAGENET_MEAN, 255)
        return pixels, unsure

    def crop(self, pixels: Grey, down: float, right: float) -> Grey:
        """Enlarge with half-pixel centres, then cut at whole pixels."""
        tall, wide = (round(size * self.augmentation.crop_scale) for size in (self.height, self.width))
        top, left = int(down * (tall - self.height + 1)), int(right * (wide - self.width + 1))
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        enlarged = functional.interpolate(image, (tall, wide), mode="bilinear", align_corners=False)[0].numpy()
        return np.asarray(enlarged[:, top : top + self.height, left : left + self.width].transpose(1, 2, 0))

    def paste(self, pixels: Grey, drawn: list[float]) -> tuple[Grey, npt.NDArray[np.bool_]]:
        """Pixel by pixel; a rotated patch takes the nearest."""
        size = {"height": self.height, "width": self.width}
        index, box = look_up_patches(
            self.seed, np.array([int(drawn[0] * self.pool)]), crop_count=len(self.data), **size
        )
        source_top, source_left, tall, wide = (int(v[0]) for v in (box.tops, box.lefts, box.heights, box.widths))
        patch = self.data[index[0], source_top : source_top + tall, source_left : source_left + wide]
        if drawn[3] < 0.5:
            patch = patch[:, ::-1]
        angle = math.radians((2 * drawn[5] - 1) * 10) if drawn[4] < 0.5 else 0.0
        top, left = int(drawn[1] * (self.height - tall + 1)), int(drawn[2] * (self.width - wide + 1))
        out, unsure = pixels.copy(), np.zeros(pixels.shape[:2], bool)
        for row in range(tall):
            for column in range(wide):
                down, right = row + 0.5 - tall / 2, column + 0.5 - wide / 2
                from_row = down * math.cos(angle) + right * math.sin(angle) + tall / 2
                from_column = right * math.cos(angle) - down * math.sin(angle) + wide / 2
                near = min(abs(value - round(value)) for value in (from_row, from_column))
                unsure[top + row, left + column] = angle != 0 and near < 1e-4
                if 0 <= from_row < tall and 0 <= from_column < wide:
                    out[top + row, left + column] = patch[int(from_row), int(from_column)]
        return out, unsure

    def jitter(self, pixels: Grey, drawn: list[float]) -> Grey:
        asked = self.augmentation
        strengths = (asked.brightness, asked.contrast, asked.saturation, *[asked.tint] * 3)
        brightness, contrast, saturation, *tint = (
            1 - strength + 2 * strength * number for strength, number in zip(strengths, drawn, strict=True)
        )
        luma = np.array([0.299, 0.587, 0.114])
        pixels = np.clip(pixels * brightness * tint, 0, 255)
        middle = (pixels @ luma).mean()
        pixels = np.clip(middle + contrast * (pixels - middle), 0, 255)
        grey = (pixels @ luma)[..., None]
        return np.asarray(np.clip(grey + saturation * (pixels - grey), 0, 255))

    def blur(self, pixels: Grey, sigma: float) -> Grey:
        reach = max(1, math.ceil(2.5 * self.augmentation.blur_sigma * self.height))
        weights = np.array([math.exp(-0.5 * (k / max(sigma, 1e-3)) ** 2) for k in range(-reach, reach + 1)])
        weights /= weights.sum()
        for _ in range(2):
            padded = np.pad(pixels, ((reach, reach), (0, 0), (0, 0)), mode="edge")
            pixels = np.stack([np.tensordot(weights, padded[at : at + len(weights)], 1) for at in range(len(pixels))])
            pixels = pixels.transpose(1, 0, 2)
        return pixels
