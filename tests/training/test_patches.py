from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnireid.training.draws import Boxes, Purpose, draw_uniforms
from omnireid.training.patches import (
    PATCH_COLUMNS,
    POOL_CAPACITY,
    POOL_START,
    PatchPlan,
    look_up_patches,
    paste_patches,
    place_patches,
    pool_size,
)
from omnireid.types import IntArray

Pixels = npt.NDArray[np.uint8]


def random_pixels(count: int, height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def drawn_plan(count: int, height: int, width: int, seed: int = 0, pool: int = 1_000) -> PatchPlan:
    uniforms = draw_uniforms(seed, Purpose.PATCH, 0, np.arange(count), 0, columns=PATCH_COLUMNS)
    return place_patches(np.arange(count), uniforms, seed=seed, pool=pool, crop_count=500, height=height, width=width)


def one_patch(
    box: tuple[int, int, int, int], top: int, left: int, *, flip: bool = False, angle: float = 0.0
) -> PatchPlan:
    """A plan for one image; the box is top, left, height, width."""
    zero = np.zeros(1, np.int64)
    sources = Boxes(*(np.array([value]) for value in box))
    return PatchPlan(zero, zero, sources, zero + top, zero + left, np.array([flip]), np.array([angle]))


def paste(images: Pixels, crops: Pixels, plan: PatchPlan) -> Pixels:
    pasted = paste_patches(torch.from_numpy(images).float(), torch.from_numpy(crops), torch.from_numpy(plan.table()))
    assert pasted.dtype == torch.float32
    return pasted.numpy().astype(np.uint8)


def naive_paste(image: Pixels, crop: Pixels, plan: PatchPlan, which: int) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """The image pasted on pixel by pixel, and where rounding alone decides which pixel is taken."""
    box = (plan.sources.tops, plan.sources.lefts, plan.sources.heights, plan.sources.widths)
    source_top, source_left, tall, wide = (int(column[which]) for column in box)
    patch = crop[source_top : source_top + tall, source_left : source_left + wide]
    if plan.flips[which]:
        patch = patch[:, ::-1]
    angle = math.radians(plan.angles[which])
    out, unsure = image.copy(), np.zeros(image.shape[:2], bool)
    for row in range(tall):
        for column in range(wide):
            # x to the right and y upwards from the centre; turned back by the angle.
            x, y = column + 0.5 - wide / 2, tall / 2 - row - 0.5
            back_x, back_y = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
            from_column, from_row = back_x + wide / 2, tall / 2 - back_y
            place = (int(plan.tops[which]) + row, int(plan.lefts[which]) + column)
            near = min(abs(value - round(value)) for value in (from_row, from_column))
            unsure[place] = angle != 0 and near < 1e-4
            if 0 <= from_row < tall and 0 <= from_column < wide:
                out[place] = patch[int(from_row), int(from_column)]
    return out, unsure


@pytest.mark.parametrize(
    ("seen", "size"),
    [(0, 0), (99, 0), (100, 100), (101, 101), (49_999, 49_999), (50_000, 50_000), (50_001, 50_000), (10**9, 50_000)],
)
def test_the_pool_begins_at_100_and_ends_at_50_000(seen: int, size: int) -> None:
    assert (POOL_START, POOL_CAPACITY) == (100, 50_000)
    assert pool_size(seen) == size


def test_nothing_is_pasted_from_an_empty_pool() -> None:
    plan = drawn_plan(20, 16, 8, pool=0)
    assert len(plan) == len(plan.positions) == len(plan.indices) == len(plan.sources) == 0
    assert plan.table().shape == (0, 9)


def test_an_entry_of_the_pool_is_the_same_patch_for_ever() -> None:
    entries = np.arange(300)
    indices, boxes = look_up_patches(7, entries, crop_count=50, height=64, width=32)
    for entry in (0, 7, 299):
        index, box = look_up_patches(7, entries[[entry]], crop_count=50, height=64, width=32)
        expected = boxes.select(np.array([entry]))
        assert index.tolist() == [indices[entry]]
        assert [box.tops, box.lefts, box.heights, box.widths] == [
            expected.tops,
            expected.lefts,
            expected.heights,
            expected.widths,
        ]
    other, _ = look_up_patches(8, entries, crop_count=50, height=64, width=32)
    assert other.tolist() != indices.tolist()


def test_patches_come_from_all_crops_and_have_the_paper_s_sizes() -> None:
    indices, boxes = look_up_patches(0, np.arange(5_000), crop_count=50, height=256, width=128)
    # 100 of each crop, with a deviation of 10.
    assert np.abs(np.bincount(indices, minlength=50) - 100).max() < 50
    assert len(np.bincount(indices)) == 50
    areas, aspects = boxes.heights * boxes.widths / (256 * 128), boxes.heights / boxes.widths
    assert 0.005 < areas.min() < 0.02
    assert 0.45 < areas.max() < 0.51
    assert 0.1 < aspects.min() < 1
    assert aspects.max() < 11


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.sampled_from([100, 777, 50_000]), st.integers(0, 99)
)
def test_places_equal_choosing_one_after_another(height: int, width: int, crops: int, pool: int, seed: int) -> None:
    uniforms = draw_uniforms(seed, Purpose.PATCH, 0, np.arange(8), 0, columns=PATCH_COLUMNS)
    positions: IntArray = np.array([0, 1, 3, 4, 6, 10, 11, 12])
    plan = place_patches(positions, uniforms, seed=seed, pool=pool, crop_count=crops, height=height, width=width)
    assert len(plan) == 8
    assert plan.positions.tolist() == positions.tolist()
    for which, (entry, row, column, flip, rotated, angle) in enumerate(uniforms.tolist()):
        index, box = look_up_patches(seed, np.array([int(entry * pool)]), crop_count=crops, height=height, width=width)
        tall, wide = int(box.heights[0]), int(box.widths[0])
        assert plan.indices[which] == index[0] < crops
        assert (plan.sources.tops[which], plan.sources.lefts[which]) == (box.tops[0], box.lefts[0])
        assert (plan.sources.heights[which], plan.sources.widths[which]) == (tall, wide)
        assert plan.tops[which] == int(row * (height - tall + 1)) <= height - tall
        assert plan.lefts[which] == int(column * (width - wide + 1)) <= width - wide
        assert plan.flips[which] == (flip < 0.5)
        assert plan.angles[which] == (pytest.approx(-10 + 20 * angle) if rotated < 0.5 else 0)


def test_half_are_flipped_and_half_rotated_by_up_to_10_degrees() -> None:
    plan = drawn_plan(4_000, 64, 32)
    rotated = plan.angles != 0
    assert 0.45 < plan.flips.mean() < 0.55
    assert 0.45 < rotated.mean() < 0.55
    assert -10 <= plan.angles.min() < -9.5
    assert 9.5 < plan.angles.max() <= 10
    assert abs(plan.angles[rotated].mean()) < 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 999))
def test_pasting_equals_pixel_by_pixel(height: int, width: int, seed: int) -> None:
    images, crops = random_pixels(6, height, width, seed), random_pixels(6, height, width, seed + 1)
    plan = drawn_plan(6, height, width, seed)
    pasted = paste(images, crops, plan)
    for which in range(6):
        expected, unsure = naive_paste(images[which], crops[which], plan, which)
        assert unsure.sum() < 8
        assert pasted[which][~unsure].tolist() == expected[~unsure].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 17), st.integers(1, 17), st.booleans(), st.data())
def test_an_upright_patch_is_a_slice(height: int, width: int, flip: bool, data: st.DataObject) -> None:
    tall, wide = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    source_top, top = (data.draw(st.integers(0, height - tall)) for _ in range(2))
    source_left, left = (data.draw(st.integers(0, width - wide)) for _ in range(2))
    images, crops = random_pixels(1, height, width), random_pixels(1, height, width, 1)
    expected = images.copy()
    patch = crops[:, source_top : source_top + tall, source_left : source_left + wide]
    expected[:, top : top + tall, left : left + wide] = patch[:, :, ::-1] if flip else patch
    plan = one_patch((source_top, source_left, tall, wide), top, left, flip=flip)
    assert paste(images, crops, plan).tolist() == expected.tolist()


@pytest.mark.parametrize("angle", [-10.0, -3.3, 0.7, 10.0])
@pytest.mark.parametrize("flip", [False, True])
def test_rotation_is_pillow_s_with_the_image_where_the_patch_does_not_reach(angle: float, flip: bool) -> None:
    tall, wide = 41, 24
    images, crops = random_pixels(1, 64, 48), random_pixels(1, 64, 48, 1)
    patch = crops[0, 5 : 5 + tall, 7 : 7 + wide][:, :: -1 if flip else 1]
    turned = np.asarray(Image.fromarray(np.ascontiguousarray(patch)).rotate(angle, Image.Resampling.NEAREST))
    reached = np.asarray(Image.new("L", (wide, tall), 255).rotate(angle, Image.Resampling.NEAREST)) > 0
    expected = images[0].copy()
    expected[12 : 12 + tall, 20 : 20 + wide][reached] = turned[reached]
    pasted = paste(images, crops, one_patch((5, 7, tall, wide), 12, 20, flip=flip, angle=angle))[0]
    # Pillow's fixed-point numbers take the neighbour where a pixel falls between two.
    assert (pasted != expected).any(axis=2).sum() <= 0.01 * tall * wide
    assert abs(angle) < 3 or not reached.all()


def test_a_patch_is_the_same_alone_and_in_any_batch_and_order() -> None:
    images, crops = random_pixels(9, 33, 17), random_pixels(9, 33, 17, 1)
    plan = drawn_plan(9, 33, 17)
    assert (plan.angles != 0).any()
    pasted = paste(images, crops, plan)
    table = plan.table()
    order = np.random.default_rng(0).permutation(9)
    for chosen in (order, *(np.array([which]) for which in range(9))):
        part = paste_patches(*(torch.from_numpy(array[chosen]) for array in (images, crops, table)))
        assert part.dtype == torch.uint8
        assert np.array_equal(part.numpy(), pasted[chosen])


def test_inputs_are_left_as_they_are() -> None:
    images, crops = torch.from_numpy(random_pixels(4, 9, 7)), torch.from_numpy(random_pixels(4, 9, 7, 1))
    table = torch.from_numpy(drawn_plan(4, 9, 7).table())
    before = [tensor.clone() for tensor in (images, crops, table)]
    pasted = paste_patches(images, crops, table)
    assert not torch.equal(pasted, images)
    for tensor, copy in zip((images, crops, table), before, strict=True):
        assert torch.equal(tensor, copy)


def test_the_table_holds_whole_pixels_exactly() -> None:
    plan = drawn_plan(50, 2_000, 1_000)
    table = plan.table()
    assert table.dtype == np.float32
    assert table.shape == (50, 9)
    whole = (plan.tops, plan.lefts, plan.sources.heights, plan.sources.widths, plan.sources.tops, plan.sources.lefts)
    for column, expected in zip(table.T, whole, strict=False):
        assert column.tolist() == expected.tolist()
    assert table[:, 6].tolist() == plan.flips.tolist()
    np.testing.assert_allclose(np.degrees(np.arctan2(table[:, 8], table[:, 7])), plan.angles, atol=1e-5)
