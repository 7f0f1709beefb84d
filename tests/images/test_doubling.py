from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnireid.images import doubling
from omnireid.images.decode import RgbArray
from omnireid.images.doubling import double


def by_pillow(image: RgbArray) -> RgbArray:
    height, width, _ = image.shape
    return np.asarray(Image.fromarray(image).resize((2 * width, 2 * height), Image.Resampling.BILINEAR))


def doubled(images: list[RgbArray]) -> RgbArray:
    height, width, _ = images[0].shape
    out = np.full((len(images), 2 * height, 2 * width, 3), 99, np.uint8)
    double(images, out)
    return out


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(1, 9), height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 999),
    step=st.sampled_from([1, 5_000, doubling.STEP_BYTES]),
)  # fmt: skip
def test_is_pillows_resize_to_the_bit(count: int, height: int, width: int, seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    images = list(rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doubling, "STEP_BYTES", step)
        result = doubled(images)
    for image, large in zip(images, result, strict=True):
        assert np.array_equal(large, by_pillow(image))


def test_every_pair_of_values() -> None:
    """Along a row and along a column, against the formula: 3/4 and 1/4, rounded half up."""
    first, second = np.mgrid[0:256, 0:256].reshape(2, -1)
    expected = np.stack([first, (3 * first + second + 2) // 4, (first + 3 * second + 2) // 4, second], axis=1)
    pairs = np.stack([first, second], axis=1).astype(np.uint8)[..., np.newaxis].repeat(3, axis=2)
    across = doubled(list(pairs[:, np.newaxis]))
    assert np.array_equal(across, expected[:, np.newaxis, :, np.newaxis].repeat(2, axis=1).repeat(3, axis=3))
    down = doubled(list(pairs[:, :, np.newaxis]))
    assert np.array_equal(down, across.transpose(0, 2, 1, 3))


def test_views_of_a_frame_need_not_be_contiguous() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    for view in (frame[3:20, 5:30], frame[3:20, 5:30, ::-1], frame[20:3:-1, 5:30]):
        assert np.array_equal(doubled([view])[0], by_pillow(np.ascontiguousarray(view)))


def test_threads_have_memory_of_their_own() -> None:
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (24, 64, 32, 3), dtype=np.uint8))
    results: dict[int, list[RgbArray]] = {}

    def work(number: int) -> None:
        results[number] = [doubled(images[number::3]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, rounds in results.items():
        expected = [by_pillow(image) for image in images[number::3]]
        assert all(np.array_equal(result, expected) for result in rounds)


def test_the_memory_of_a_large_image_is_not_kept() -> None:
    doubled([np.zeros((400, 300, 3), np.uint8)])
    assert doubling._scratch._memory.size == 0
    doubled([np.zeros((8, 4, 3), np.uint8)])
    assert doubling._scratch._memory.size > 0
