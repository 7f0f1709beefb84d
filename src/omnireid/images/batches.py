"""Many images, decoded in threads, in bounded memory and in their own order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from omnireid.errors import ImageError
from omnireid.images.decode import ImageSource, RgbArray
from omnireid.images.preprocess import Preprocessing


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

    At most two batches wait, however slow the consumer is. Pillow gives up the
    interpreter's lock while it decodes and resizes, so threads are enough.

    Args:
        sources: paths, bytes, PIL images or arrays.
        preprocessing: the size to resize to.
        batch_size: crops a batch; the last may be smaller.
        workers: threads; the number of cores by default.
        on_unreadable: called with position and error of a crop that cannot be
            decoded, which is then left out; without it the error is raised.

    Raises:
        ImageError: the first unreadable crop, in the order of the sources.
    """

    def decode(index: int, source: ImageSource) -> RgbArray:
        name = None if isinstance(source, (str, os.PathLike)) else f"image {index}"
        return preprocessing.resize(source, name=name)

    with ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="decode") as threads:
        numbered = enumerate(sources)
        waiting: deque[tuple[int, Future[RgbArray]]] = deque()
        indices: list[int] = []
        crops: list[RgbArray] = []
        try:
            while True:
                room = 2 * batch_size - len(waiting)
                waiting.extend((i, threads.submit(decode, i, source)) for i, source in islice(numbered, room))
                if not waiting:
                    break
                index, future = waiting.popleft()
                try:
                    crops.append(future.result())
                    indices.append(index)
                except ImageError as error:
                    if on_unreadable is None:
                        raise
                    on_unreadable(index, error)
                if len(crops) == batch_size:
                    yield Batch(tuple(indices), np.stack(crops))
                    indices, crops = [], []
            if crops:
                yield Batch(tuple(indices), np.stack(crops))
        finally:
            for _, future in waiting:
                future.cancel()
