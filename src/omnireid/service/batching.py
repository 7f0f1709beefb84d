"""Crops of several requests in one batch of the network."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from omnireid.errors import BusyError
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray

MOST_CROPS = 32
"""Crops of a batch: the embedder takes so many at once, on all threads."""

LONGEST_WAIT_S = 0.005
"""Time that the first crop of a batch waits for others."""

_MOST_WAITING = 1024


@dataclass
class SharedBatches:
    """A thread that embeds the crops of requests together, so that many small ones cost little more than one.

    A crop waits for others at most `LONGEST_WAIT_S` beyond the batch that is running. Nobody's error reaches another:
    a batch that fails is embedded again crop by crop.

    Attributes:
        embed: Embeds up to `MOST_CROPS` crops.
        on_batch: Told the number of crops of each batch.
    """

    embed: Callable[[Sequence[RgbArray]], FloatArray]
    on_batch: Callable[[int], None]
    _waiting: queue.Queue[tuple[RgbArray, Future[FloatArray]] | None] = field(
        default_factory=lambda: queue.Queue(_MOST_WAITING)
    )
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Embed what waits, and stop the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def submit(self, crop: RgbArray) -> Future[FloatArray]:
        """The (D,) embedding of a crop, to come.

        Raises:
            BusyError: too many crops wait.
        """
        made: Future[FloatArray] = Future()
        try:
            self._waiting.put_nowait((crop, made))
        except queue.Full:
            raise BusyError(f"{_MOST_WAITING:,} crops wait for the network already. Try again in a second.") from None
        return made

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            batch, is_last = self._gather(first)
            self._embed(batch)
            if is_last:
                return

    def _gather(
        self, first: tuple[RgbArray, Future[FloatArray]]
    ) -> tuple[list[tuple[RgbArray, Future[FloatArray]]], bool]:
        """The crops of a batch, and whether the thread is to stop after it."""
        batch, until = [first], time.monotonic() + LONGEST_WAIT_S
        while len(batch) < MOST_CROPS:
            try:
                one = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if one is None:
                return batch, True
            batch.append(one)
        return batch, False

    def _embed(self, batch: Sequence[tuple[RgbArray, Future[FloatArray]]]) -> None:
        wanted = [(crop, made) for crop, made in batch if made.set_running_or_notify_cancel()]
        if not wanted:
            return
        self.on_batch(len(wanted))
        try:
            embeddings = self.embed([crop for crop, _ in wanted])
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the requests, and the thread goes on
            if len(wanted) == 1:
                wanted[0][1].set_exception(error)
                return
            for crop, made in wanted:
                self._embed_alone(crop, made)
            return
        for row, (_, made) in enumerate(wanted):
            made.set_result(embeddings[row])

    def _embed_alone(self, crop: RgbArray, made: Future[FloatArray]) -> None:
        try:
            made.set_result(self.embed([crop])[0])
        except Exception as error:  # noqa: BLE001 - as above
            made.set_exception(error)
