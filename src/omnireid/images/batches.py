"""Many images, decoded in threads, in bounded memory and in their own order."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from omnireid.errors import ImageError
from omnireid.images.decode import ImageSource, RgbArray, rgb_pixels
from omnireid.images.preprocess import Preprocessing
from omnireid.machine import usable_cores

FEWEST, MOST = 2, 8
"""Crops per task. A crop of Market-1501 took 175 µs of CPU time in tasks of one, 140 in tasks of two, 125 in tasks of 8
and 122 in tasks of 32."""

ALONE_S = 0.002
"""How long the caller's thread decodes a single batch before others help, in seconds. Starting a helper costs 0.1 ms
if a core is idle and 4 ms if none is."""

_NO_IMAGE = np.zeros((1, 1, 3), dtype=np.uint8)  # stands in for a PIL image that could not be read


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of resized crops.

    Attributes:
        indices: Position of each crop among the sources, ascending.
        pixels: (N, height, width, 3) uint8 RGB.
    """

    indices: tuple[int, ...]
    pixels: RgbArray


def iterate_batches(
    sources: Iterable[ImageSource],
    preprocessing: Preprocessing,
    *,
    batch_size: int = 32,
    workers: int | None = None,
    on_unreadable: Callable[[int, ImageError], None] | None = None,
) -> Iterator[Batch]:
    """Decode and resize `sources` in threads, and yield them in order, `batch_size` at a time.

    The next batch is decoded while the caller uses this one. There are never more than two, however slow the caller
    is. Threads suffice because decoding and resizing release the GIL. Sources that fit one batch, such as the crops
    of a video frame, are decoded in the caller's thread, and other threads help only if that takes longer than
    `ALONE_S`. PIL images are always decoded in the caller's thread, because Pillow's lazy loading is not thread-safe.

    Args:
        sources: Paths, bytes, PIL images or arrays.
        preprocessing: Gives the size to resize to.
        batch_size: Crops per batch. The last batch may be smaller.
        workers: Number of threads, by default one per usable core.
        on_unreadable: Called with the position and the error of each crop that
            cannot be decoded, which is then left out. Without it the error is raised.

    Raises:
        ImageError: a crop cannot be decoded; the first one, in the order of the sources.
    """
    decoded = _decoded(sources, preprocessing, batch_size, workers or usable_cores(), on_unreadable)
    with closing(decoded):
        rest = Batch((), np.empty((0, preprocessing.height, preprocessing.width, 3), dtype=np.uint8))
        for batch in decoded:
            if not rest.indices and len(batch.indices) == batch_size:
                yield batch
                continue
            rest = Batch(rest.indices + batch.indices, np.concatenate([rest.pixels, batch.pixels]))
            if len(rest.indices) >= batch_size:
                yield Batch(rest.indices[:batch_size], rest.pixels[:batch_size])
                rest = Batch(rest.indices[batch_size:], rest.pixels[batch_size:])
        if rest.indices:
            yield rest


def _decoded(
    sources: Iterable[ImageSource],
    preprocessing: Preprocessing,
    batch_size: int,
    workers: int,
    on_unreadable: Callable[[int, ImageError], None] | None,
) -> Generator[Batch]:
    """Decode `batch_size` sources at a time. A batch lacks those that cannot be read."""
    numbered = enumerate(sources)
    first, second = list(islice(numbered, batch_size)), list(islice(numbered, batch_size))
    if not second:
        if first:
            yield _finished(first, preprocessing, workers).result(on_unreadable)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as threads:
        waiting = deque(_Work(crops, preprocessing, workers) for crops in (first, second))
        for work in waiting:
            work.submit(threads)
        try:
            while waiting:
                yield waiting.popleft().result(on_unreadable)
                if crops := list(islice(numbered, batch_size)):
                    waiting.append(_Work(crops, preprocessing, workers))
                    waiting[-1].submit(threads)
        finally:
            for work in waiting:
                work.cancel()


def _finished(crops: Sequence[tuple[int, ImageSource]], preprocessing: Preprocessing, workers: int) -> _Work:
    """Decode a single batch in this thread and, if that takes long, in others too."""
    work = _Work(crops, preprocessing, len(crops) // FEWEST)
    if not work.advance(ALONE_S if workers > 1 else math.inf):
        with ThreadPoolExecutor(workers - 1, thread_name_prefix="decode") as helpers:
            work.submit(helpers)
            work.take_back()
    return work


class _Work:
    """A batch that is being decoded: its memory, and tasks that each fill some of its rows."""

    def __init__(self, crops: Sequence[tuple[int, ImageSource]], preprocessing: Preprocessing, parts: int) -> None:
        self._indices = [index for index, _ in crops]
        self._sources = [source for _, source in crops]
        self._preprocessing = preprocessing
        self._pixels = np.empty((len(crops), preprocessing.height, preprocessing.width, 3), dtype=np.uint8)
        self._size = min(MOST, max(FEWEST, -(-len(crops) // max(1, parts))))
        self._left = deque(range(0, len(crops), self._size))
        self._tasks: dict[int, Future[dict[int, ImageError]]] = {}
        self._errors = self._read_pil_images()

    def advance(self, seconds: float) -> bool:
        """Do tasks in this thread for about `seconds`. Returns whether all are done."""
        end = time.perf_counter() + seconds
        while self._left and time.perf_counter() < end:
            self._errors |= self._fill(self._left.popleft())
        return not self._left

    def submit(self, threads: Executor) -> None:
        """Hand the remaining tasks to `threads`."""
        self._tasks = {start: threads.submit(self._fill, start) for start in self._left}
        self._left.clear()

    def take_back(self) -> None:
        """Do in this thread the tasks that no other has begun, from the last one on, as others begin with the first."""
        for start in reversed(list(self._tasks)):
            if self._tasks[start].cancel():
                del self._tasks[start]
                self._errors |= self._fill(start)

    def result(self, on_unreadable: Callable[[int, ImageError], None] | None) -> Batch:
        """Wait for the batch. Raises the first error, or reports all of them in order and leaves those crops out."""
        errors = dict(self._errors)
        for task in self._tasks.values():
            errors |= task.result()
        for row in sorted(errors):
            if on_unreadable is None:
                raise errors[row]
            on_unreadable(self._indices[row], errors[row])
        indices = tuple(self._indices)
        if not errors:
            return Batch(indices, self._pixels)
        kept = [row for row in range(len(indices)) if row not in errors]
        return Batch(tuple(indices[row] for row in kept), self._pixels[kept])

    def cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def _read_pil_images(self) -> dict[int, ImageError]:
        """Replace PIL images by their pixels. Returns the errors of those that cannot be read, by row of the batch."""
        errors: dict[int, ImageError] = {}
        for row, source in enumerate(self._sources):
            if isinstance(source, Image.Image):
                try:
                    self._sources[row] = rgb_pixels(source, name=f"image {self._indices[row]}")
                except ImageError as error:
                    self._sources[row], errors[row] = _NO_IMAGE, error
        return errors

    def _fill(self, start: int) -> dict[int, ImageError]:
        """Decode and resize into the rows from `start` on. Returns the errors by row of the batch."""
        end = start + self._size
        sources = self._sources[start:end]
        numbered = zip(self._indices[start:end], sources, strict=True)
        names = [None if isinstance(source, (str, os.PathLike)) else f"image {index}" for index, source in numbered]
        errors = self._preprocessing.resize_into(self._pixels[start:end], sources, names=names)
        return {start + row: error for row, error in errors.items()}
