"""Crops of several requests in one batch of the network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from omnireid.embedding.embedder import FEW, Embedder
from omnireid.images.decode import RgbArray
from omnireid.service.work_queue import WorkQueue
from omnireid.types import FloatArray

LONGEST_WAIT_S = 0.005
"""Time that a crop waits for others where only one batch runs at a time, as on an accelerator."""

_MOST_WAITING = 1024


class EmbedBatch(Protocol):
    """Embeds one batch; see `Embedder.embed_decoded`."""

    def __call__(self, crops: Sequence[RgbArray], *, beside_others: bool) -> FloatArray:
        """(N, D) embeddings of N decoded crops."""


@dataclass(eq=False)
class _Request:
    """Crops that are answered together, though several threads may embed them."""

    crops: Sequence[RgbArray]
    is_alone: bool
    embedded: Future[FloatArray] = field(default_factory=Future)
    rows: dict[int, FloatArray] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, index: int, row: FloatArray) -> None:
        """Take the embedding of a crop. The request is answered when it has all of them."""
        with self.lock:
            self.rows[index] = row
            is_complete = len(self.rows) == len(self.crops)
        if is_complete and self.embedded.set_running_or_notify_cancel():
            self.embedded.set_result(np.stack([self.rows[index] for index in range(len(self.crops))]))

    def fail(self, error: Exception) -> None:
        """Answer the request with an error, unless it was answered with one already."""
        with self.lock:
            if not self.embedded.done() and self.embedded.set_running_or_notify_cancel():
                self.embedded.set_exception(error)


class SharedBatches:
    """Threads that embed the crops of requests together, so that many small ones cost little more than one.

    Nobody's error reaches another: a batch that fails is embedded again crop by crop. Batches run side by side, one on
    each core; a request that is the only one runs on all cores.
    """

    def __init__(
        self,
        embed: EmbedBatch,
        on_batch: Callable[[int], None],
        *,
        most_crops: int,
        side_by_side: int = 1,
        wait_s: float = 0.0,
    ) -> None:
        """No thread runs yet.

        Args:
            embed: Embeds up to `most_crops` crops.
            on_batch: Called with the number of crops of each batch.
            most_crops: Crops of a batch.
            side_by_side: Number of batches that run side by side.
            wait_s: Seconds that a crop waits for others while the network is idle.
        """
        self._embed = embed
        self._on_batch = on_batch
        self._queue: WorkQueue[tuple[_Request, int]] = WorkQueue(
            "batches",
            self._embed_together,
            _MOST_WAITING,
            f"{_MOST_WAITING:,} crops wait for the network already. Try again in a second.",
            most_crops,
            side_by_side,
            wait_s,
        )

    def start(self) -> None:
        """Start the threads."""
        self._queue.start()

    def stop(self) -> None:
        """Embed what waits, and stop the threads."""
        self._queue.stop()

    def submit(self, crops: Sequence[RgbArray], *, is_alone: bool = False) -> Future[FloatArray]:
        """The (N, D) embeddings of N decoded crops, to come.

        Args:
            crops: The crops.
            is_alone: Nobody else waits for an answer, so the request may have all cores.

        Raises:
            BusyError: too many crops wait.
        """
        request = _Request(crops, is_alone)
        self._queue.put([(request, index) for index in range(len(crops))])
        return request.embedded

    def _embed_together(self, crops: Sequence[tuple[_Request, int]]) -> None:
        wanted = [(request, index) for request, index in crops if not request.embedded.done()]
        if not wanted:
            return
        try:
            self._on_batch(len(wanted))
            decoded = [request.crops[index] for request, index in wanted]
            first, _ = wanted[0]
            is_alone = first.is_alone and len(first.crops) == len(wanted) == [one for one, _ in wanted].count(first)
            embeddings = self._embed(decoded, beside_others=not is_alone)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the requests, and the thread goes on
            if len(wanted) == 1:
                wanted[0][0].fail(error)
                return
            for one in wanted:
                self._embed_together([one])
            return
        for (request, index), row in zip(wanted, embeddings, strict=True):
            request.answer(index, row)


def shared_batches(embedder: Embedder, on_batch: Callable[[int], None]) -> SharedBatches:
    """Batches as a network embeds most crops a second.

    On a processor that is one small batch for each core, and none waits for others, because a crop costs hardly more
    alone than in a batch. Where one batch runs at a time, it is as large as `Embedder.embed` takes at once.
    """
    network = embedder.network
    if network.run_stream is None:
        size = embedder.batch_size or FEW
        return SharedBatches(embedder.embed_decoded, on_batch, most_crops=size, wait_s=LONGEST_WAIT_S)
    size = embedder.batch_size or network.batch_size
    return SharedBatches(embedder.embed_decoded, on_batch, most_crops=size, side_by_side=network.streams)
