from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.errors import ImageError
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import ImageSource
from omnireid.images.preprocess import Preprocessing

SMALL = Preprocessing(height=4, width=2)


def grey(value: int) -> ImageSource:
    return np.full((4, 2, 3), value, np.uint8)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(0, 30), batch_size=st.integers(1, 9), workers=st.integers(1, 3), bad=st.sets(st.integers(0, 29))
)
def test_every_crop_once_in_order(count: int, batch_size: int, workers: int, bad: set[int]) -> None:
    sources = [b"broken" if i in bad else grey(i) for i in range(count)]
    left_out: list[int] = []
    batches = list(
        iterate_batches(
            sources,
            SMALL,
            batch_size=batch_size,
            workers=workers,
            on_unreadable=lambda index, error: left_out.append(index),
        )
    )
    indices = [index for batch in batches for index in batch.indices]
    assert indices == [i for i in range(count) if i not in bad]
    assert left_out == sorted(i for i in bad if i < count)
    assert [int(crop[0, 0, 0]) for batch in batches for crop in batch.pixels] == indices
    assert all(len(batch.indices) == batch_size for batch in batches[:-1])


def test_the_first_unreadable_crop_stops_it_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="image 2 is not a JPEG"):
        list(iterate_batches([grey(0), grey(1), b"broken", b"too"], SMALL))


def test_no_more_than_two_batches_are_taken_ahead() -> None:
    taken = 0
    lock = threading.Lock()

    def endless() -> Iterator[ImageSource]:
        nonlocal taken
        while True:
            with lock:
                taken += 1
            yield grey(0)

    batches = iterate_batches(endless(), SMALL, batch_size=4)
    next(batches)
    assert taken <= 3 * 4
    batches.close()  # type: ignore[attr-defined]
