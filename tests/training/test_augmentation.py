from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from omnireid.errors import RecipeError
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


@pytest.mark.parametrize(
    ("augmentation", "tolerance"),
    [
        (Augmentation(flip=1), 1e-3),
        (Augmentation(flip=0, crop=1), 1e-2),
        (Augmentation(flip=0, crop=1, crop_scale=3.0), 1e-2),
        (Augmentation(flip=0, patch=1), 1e-3),
        (Augmentation(flip=0, jitter=1, brightness=0.9), 1e-2),
        (Augmentation(flip=0, jitter=1, contrast=0.9), 1e-2),
        (Augmentation(flip=0, jitter=1, saturation=0.9), 1e-2),
        (Augmentation(flip=0, jitter=1, tint=0.9), 1e-2),
        (Augmentation(flip=0, blur=1, blur_sigma=0.1), 1e-2),
        (Augmentation(flip=0, erasing=1), 1e-3),
        (EVERYTHING, 1e-2),
        (HALF, 1e-2),
    ],
)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_one_image_after_the_other(
    augmentation: Augmentation, tolerance: float, height: int, width: int
) -> None:
    data = random_pixels(12, height, width)
    repeats = np.arange(12) % 3
    plan = plan_for(augmentation, data, np.arange(12), seed=5, epoch=2, repeats=repeats)
    greys = grey_levels(augment(data, np.arange(12), plan))
    naive = Naive(augmentation, data, seed=5, epoch=2, pool=1_000)
    if augmentation.contrast:
        # The mean is taken of whole greys: off by half a level at most, and in n pixels by 0.29 / √n on average.
        tolerance += min(0.5, 4 * 0.29 / math.sqrt(height * width))
    for which, repeat in enumerate(repeats.tolist()):
        expected, unsure = naive.augment(which, repeat)
        assert unsure.sum() < 8
        assert np.abs(greys[which] - expected)[~unsure].max(initial=0) <= tolerance


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1.0, 1.06, 1.125, 1.5, 4.0]), st.integers(0, 10**9))
def test_the_crop_is_enlarging_and_cutting_within_a_grey_level(
    height: int, width: int, scale: float, seed: int
) -> None:
    data = random_pixels(3, height, width, seed)
    plan = plan_for(Augmentation(flip=0, crop=1, crop_scale=scale), data, [0, 1, 2], seed=seed)
    greys = grey_levels(augment(data, [0, 1, 2], plan))
    tall, wide = round(height * scale), round(width * scale)
    enlarged = functional.interpolate(
        torch.from_numpy(data).permute(0, 3, 1, 2).float(), (tall, wide), mode="bilinear", align_corners=False
    )
    rounded = enlarged.round().permute(0, 2, 3, 1).numpy()
    for which in range(3):
        _, down, right = draw_uniforms(seed, Purpose.CROP, 0, which, 0, columns=3)[0].tolist()
        top, left = int(down * (tall - height + 1)), int(right * (wide - width + 1))
        expected = rounded[which, top : top + height, left : left + width]
        assert np.abs(greys[which] - expected).max() <= 0.51


def test_a_crop_reaches_every_place_equally_often() -> None:
    data = random_pixels(1, 16, 8)
    plan = plan_for(Augmentation(crop=1), data, np.arange(3_000))
    # 16 rows enlarged to 18 leave 3 places, 8 columns to 9 leave 2.
    for places, count in ((plan.crop_rows, 3), (plan.crop_columns, 2)):
        _, often = np.unique(places, axis=0, return_counts=True)
        assert len(often) == count
        assert np.abs(often / 3_000 - 1 / count).max() < 0.05


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_an_image_that_nothing_happens_to_is_what_inference_sees(height: int, width: int) -> None:
    data = random_pixels(16, height, width)
    assert np.array_equal(augment(data, np.arange(16), plan_for(NOTHING, data, np.arange(16))), normalise(data))
    # Also beside others to which everything happens.
    plan = plan_for(alike(0.1), data, np.arange(16))
    touched = np.unique(
        np.concatenate([plan.flips, plan.crops, plan.patches.positions, plan.jitters, plan.blurs, plan.erasures])
    )
    untouched = np.setdiff1d(np.arange(16), touched)
    assert len(touched) > 0
    assert len(untouched) > 0
    assert np.array_equal(augment(data, np.arange(16), plan)[untouched], normalise(data[untouched]))


def test_every_grey_level_is_what_inference_sees() -> None:
    data = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 16, 16, 3)
    assert np.array_equal(augment(data, [0], plan_for(NOTHING, data, [0])), normalise(data))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_flips_patches_and_boxes_move_pixels_and_change_none(height: int, width: int) -> None:
    data = random_pixels(8, height, width)
    everyone = np.arange(8)
    flipped = augment(data, everyone, plan_for(Augmentation(flip=1), data, everyone))
    assert np.array_equal(flipped, normalise(data[:, :, ::-1]))
    same = augment(data, everyone, plan_for(Augmentation(flip=0, crop=1, crop_scale=1.0), data, everyone))
    assert np.array_equal(same, normalise(data))
    plan = plan_for(Augmentation(flip=0, erasing=1), data, everyone)
    erased, expected = augment(data, everyone, plan), normalise(data)
    for which in range(8):
        top, left = plan.boxes.tops[which], plan.boxes.lefts[which]
        expected[which, :, top : top + plan.boxes.heights[which], left : left + plan.boxes.widths[which]] = 0
    assert np.array_equal(erased, expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 37), st.integers(1, 37), st.sampled_from([EVERYTHING, HALF]), st.integers(0, 2**64 - 1))
def test_an_image_is_the_same_alone_and_in_any_batch_and_order(
    height: int, width: int, augmentation: Augmentation, seed: int
) -> None:
    data = random_pixels(7, height, width, seed)
    repeats = np.arange(7) % 2
    together = augment(data, np.arange(7), plan_for(augmentation, data, np.arange(7), seed=seed, repeats=repeats))
    order = np.random.default_rng(seed).permutation(7)
    for chosen in (order, order[:4], *(np.array([which]) for which in range(7))):
        part = augment(data, chosen, plan_for(augmentation, data, chosen, seed=seed, repeats=repeats[chosen]))
        assert np.array_equal(part, together[chosen])


def test_the_number_of_threads_changes_nothing() -> None:
    data = random_pixels(32, 64, 32)
    plan = plan_for(EVERYTHING, data, np.arange(32))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(augment(data, np.arange(32), plan))
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_a_plan_depends_on_seed_epoch_index_and_repeat_only() -> None:
    data = random_pixels(20, 16, 8)
    indices = np.arange(20)
    plan = plan_for(HALF, data, indices)
    assert equal_plans(plan, plan_for(HALF, data, indices))
    for changed in ({"seed": 1}, {"epoch": 1}, {"repeats": indices * 0 + 1}):
        assert not equal_plans(plan, plan_for(HALF, data, indices, **changed))
    assert not equal_plans(plan, plan_for(HALF, data, indices + 1))
    # How much data there is and how much was seen concerns patches alone.
    for changed in ({"crop_count": 19}, {"images_seen": 101}):
        other = plan_for(HALF, data, indices, **changed)
        assert not equal_plans(plan, other)
        assert equal_plans(plan, dataclasses.replace(other, patches=plan.patches))


def test_one_probability_does_not_move_what_else_is_drawn() -> None:
    data = random_pixels(20, 16, 8)
    plan = plan_for(HALF, data, np.arange(20))
    for name, fields in (
        ("flip", ["flips"]),
        ("crop", ["crops", "crop_rows", "crop_columns"]),
        ("patch", ["patches"]),
        ("jitter", ["jitters", "factors"]),
        ("blur", ["blurs", "sigmas"]),
        ("erasing", ["erasures", "boxes"]),
    ):
        changed: dict[str, Any] = {name: 0.0}
        without = plan_for(dataclasses.replace(HALF, **changed), data, np.arange(20))
        assert not equal_plans(plan, without)
        assert equal_plans(plan, dataclasses.replace(without, **{field: getattr(plan, field) for field in fields}))


@pytest.mark.parametrize("probability", [0.0, 0.05, 0.3, 0.5, 1.0])
def test_things_happen_as_often_as_asked(probability: float) -> None:
    data = random_pixels(1, 16, 8)
    plan = plan_for(alike(probability), data, np.arange(5_000))
    happened = [plan.flips, plan.crops, plan.patches.positions, plan.jitters, plan.blurs, plan.erasures]
    # Four deviations of the most uncertain, 0.5.
    tolerance = 0.03 if 0 < probability < 1 else 0
    for positions in happened:
        assert abs(len(positions) / 5_000 - probability) <= tolerance
        assert np.array_equal(positions, np.unique(positions))
    if 0 < probability < 1:
        masks = [np.isin(np.arange(5_000), positions) for positions in happened]
        assert np.abs(np.corrcoef(masks) - np.eye(6)).max() < 0.07


def test_colours_change_as_much_as_asked() -> None:
    data = random_pixels(1, 4, 4)
    asked = Augmentation(jitter=1, brightness=0.2, contrast=0.0, saturation=1.0, tint=0.1)
    factors = plan_for(asked, data, np.arange(5_000)).factors
    assert factors.dtype == np.float32
    assert factors.shape == (5_000, 5)
    assert (factors[:, 0] == 1).all()
    assert 1 < np.ptp(factors[:, 2:] / factors[:, [2]], axis=1).max() / 0.2 < 1.12  # of two tints, at most 1.1 / 0.9
    grey = plan_for(dataclasses.replace(asked, tint=0.0), data, np.arange(5_000)).factors
    assert (grey[:, 2:] == grey[:, [2]]).all()
    factors = grey
    for column, strength in ((2, 0.2), (1, 1.0)):
        assert 1 - strength <= factors[:, column].min() < 1 - 0.99 * strength
        assert 1 + 0.99 * strength < factors[:, column].max() <= np.float32(1 + strength)
        assert abs(factors[:, column].mean() - 1) < 0.05 * strength


def test_erased_boxes_have_the_area_and_aspect_asked_for() -> None:
    data = random_pixels(1, 1, 1)
    asked = Augmentation(erasing=1, erasing_area=(0.1, 0.2), erasing_aspect=(1.0, 2.0))
    boxes = plan_for(asked, data, np.arange(1_000), height=400, width=200).boxes
    areas, aspects = boxes.heights * boxes.widths / (400 * 200), boxes.heights / boxes.widths
    assert 0.098 < areas.min() < 0.11
    assert 0.19 < areas.max() < 0.202
    assert 0.97 < aspects.min() < 1.05
    assert 1.9 < aspects.max() < 2.05


@pytest.mark.parametrize("seen", [0, 99, 100, 50_000, 10**7])
def test_patches_begin_with_100_images_and_the_pool_holds_50_000(seen: int) -> None:
    data = random_pixels(30, 16, 8)
    indices = np.arange(2_000)
    plan = plan_for(Augmentation(flip=0, patch=1), data, indices, images_seen=seen)
    pool = min(seen, 50_000)
    if seen < 100:
        assert len(plan.patches) == len(plan.patch_indices) == 0
        assert np.array_equal(augment(data, np.arange(30), plan), normalise(data))
    else:
        drawn = draw_uniforms(0, Purpose.PATCH, 0, indices, 0, columns=2)[:, 1]
        entries = np.floor(drawn * pool).astype(np.int64)
        crops, _ = look_up_patches(0, entries, crop_count=30, height=16, width=8)
        assert plan.patch_indices.tolist() == crops.tolist()
        assert pool * 0.98 - 1 <= entries.max() < pool


@pytest.mark.parametrize("augmentation", [NOTHING, EVERYTHING])
def test_inputs_are_left_as_they_are(augmentation: Augmentation) -> None:
    data = random_pixels(6, 16, 8)
    indices, repeats = np.arange(6), np.zeros(6, np.int64)
    plan = plan_for(augmentation, data, indices, repeats=repeats)
    images, patch_images = torch.from_numpy(data.copy()), torch.from_numpy(data[plan.patch_indices])
    patch_copy = patch_images.clone()
    apply_plan(images, plan, patch_images, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert np.array_equal(images.numpy(), data)
    assert torch.equal(patch_images, patch_copy)
    assert indices.tolist() == list(range(6))
    assert repeats.tolist() == [0] * 6
    assert equal_plans(plan, plan_for(augmentation, data, indices))


@pytest.mark.parametrize("augmentation", [NOTHING, EVERYTHING])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_result_is_float32_and_channels_last(augmentation: Augmentation, count: int) -> None:
    data = random_pixels(5, 16, 8)
    plan = plan_for(augmentation, data, np.arange(count))
    images, patch_images = torch.from_numpy(data[:count]), torch.from_numpy(data[plan.patch_indices])
    result = apply_plan(images, plan, patch_images, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert result.shape == (count, 3, 16, 8)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_colours_stay_between_black_and_white() -> None:
    data = random_pixels(40, 16, 8)
    wild = Augmentation(flip=0, jitter=1, brightness=1, contrast=1, saturation=1)
    greys = grey_levels(augment(data, np.arange(40), plan_for(wild, data, np.arange(40))))
    assert -1e-3 < greys.min() < 1
    assert 254 < greys.max() < 255.001


def test_any_mean_and_std() -> None:
    data = random_pixels(3, 5, 4)
    mean, std = (0.1, 0.5, 0.9), (1.0, 0.25, 0.125)
    plan = plan_for(NOTHING, data, np.arange(3))
    result = apply_plan(torch.from_numpy(data), plan, torch.from_numpy(data[:0]), mean=mean, std=std)
    assert np.array_equal(result.numpy(), Preprocessing(5, 4, mean, std).normalise(data))


@pytest.mark.parametrize(
    "name", ["flip", "crop", "patch", "jitter", "brightness", "contrast", "saturation", "tint", "blur", "erasing"]
)
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_value_that_is_no_fraction(name: str, value: float) -> None:
    changed: dict[str, Any] = {name: value}
    message = f"--{name} must lie between 0 and 1; got {value}."
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        Augmentation(**changed)


@pytest.mark.parametrize("value", [0.99, -2.0, math.nan])
def test_a_crop_that_shrinks(value: float) -> None:
    with pytest.raises(RecipeError, match=rf"^--crop-scale must lie between 1 and 4; got {value}\.$"):
        Augmentation(crop_scale=value)
