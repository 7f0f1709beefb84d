from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.errors import RecipeError
from omnireid.training.draws import BOX_COLUMNS, Boxes, Purpose, choose, draw_uniforms, fit_boxes
from omnireid.types import DoubleArray

STEP = 0x9E3779B97F4A7C15
WORDS = st.integers(-(2**63), 2**63 - 1)


def mix(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
    return word ^ (word >> 31)


def naive_uniforms(words: list[int], columns: int) -> list[float]:
    state = 0
    for word in words:
        state = mix(((state ^ (word % 2**64)) + STEP) % 2**64)
    return [(mix((state + k * STEP) % 2**64) >> 11) / 2**53 for k in range(1, columns + 1)]


def naive_box(
    row: list[float], area: tuple[float, float], aspect: tuple[float, float], height: int, width: int
) -> tuple[int, int, int, int]:
    tries = (len(row) - 2) // 2
    for attempt in range(tries):
        size = (area[0] + (area[1] - area[0]) * row[attempt]) * height * width
        ratio = aspect[0] + (aspect[1] - aspect[0]) * row[tries + attempt]
        tall, wide = max(round((size * ratio) ** 0.5), 1), max(round((size / ratio) ** 0.5), 1)
        if tall <= height and wide <= width:
            break
    tall, wide = min(tall, height), min(wide, width)
    return int(row[-2] * (height - tall + 1)), int(row[-1] * (width - wide + 1)), tall, wide


def rows_of(boxes: Boxes) -> list[tuple[int, ...]]:
    columns = (boxes.tops, boxes.lefts, boxes.heights, boxes.widths)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def boxes_drawn(count: int, area: tuple[float, float], aspect: tuple[float, float], height: int, width: int) -> Boxes:
    uniforms = draw_uniforms(4, Purpose.ERASING, np.arange(count), columns=BOX_COLUMNS)
    return fit_boxes(uniforms, area, aspect, height, width)


def test_the_naive_mixer_is_splitmix64() -> None:
    # The first outputs for seed 1234567, as every public implementation of SplitMix64 gives them.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [mix((1234567 + k * STEP) % 2**64) for k in range(1, 6)] == known


def test_frozen_values() -> None:
    """A change here changes every run ever made: it needs a new version of the recipes, not new numbers."""
    assert draw_uniforms(0, Purpose.FLIP, columns=3).tolist() == [
        [0.2691303195904541, 0.653200308834717, 0.5781814693974294]
    ]
    assert draw_uniforms(1, Purpose.FLIP, 0, np.array([7, 8]), columns=2).tolist() == [
        [0.42844058333959534, 0.6904547017037794],
        [0.3224784771170074, 0.308075941659005],
    ]
    last = draw_uniforms(2**64 - 1, Purpose.ERASING, 3, np.array([0, 12935]), np.array([0, 1]), columns=2)
    assert last.tolist() == [
        [0.025410101765726112, 0.495364487457709],
        [0.42826844486530125, 0.4699774719230906],
    ]
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        **{"FLIP": 1, "CROP": 2, "ERASING": 3},
        **{"JITTER": 4, "PATCH": 5, "PATCH_POOL": 6, "BLUR": 7},
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 9), st.lists(WORDS, max_size=3), st.integers(0, 5))
def test_uniforms_equal_arithmetic_in_whole_numbers(seed: int, purpose: int, words: list[int], columns: int) -> None:
    expected = naive_uniforms([seed, purpose, *words], columns)
    found = draw_uniforms(seed, purpose, *words, columns=columns)
    assert found.shape == (1, columns)
    assert found.dtype == np.float64
    assert found.tolist() == [expected]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**64 - 1), st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
def test_a_row_depends_on_its_own_words_only(seed: int, pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    together = draw_uniforms(seed, Purpose.CROP, 5, first, second, columns=4)
    backwards = draw_uniforms(seed, Purpose.CROP, 5, first[::-1], second[::-1], columns=4)
    assert backwards[::-1].tolist() == together.tolist()
    for row, (one, other) in zip(together.tolist(), pairs, strict=True):
        assert draw_uniforms(seed, Purpose.CROP, 5, one, other, columns=4).tolist() == [row]


def test_columns_do_not_depend_on_how_many_are_asked_for() -> None:
    many = draw_uniforms(3, Purpose.PATCH, np.arange(5), columns=40)
    for columns in range(41):
        assert draw_uniforms(3, Purpose.PATCH, np.arange(5), columns=columns).tolist() == many[:, :columns].tolist()


def test_every_argument_makes_another_number() -> None:
    # All combinations of small words, those in which two words change places among them.
    index, repeat = (grid.reshape(-1) for grid in np.meshgrid(np.arange(12), np.arange(12), indexing="ij"))
    numbers = [
        draw_uniforms(seed, purpose, epoch, index, repeat, columns=3)
        for seed in range(4)
        for purpose in Purpose
        for epoch in range(4)
    ]
    assert len(np.unique(np.concatenate(numbers))) == 4 * len(Purpose) * 4 * 144 * 3
    # A word more is another number too, even where it is 0.
    zeros = [float(draw_uniforms(0, 0, *(0,) * count, columns=1)[0, 0]) for count in range(8)]
    assert len(set(zeros)) == 8


@pytest.mark.parametrize("varied", ["seed", "epoch", "index", "repeat", "column"])
def test_uniform_along_each_argument(varied: str) -> None:
    count = 6_400
    steps = np.arange(count)
    if varied == "seed":
        drawn = np.concatenate([draw_uniforms(seed, Purpose.FLIP, 0, 0, 0, columns=1) for seed in range(count)])
    elif varied == "column":
        drawn = draw_uniforms(0, Purpose.FLIP, 0, 0, 0, columns=count)
    else:
        words = [steps if name == varied else 0 for name in ("epoch", "index", "repeat")]
        drawn = draw_uniforms(0, Purpose.FLIP, *words, columns=1)
    numbers = drawn.reshape(-1)
    assert numbers.shape == (count,)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # Chi squared of 64 bins has mean 63 and deviation 11; neighbours in pairs likewise in 8 × 8 bins.
    for bins in (np.floor(numbers * 64), np.floor(numbers[::2] * 8) * 8 + np.floor(numbers[1::2] * 8)):
        expected = len(bins) / 64
        assert 63 - 44 < ((np.bincount(bins.astype(int), minlength=64) - expected) ** 2 / expected).sum() < 63 + 55


def test_columns_and_purposes_are_unrelated() -> None:
    drawn = [draw_uniforms(0, purpose, 0, np.arange(10_000), 0, columns=3) for purpose in Purpose]
    correlations = np.asarray(np.corrcoef(np.concatenate(drawn, axis=1).T))
    # The deviation of each is 0.01.
    assert np.abs(correlations - np.eye(len(correlations))).max() < 0.05


def test_words_are_left_as_they_are() -> None:
    words = np.arange(4)
    draw_uniforms(0, 1, words, columns=2)
    assert words.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range(seed: int) -> None:
    message = f"A seed is an integer from 0 to 2^64 − 1; got {seed}. Choose --seed in that range."
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        draw_uniforms(seed, Purpose.FLIP, columns=1)


def test_choose_takes_all_equally_often() -> None:
    uniforms = (np.arange(700) + 0.5) / 700
    assert np.bincount(choose(uniforms, 7)).tolist() == [100] * 7
    assert choose(uniforms, 1).tolist() == [0] * 700


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 2**53), min_size=1, max_size=8))
def test_the_largest_number_stays_below_the_count(counts: list[int]) -> None:
    largest = np.full(len(counts), 1 - 2.0**-53)
    chosen = choose(largest, np.array(counts))
    assert chosen.dtype == np.int64
    assert (chosen >= 0).all()
    assert (chosen < counts).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([(0.02, 0.4), (0.01, 0.5), (0.5, 1.0), (0.0, 0.001), (1.0, 1.0)]),
    st.sampled_from([(0.3, 3.3), (0.1, 10.0), (1.0, 1.0), (9.0, 10.0)]),
    st.integers(0, 2**32),
)
def test_boxes_equal_trying_one_after_another(
    height: int, width: int, area: tuple[float, float], aspect: tuple[float, float], seed: int
) -> None:
    uniforms: DoubleArray = draw_uniforms(seed, 0, np.arange(20), columns=BOX_COLUMNS)
    boxes = fit_boxes(uniforms, area, aspect, height, width)
    assert len(boxes) == 20
    assert rows_of(boxes) == [naive_box(row, area, aspect, height, width) for row in uniforms.tolist()]
    assert min(boxes.tops.min(), boxes.lefts.min()) >= 0
    assert min(boxes.heights.min(), boxes.widths.min()) >= 1
    assert (boxes.tops + boxes.heights).max() <= height
    assert (boxes.lefts + boxes.widths).max() <= width


def test_boxes_have_the_area_and_aspect_asked_for() -> None:
    boxes = boxes_drawn(4_000, (0.1, 0.2), (0.5, 2.0), 400, 400)
    areas, aspects = boxes.heights * boxes.widths / 400**2, boxes.heights / boxes.widths
    # In an image this large rounding matters little, and all boxes fit at once, so that the draws stay uniform.
    assert areas.min() > 0.098
    assert areas.max() < 0.202
    assert aspects.min() > 0.49
    assert aspects.max() < 2.03
    assert abs(areas.mean() - 0.15) < 0.003
    assert abs(aspects.mean() - 1.25) < 0.03


def test_boxes_reach_every_edge() -> None:
    boxes = boxes_drawn(2_000, (0.1, 0.4), (0.5, 2.0), 16, 8)
    assert boxes.tops.min() == boxes.lefts.min() == 0
    assert (boxes.tops + boxes.heights).max() == 16
    assert (boxes.lefts + boxes.widths).max() == 8


def test_a_box_that_never_fits_is_cut_to_the_image() -> None:
    boxes = boxes_drawn(5, (0.9, 0.9), (10.0, 10.0), 64, 32)
    assert rows_of(boxes) == [(0, left, 64, 14) for left in boxes.lefts.tolist()]


def test_select_takes_places_or_a_mask() -> None:
    boxes = boxes_drawn(4, (0.02, 0.4), (0.3, 3.3), 64, 32)
    assert rows_of(boxes.select(np.array([2, 0]))) == [rows_of(boxes)[2], rows_of(boxes)[0]]
    assert rows_of(boxes.select(np.array([False, True, False, True]))) == rows_of(boxes)[1::2]
    assert len(boxes.select(np.array([], dtype=np.int64))) == 0
