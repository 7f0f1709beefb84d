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

from omnireid.errors import ImageError
from omnireid.images.decode import ImageSource, RgbArray
from omnireid.images.preprocess import Preprocessing
from omnireid.machine import usable_cores

FEWEST, MOST = 2, 8
"""Crops a task. Market-1501's queries took 175 µs of CPU time each in tasks of one, 140 of two, 125 of 8, 122 of 32."""

ALONE_S = 0.002
"""Seconds a thread decodes alone what fits one batch: a helper costs 0.1 ms where a core is idle, 4 ms where not."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Up to a batch of crops, resized.

    Attributes:
        indices: position of each crop among the sources, ascending.
        pixels: (N, height, width, 3) uint8.
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
    """Decode and resize `sources` in threads; give them in order, `batch_size` at a time.

    Two batches are in work, and no more, however slow the consumer is: the next is decoded while this one is used.
    Decoding and resizing give up the interpreter's lock, so threads are enough. What fits one batch (the crops of a
    video frame) is begun in the caller's thread, and only what is not done within `ALONE_S` is shared with others.

    Args:
        sources: paths, bytes, PIL images or arrays.
        preprocessing: the size to resize to.
        batch_size: crops a batch; the last may be smaller.
        workers: threads; the number of usable cores by default.
        on_unreadable: called with position and error of a crop that cannot be
            decoded, which is then left out; without it the error is raised.

    Raises:
        ImageError: the first unreadable crop, in the order of the sources.
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
    """Each `batch_size` sources in a row, less the unreadable ones."""
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
    """All of the input, done in this thread and, if it takes long, in others."""
    work = _Work(crops, preprocessing, len(crops) // FEWEST)
    if not work.advance(ALONE_S if workers > 1 else math.inf):
        with ThreadPoolExecutor(workers - 1, thread_name_prefix="decode") as helpers:
            work.submit(helpers)
            work.take_back()
    return work


class _Work:
    """A batch in the making: its memory, and tasks that each fill some rows of it."""

    def __init__(self, crops: Sequence[tuple[int, ImageSource]], preprocessing: Preprocessing, parts: int) -> None:
        self._crops = crops
        self._preprocessing = preprocessing
        self._pixels = np.empty((len(crops), preprocessing.height, preprocessing.width, 3), dtype=np.uint8)
        self._size = min(MOST, max(FEWEST, -(-len(crops) // max(1, parts))))
        self._left = deque(range(0, len(crops), self._size))
        self._tasks: dict[int, Future[dict[int, ImageError]]] = {}
        self._errors: dict[int, ImageError] = {}

    def advance(self, seconds: float) -> bool:
        """Do tasks in this thread for about so long; whether that was all."""
        end = time.perf_counter() + seconds
        while self._left and time.perf_counter() < end:
            self._errors |= self._fill(self._left.popleft())
        return not self._left

    def submit(self, threads: Executor) -> None:
        """Hand what is left to `threads`."""
        self._tasks = {start: threads.submit(self._fill, start) for start in self._left}
        self._left.clear()

    def take_back(self) -> None:
        """Do in this thread what no other has begun: from the end, since they begin at the front."""
        for start in reversed(list(self._tasks)):
            if self._tasks[start].cancel():
                del self._tasks[start]
                self._errors |= self._fill(start)

    def result(self, on_unreadable: Callable[[int, ImageError], None] | None) -> Batch:
        """Wait; raise the first error or report them all, in order; give what is readable."""
        errors = dict(self._errors)
        for task in self._tasks.values():
            errors |= task.result()
        for row in sorted(errors):
            if on_unreadable is None:
                raise errors[row]
            on_unreadable(self._crops[row][0], errors[row])
        indices = tuple(index for index, _ in self._crops)
        if not errors:
            return Batch(indices, self._pixels)
        kept = [row for row in range(len(indices)) if row not in errors]
        return Batch(tuple(indices[row] for row in kept), self._pixels[kept])

    def cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def _fill(self, start: int) -> dict[int, ImageError]:
        """Decode and resize into the rows from `start` on; the errors by row of the batch."""
        part = self._crops[start : start + self._size]
        names = [None if isinstance(source, (str, os.PathLike)) else f"image {index}" for index, source in part]
        rows = self._pixels[start : start + self._size]
        errors = self._preprocessing.resize_into(rows, [source for _, source in part], names=names)
        return {start + row: error for row, error in errors.items()}
