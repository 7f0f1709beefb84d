"""What a plan of augmentation does to pixels: what one image after the other gives, in any batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.naive_augmentation import (
    EVERYTHING,
    HALF,
    NOTHING,
    SIZES,
    Naive,
    alike,
    augment,
    equal_plans,
    grey_levels,
    normalise,
    plan_for,
    random_pixels,
)
from torch.nn import functional

from omnireid.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from omnireid.training.augmentation import Augmentation
from omnireid.training.augmentation_plan import apply_plan
from omnireid.training.draws import Purpose, draw_uniforms


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
