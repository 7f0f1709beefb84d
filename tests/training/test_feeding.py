from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.training.augmentation import Augmentation
from omnireid.training.augmentation_plan import apply_plan
from omnireid.training.feeding import BATCHES_AHEAD, Pixels, TrainingBatch, count_repeats, feed
from omnireid.types import IntArray

CPU = torch.device("cpu")
EVERYTHING = Augmentation(crop=0.5, patch=0.5, jitter=0.5, brightness=0.3, erasing=0.5)
CROPS = np.random.default_rng(0).integers(0, 256, (40, 24, 12, 3), dtype=np.uint8)
IDENTITIES = np.arange(40, dtype=np.int64) // 4
SEEN = 200
"""By the run before: there are patches in the pool."""


def batches(
    order: IntArray, repeats: IntArray, *, images_seen: int = SEEN, pixels: Any = None
) -> Iterator[TrainingBatch]:
    return feed(
        pixels or Pixels(CROPS, CPU),
        IDENTITIES,
        EVERYTHING,
        order,
        repeats,
        seed=5,
        epoch=2,
        images_seen=images_seen,
        images_a_step=6,
        device=CPU,
    )


def order_of(steps: int) -> IntArray:
    """Batches of six; some crops come more than once."""
    return np.random.default_rng(1).integers(0, 40, (steps, 6))


def augmented(batch: TrainingBatch) -> torch.Tensor:
    return apply_plan(batch.images, batch.plan, batch.patch_images, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def feed_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


class Failing(Pixels):
    """Cannot read one of the crops, as a disk that is gone."""

    def take(self, indices: IntArray) -> torch.Tensor:
        if 39 in indices:
            raise OSError("the disk is gone")
        return super().take(indices)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 8), st.integers(0, 2**31))
def test_repeats_equal_a_naive_count(rows: int, columns: int, values: int, seed: int) -> None:
    order = np.random.default_rng(seed).integers(-3, values, (rows, columns))
    before = order.copy()
    seen: Counter[int] = Counter()
    expected = []
    for value in order.reshape(-1).tolist():
        expected.append(seen[value])
        seen[value] += 1
    repeats = count_repeats(order)
    assert repeats.reshape(-1).tolist() == expected
    assert repeats.shape == order.shape
    assert repeats.dtype == np.int64
    assert np.array_equal(order, before)


def test_pixels_are_taken_in_the_order_asked_for() -> None:
    pixels = Pixels(CROPS, CPU)
    assert pixels.shape == (40, 24, 12)
    taken = pixels.take(np.array([7, 3, 7, 39]))
    assert (taken.dtype, taken.device) == (torch.uint8, CPU)
    assert np.array_equal(taken.numpy(), CROPS[[7, 3, 7, 39]])
    before = CROPS.copy()
    taken.zero_()
    assert np.array_equal(CROPS, before)
    assert pixels.take(np.empty(0, np.int64)).shape == (0, 24, 12, 3)


@pytest.mark.parametrize("steps", [0, 1, BATCHES_AHEAD, BATCHES_AHEAD + 4])
def test_every_step_once_and_in_order(steps: int) -> None:
    order = order_of(steps)
    found = list(batches(order, count_repeats(order)))
    assert [batch.indices.tolist() for batch in found] == order.tolist()
    for batch in found:
        assert np.array_equal(batch.images.numpy(), CROPS[batch.indices])
        assert batch.identities.tolist() == IDENTITIES[batch.indices].tolist()
        assert np.array_equal(batch.patch_images.numpy(), CROPS[batch.plan.patch_indices])
    assert feed_threads() == []


def test_an_epoch_taken_up_in_its_middle_gives_the_same_batches() -> None:
    order = order_of(8)
    repeats = count_repeats(order)
    whole = [augmented(batch) for batch in batches(order, repeats)]
    for done in (1, 5, 7):
        rest = [augmented(batch) for batch in batches(order[done:], repeats[done:], images_seen=SEEN + 6 * done)]
        assert len(rest) == 8 - done
        for left, right in zip(rest, whole[done:], strict=True):
            assert torch.equal(left, right)


def test_the_pool_of_patches_grows_with_the_images_seen() -> None:
    order = order_of(8)
    repeats = count_repeats(order)
    counts = [len(batch.plan.patches) for batch in batches(order, repeats, images_seen=0)]
    assert sum(counts) == 0  # 48 images in all; the pool opens at 100
    counts = [len(batch.plan.patches) for batch in batches(order, repeats, images_seen=100 - 3 * 6)]
    assert sum(counts[:3]) == 0
    assert sum(counts[3:]) > 0


def test_a_crop_that_comes_again_is_augmented_otherwise() -> None:
    order = np.full((1, 6), 3)
    (batch,) = batches(order, count_repeats(order))
    images = augmented(batch)
    assert len({image.numpy().tobytes() for image in images}) > 3


def test_the_thread_ends_where_feeding_is_stopped_early() -> None:
    order = order_of(20)
    with closing(batches(order, count_repeats(order))) as feeding:  # type: ignore[type-var]
        next(feeding)
        assert len(feed_threads()) == 1
    assert feed_threads() == []


def test_only_a_few_batches_are_prepared_ahead() -> None:
    taken: list[list[int]] = []

    class Watched(Pixels):
        def take(self, indices: IntArray) -> torch.Tensor:
            if len(indices) == 6:
                taken.append(indices.tolist())
            return super().take(indices)

    order = order_of(20)
    feeding = batches(order, count_repeats(order), images_seen=0, pixels=Watched(CROPS, CPU))
    next(feeding)
    feeding.close()  # type: ignore[attr-defined]
    assert 1 <= len(taken) <= BATCHES_AHEAD + 1
    assert taken == order[: len(taken)].tolist()


def test_errors_of_the_thread_surface() -> None:
    order = np.arange(36).reshape(6, 6)
    order[4, 2] = 39
    feeding = batches(order, count_repeats(order), images_seen=0, pixels=Failing(CROPS, CPU))
    for step in range(4):
        assert next(feeding).indices.tolist() == order[step].tolist()
    with pytest.raises(OSError, match="the disk is gone"):
        next(feeding)
    assert feed_threads() == []
