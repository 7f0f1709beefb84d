"""Many images, decoded in threads, in bounded memory and in their own order."""

from __future__ import annotations

import os
import sys
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

FEWEST, MOST = 2, 8
"""Crops a task: below, a thread costs more than it saves; above, nothing more is saved, but a batch ends unevenly."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Up to a batch of crops, resized.

    Attributes:
        indices: position of each crop among the sources, ascending.
        pixels: (N, height, width, 3) uint8.
    """

    indices: tuple[int, ...]
    pixels: RgbArray


def usable_cores() -> int:
    """How many cores this process may use: a container or taskset may allow fewer than the machine has."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    video frame) starts at once in the caller's thread, and is shared with others only where there is something to
    share.

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
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as threads:
        if not second:
            if first:
                yield _Work(first, preprocessing, threads, workers, at_once=True).result(on_unreadable)
            return
        waiting = deque(_Work(crops, preprocessing, threads, workers) for crops in (first, second))
        try:
            while waiting:
                yield waiting.popleft().result(on_unreadable)
                if crops := list(islice(numbered, batch_size)):
                    waiting.append(_Work(crops, preprocessing, threads, workers))
        finally:
            for work in waiting:
                work.cancel()


class _Work:
    """A batch in the making: its memory, and the tasks that each fill some rows of it."""

    def __init__(
        self,
        crops: Sequence[tuple[int, ImageSource]],
        preprocessing: Preprocessing,
        threads: Executor,
        workers: int,
        *,
        at_once: bool = False,
    ) -> None:
        self._indices = tuple(index for index, _ in crops)
        self._pixels = np.empty((len(crops), preprocessing.height, preprocessing.width, 3), dtype=np.uint8)
        size = min(MOST, max(FEWEST, -(-len(crops) // workers)))

        def fill(start: int) -> dict[int, ImageError]:
            """Rows from `start`; the errors by row of the batch."""
            part = crops[start : start + size]
            names = [None if isinstance(source, (str, os.PathLike)) else f"image {index}" for index, source in part]
            rows = self._pixels[start : start + size]
            errors = preprocessing.resize_into(rows, [source for _, source in part], names=names)
            return {start + row: error for row, error in errors.items()}

        starts = range(0, len(crops), size)
        self._tasks: list[Future[dict[int, ImageError]]] = [
            threads.submit(fill, start) for start in starts[1 if at_once else 0 :]
        ]
        self._errors = fill(0) if at_once else {}

    def result(self, on_unreadable: Callable[[int, ImageError], None] | None) -> Batch:
        """Wait; raise the first error or report them all, in order; give what is readable."""
        errors = dict(self._errors)
        for task in self._tasks:
            if errors and on_unreadable is None:
                break
            errors.update(task.result())
        for row, error in errors.items():
            if on_unreadable is None:
                self.cancel()
                raise error
            on_unreadable(self._indices[row], error)
        if not errors:
            return Batch(self._indices, self._pixels)
        kept = [row for row in range(len(self._indices)) if row not in errors]
        return Batch(tuple(self._indices[row] for row in kept), self._pixels[kept])

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
