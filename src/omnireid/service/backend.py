"""What a running service holds: the gallery, the network, its threads, and what waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from omnireid.embedding.chunks import provenance_of
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable
from omnireid.errors import BusyError
from omnireid.gallery.decision_writing import WantedDecision
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.identities import Decision
from omnireid.gallery.questions import Question
from omnireid.images.decode import RgbArray
from omnireid.images.quality import Quality, measure_crop
from omnireid.machine import usable_cores
from omnireid.service.adding import NewSighting, add_together
from omnireid.service.batching import shared_batches
from omnireid.service.crop_files import CropFiles
from omnireid.service.measurements import Measurements
from omnireid.service.options import ServiceOptions
from omnireid.service.tokens import TokenCheck
from omnireid.service.uploads import DECODING_SECONDS, Upload, decode_upload
from omnireid.service.writing import Writer
from omnireid.types import Crops, FloatArray

Result = TypeVar("Result")

_READERS = 8
_MOST_DECODING = 1024
_DECODED_TOGETHER = 8
"""Pictures of one request that a thread decodes before it takes those of another one."""

_WRITES_BEFORE_TIDYING = 200
"""Each write adds small files, which every later read has to open, so they are joined now and then."""


@dataclass(eq=False)
class Backend:
    """A gallery that is served.

    Blocking work runs in threads: decoding, the network, reading, slow reading (questions) and writing have their own,
    so that none of them waits for another.

    Attributes:
        gallery: The gallery, opened with its model.
        embedder: That model.
        crops: The pictures that may be shown.
        options: How it is served.
        tokens: Who may use it.
        measurements: What is counted.
        page: The files of the page by their names, each with its media type.
        questions: The questions that were asked last, by their sightings.
        is_stopping: Whether the service takes no new requests.
        open_requests: Number of requests without an answer yet.
    """

    gallery: Gallery
    embedder: Embedder
    crops: CropFiles
    options: ServiceOptions
    tokens: TokenCheck
    measurements: Measurements = field(default_factory=Measurements)
    page: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    questions: dict[tuple[int, int], Question] = field(default_factory=dict)
    is_stopping: bool = False
    open_requests: int = 0
    _decoding: int = 0
    _writes: int = 0

    @property
    def places(self) -> tuple[str, ...]:
        """Places of the server that no answer may name."""
        files = (*self.crops.roots, self.tokens.file, self.embedder.weights.absolute().parent)
        return tuple(str(path) for path in (self.gallery.database.uri, *files) if len(str(path)) > 1)

    def start(self) -> None:
        """Start the threads."""
        self.measurements.open.set_function(lambda: self.open_requests)
        self._decoders = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
        self._slow_reader = ThreadPoolExecutor(1, thread_name_prefix="questions")
        self._batches = shared_batches(self.embedder, self.measurements.batch_crops.observe)
        self._writer = Writer(self._tidy)
        self._batches.start()
        self._writer.start()

    def stop(self) -> None:
        """Finish what was accepted, and stop the threads."""
        self.is_stopping = True
        self._writer.stop()
        self._batches.stop()
        for threads in (self._decoders, self._readers, self._slow_reader):
            threads.shutdown()

    async def read(self, function: Callable[[], Result]) -> Result:
        """Read the gallery in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, function)

    async def read_slowly(self, function: Callable[[], Result]) -> Result:
        """Read the gallery in the thread for slow reads, one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._slow_reader, function)

    async def write(self, function: Callable[[], Result]) -> Result:
        """Write the gallery in its turn. It is written even if the caller goes away meanwhile."""
        return await _result_of(self._writer.call(function))

    async def add(self, new: NewSighting) -> Any:
        """Add a crop; see `omnireid.service.adding`."""
        adding = self._writer.put(self._add_together, new, ("add", new.group), keeps_order=False)
        return await _result_of(adding)

    async def decide(self, wanted: WantedDecision) -> Decision:
        """Take a decision, in one write with those that wait beside it; their order is that of their arrival.

        Raises:
            NotInGalleryError: it names somebody or something that is not there.
            DecisionError: it does not fit who is who after the decisions before it.
        """
        made: Decision = await _result_of(self._writer.put(self._decide_together, wanted, "decide"))
        return made

    async def embed(self, uploads: Sequence[Upload]) -> FloatArray:
        """(N, D) embeddings of N pictures, in batches that are shared with other requests.

        Raises:
            BusyError: too many pictures wait, or decoding takes too long.
            ImageError: a picture cannot be decoded.
        """
        images = await self._decode(uploads, self._prepare)
        return await self._embed(images)

    async def examine(self, upload: Upload) -> tuple[FloatArray, Quality]:
        """The (D,) embedding of a picture, in a batch that is shared with other requests, and its quality.

        Raises:
            BusyError: too many pictures wait, or decoding takes too long.
            ImageError: it cannot be decoded.
        """
        ((image, quality),) = await self._decode([upload], self._prepare_and_measure)
        return (await self._embed([image]))[0], quality

    async def _embed(self, images: Sequence[RgbArray]) -> FloatArray:
        return await asyncio.wrap_future(self._batches.submit(images, is_alone=self.open_requests == 1))

    def query_of(self, embedding: FloatArray, camera: str | None, time: datetime | None) -> EmbeddingTable:
        """A query for the gallery: an embedding that its model made, with camera and time where they are known."""
        known = {"camera_name": camera, "time": time}
        columns = {name: (value,) for name, value in known.items() if value is not None}
        return EmbeddingTable(Crops((Path("query"),), columns=columns), embedding[None], provenance_of(self.embedder))

    async def _decode(self, uploads: Sequence[Upload], prepare: Callable[[Upload], Result]) -> list[Result]:
        """What `prepare` makes of the pictures in the threads for decoding, within the limits for strangers."""
        if self._decoding + len(uploads) > _MOST_DECODING:
            raise BusyError(f"{self._decoding:,} pictures wait to be decoded already. Try again in a second.")
        loop, until = asyncio.get_running_loop(), time.monotonic() + DECODING_SECONDS
        size = min(_DECODED_TOGETHER, -(-len(uploads) // usable_cores()))
        tasks = []
        for start in range(0, len(uploads), size):
            part = uploads[start : start + size]
            self._decoding += len(part)
            tasks.append(loop.run_in_executor(self._decoders, _prepare_all, prepare, part, until))
            tasks[-1].add_done_callback(partial(self._end_decoding, len(part)))
        try:
            async with asyncio.timeout(DECODING_SECONDS):
                return [prepared for part in await asyncio.gather(*tasks) for prepared in part]
        except TimeoutError:
            raise BusyError(
                f"The pictures were not decoded within {DECODING_SECONDS:.0f} seconds. Send smaller ones, or fewer."
            ) from None

    def _prepare(self, upload: Upload) -> RgbArray:
        return self._small(decode_upload(upload))

    def _prepare_and_measure(self, upload: Upload) -> tuple[RgbArray, Quality]:
        pixels = decode_upload(upload)
        return self._small(pixels), measure_crop(pixels)

    def _small(self, pixels: RgbArray) -> RgbArray:
        """The picture as it waits for the network: no larger than the network's input.

        A smaller one is left as it is, because resizing those of a batch together takes half the time.
        """
        size = self.embedder.metadata.preprocessing
        return pixels if pixels.size <= 3 * size.height * size.width else size.resize(pixels)

    def _end_decoding(self, count: int, task: asyncio.Future[Any]) -> None:
        self._decoding -= count
        if not task.cancelled():
            task.exception()  # it was reported with the first error of its request

    def _add_together(self, new: Sequence[NewSighting]) -> Sequence[object]:
        self.measurements.write_group.observe(len(new))
        return add_together(self.gallery, self.crops, new)

    def _decide_together(self, wanted: Sequence[WantedDecision]) -> Sequence[object]:
        self.measurements.decision_group.observe(len(wanted))
        return self.gallery.decide_together(wanted)

    def _tidy(self) -> None:
        """Join the gallery's small files now and then."""
        self._writes += 1
        if self._writes % _WRITES_BEFORE_TIDYING == 0:
            self.gallery.tidy()


def _prepare_all(prepare: Callable[[Upload], Result], uploads: Sequence[Upload], until: float) -> list[Result]:
    """What `prepare` makes of the pictures, one after the other.

    Raises:
        TimeoutError: the time is past `until`, in seconds of `time.monotonic`, before all of them are begun.
    """
    prepared = []
    for upload in uploads:
        if time.monotonic() > until:
            raise TimeoutError
        prepared.append(prepare(upload))
    return prepared


async def _result_of(future: Future[Result]) -> Result:
    """The result of a future that goes on when the one who waits is gone."""
    return await asyncio.shield(asyncio.wrap_future(future))
