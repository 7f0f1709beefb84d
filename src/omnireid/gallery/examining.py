"""Crops on their way into a gallery: each is decoded once, for its quality and for the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from omnireid.errors import ImageError
from omnireid.images.decode import RgbArray, rgb_pixels
from omnireid.images.preprocess import Preprocessing
from omnireid.images.quality import Quality, measure_crop
from omnireid.machine import usable_cores

_EXAMINED_TOGETHER = 32
_PARTS_AHEAD = 2
"""Parts that wait for each thread. They are small: what waits has the size that the network takes."""

_NOTHING = np.zeros((1, 1, 3), dtype=np.uint8)


@dataclass
class Examination:
    """Which of N crops are good enough, found out while they are read.

    Attributes:
        paths: Their files.
        preprocessing: What the network takes.
        poor: Row to what is known to be wrong with a crop before it is decoded.
        keep_all: Take crops of low quality too.
        skip_unreadable: Leave out crops that cannot be decoded, instead of stopping at the first.
        advance: Called with the number of crops that were left out since the last call.
        rows: The crops that were taken so far, in their order.
        sharpness: Their sharpness.
        left_out: The other crops so far, as (path, reason).
        failure: The error of the crop at which the examination stopped.
    """

    paths: Sequence[Path]
    preprocessing: Preprocessing
    poor: Mapping[int, str]
    keep_all: bool
    skip_unreadable: bool
    advance: Callable[[int], None]
    rows: list[int] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    failure: ImageError | None = None

    def images(self) -> Iterator[RgbArray]:
        """The crops that are taken, in the size of the network, until one stops the examination."""
        for row, (measured, pixels) in enumerate(_examine_files(self.paths, self.preprocessing)):
            if isinstance(measured, ImageError):
                if not self.skip_unreadable:
                    self.failure = measured
                    return
                self._leave_out(row, str(measured))
                continue
            problem = None if self.keep_all else measured.problem or self.poor.get(row)
            if problem is not None:
                self._leave_out(row, problem)
                continue
            self.rows.append(row)
            self.sharpness.append(measured.sharpness)
            yield pixels

    def _leave_out(self, row: int, reason: str) -> None:
        self.left_out.append((str(self.paths[row]), reason))
        self.advance(1)


def _examine_files(
    paths: Sequence[Path], preprocessing: Preprocessing
) -> Iterator[tuple[Quality | ImageError, RgbArray]]:
    """Decode, measure and resize crops in threads, in their order. The pixels of one with an error are undefined."""
    parts = iter([paths[start : start + _EXAMINED_TOGETHER] for start in range(0, len(paths), _EXAMINED_TOGETHER)])
    workers = usable_cores()
    with ThreadPoolExecutor(workers, thread_name_prefix="examine") as threads:
        waiting: deque[Future[tuple[list[Quality | ImageError], RgbArray]]] = deque()
        try:
            for part in islice(parts, _PARTS_AHEAD * workers):
                waiting.append(threads.submit(_examine, part, preprocessing))
            while waiting:
                measured, pixels = waiting.popleft().result()
                for part in islice(parts, 1):
                    waiting.append(threads.submit(_examine, part, preprocessing))
                yield from zip(measured, pixels, strict=True)
        finally:
            for future in waiting:
                future.cancel()


def _examine(paths: Sequence[Path], preprocessing: Preprocessing) -> tuple[list[Quality | ImageError], RgbArray]:
    """Quality or error of each crop, and (N, height, width, 3) pixels."""
    pixels = np.empty((len(paths), preprocessing.height, preprocessing.width, 3), dtype=np.uint8)
    measured: list[Quality | ImageError] = []
    images = []
    for path in paths:
        try:
            images.append(rgb_pixels(path))
            measured.append(measure_crop(images[-1]))
        except ImageError as error:
            images.append(_NOTHING)
            measured.append(error)
    preprocessing.resize_into(pixels, images, names=[str(path) for path in paths])
    return measured, pixels
