from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnireid.errors import ImageError
from omnireid.images import batches as batches_module
from omnireid.images.batches import MOST, Batch, iterate_batches
from omnireid.images.decode import ImageSource, RgbArray
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
    for given_out in range(1, 6):
        next(batches)
        assert taken <= (given_out + 1) * 4
    batches.close()  # type: ignore[attr-defined]


def plainly(sources: list[ImageSource], batch_size: int) -> list[Batch]:
    """The naive reference: one crop after another."""
    good: list[tuple[int, RgbArray]] = []
    for index, source in enumerate(sources):
        with suppress(ImageError):
            good.append((index, SMALL.resize(source)))
    parts = [good[i : i + batch_size] for i in range(0, len(good), batch_size)]
    return [Batch(tuple(i for i, _ in part), np.stack([pixels for _, pixels in part])) for part in parts]


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.lists(st.sampled_from([(4, 2), (2, 1), (9, 5), None]), max_size=40),
    batch_size=st.integers(1, 20),
    workers=st.integers(1, 3),
)
def test_is_one_crop_after_another(shapes: list[tuple[int, int] | None], batch_size: int, workers: int) -> None:
    rng = np.random.default_rng(len(shapes))
    sources: list[ImageSource] = [
        b"broken" if shape is None else rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes
    ]
    found = iterate_batches(
        sources, SMALL, batch_size=batch_size, workers=workers, on_unreadable=lambda index, error: None
    )
    for ours, expected in zip(found, plainly(sources, batch_size), strict=True):
        assert ours.indices == expected.indices
        assert np.array_equal(ours.pixels, expected.pixels)


@pytest.mark.parametrize("count", [5, 12, 40])
@pytest.mark.parametrize("workers", [1, 3])
def test_whole_batches_before_the_first_error_are_given_out(count: int, workers: int) -> None:
    for bad in range(count):
        sources = [b"broken" if i >= bad else grey(i) for i in range(count)]
        found: list[int] = []
        with pytest.raises(ImageError, match=f"^image {bad} is not"):
            for batch in iterate_batches(sources, SMALL, batch_size=12, workers=workers):
                found += batch.indices
        assert found == list(range(bad - bad % 12))


def test_batches_given_out_stay_as_they_are() -> None:
    first, *others = list(iterate_batches([grey(i) for i in range(100)], SMALL, batch_size=8))
    assert others
    assert np.array_equal(first.pixels[:, 0, 0, 0], range(8))


class Record:
    """Which thread took each task; from the second on, tasks wait for the gate, which so many threads open."""

    def __init__(self) -> None:
        self.threads_to_open = 0
        self.threads: list[threading.Thread] = []
        self.gate = threading.Event()


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    made = Record()
    plain = Preprocessing.resize_into

    def resize_into(self: Preprocessing, *arguments: Any, **options: Any) -> dict[int, ImageError]:
        made.threads.append(threading.current_thread())
        if len(set(made.threads)) == made.threads_to_open:
            made.gate.set()
        if len(made.threads) > 1:
            assert made.gate.wait(20)
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Preprocessing, "resize_into", resize_into)
    return made


@pytest.mark.parametrize(("count", "workers", "alone"), [(1, 2, 60), (30, 2, 60), (30, 1, 0), (0, 2, 0)])
def test_a_small_input_needs_no_other_thread(
    record: Record, monkeypatch: pytest.MonkeyPatch, count: int, workers: int, alone: float
) -> None:
    monkeypatch.setattr(batches_module, "ALONE_S", alone)
    record.gate.set()
    found = list(iterate_batches([grey(i) for i in range(count)], SMALL, workers=workers))
    assert [int(crop[0, 0, 0]) for batch in found for crop in batch.pixels] == list(range(count))
    assert set(record.threads) <= {threading.current_thread()}


def test_what_takes_long_is_shared(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "ALONE_S", 0)
    record.threads_to_open = 3
    (batch,) = iterate_batches([b"broken", *(grey(i) for i in range(1, 30))], SMALL, on_unreadable=print, workers=3)
    assert [int(crop[0, 0, 0]) for crop in batch.pixels] == list(range(1, 30))
    assert len(set(record.threads)) == 3


def test_what_helpers_do_not_begin_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Starved(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
            return Future()  # handed out, and never begun

    monkeypatch.setattr(batches_module, "ThreadPoolExecutor", Starved)
    monkeypatch.setattr(batches_module, "ALONE_S", 0)
    (batch,) = iterate_batches([grey(i) for i in range(30)], SMALL, workers=4)
    assert [int(crop[0, 0, 0]) for crop in batch.pixels] == list(range(30))


def test_closing_early_leaves_the_rest_undecoded(record: Record) -> None:
    batches = iterate_batches((grey(0) for _ in range(1000)), SMALL, batch_size=MOST, workers=1)
    next(batches)
    threading.Timer(0.05, record.gate.set).start()
    batches.close()  # type: ignore[attr-defined]
    assert len(record.threads) <= 2
    assert not any(thread.name.startswith("decode") for thread in threading.enumerate())


def test_an_error_of_the_source_itself_comes_through() -> None:
    def film() -> Iterator[ImageSource]:
        yield from (grey(i) for i in range(20))
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"):
        list(iterate_batches(film(), SMALL, batch_size=4))


def test_the_default_is_the_cores_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Counting(ThreadPoolExecutor):
        def __init__(self, workers: int, **options: Any) -> None:
            asked.append(workers)
            super().__init__(workers, **options)

    monkeypatch.setattr(batches_module, "ThreadPoolExecutor", Counting)
    monkeypatch.setattr(batches_module, "usable_cores", lambda: 3)
    list(iterate_batches([grey(0)] * 9, SMALL, batch_size=2))
    list(iterate_batches([grey(0)] * 9, SMALL, batch_size=2, workers=5))
    assert asked == [3, 5]


class Recorder(Image.Image):
    """An image that records which thread loads it."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__.update(Image.new("RGB", (2, 4), (7, 7, 7)).__dict__)
        self.threads: set[str] = set()

    def load(self) -> Any:
        self.threads.add(threading.current_thread().name)
        return super().load()


@pytest.mark.parametrize("count", [3, 40])
def test_pil_images_are_loaded_in_the_callers_thread(count: int) -> None:
    images = [Recorder() for _ in range(count)]
    batches = list(iterate_batches(images, SMALL, batch_size=8, workers=2))
    assert all((batch.pixels == 7).all() for batch in batches)
    assert {name for image in images for name in image.threads} == {threading.current_thread().name}


def test_one_lazy_image_may_be_given_many_times(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "crop.png", exif=exif)
    expected = SMALL.resize(tmp_path / "crop.png")
    with Image.open(tmp_path / "crop.png") as image:
        batches = list(iterate_batches([image] * 40, SMALL, batch_size=8, workers=4))
    assert all(np.array_equal(crop, expected) for batch in batches for crop in batch.pixels)


def test_closed_pil_images_are_named_and_can_be_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (2, 4)).save(tmp_path / "crop.png")
    with Image.open(tmp_path / "crop.png") as closed:
        pass
    sources = [grey(0), closed, grey(2)]
    with pytest.raises(ImageError, match="^image 1 was closed before its pixels were read"):
        list(iterate_batches(sources, SMALL))
    left_out: list[int] = []
    (batch,) = iterate_batches(sources, SMALL, on_unreadable=lambda index, error: left_out.append(index))
    assert (batch.indices, left_out) == ((0, 2), [1])
    assert batch.pixels[:, 0, 0, 0].tolist() == [0, 2]
