"""What a plan of augmentation draws: as often and as strongly as asked, and by what it is decided."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
import pytest
from tests.training.naive_augmentation import HALF, alike, augment, equal_plans, normalise, plan_for, random_pixels

from omnireid.errors import RecipeError
from omnireid.training.augmentation import Augmentation
from omnireid.training.draws import Purpose, draw_uniforms
from omnireid.training.patches import look_up_patches


def test_a_crop_reaches_every_place_equally_often() -> None:
    data = random_pixels(1, 16, 8)
    plan = plan_for(Augmentation(crop=1), data, np.arange(3_000))
    # 16 rows enlarged to 18 leave 3 places, 8 columns to 9 leave 2.
    for places, count in ((plan.crop_rows, 3), (plan.crop_columns, 2)):
        _, often = np.unique(places, axis=0, return_counts=True)
        assert len(often) == count
        assert np.abs(often / 3_000 - 1 / count).max() < 0.05


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
