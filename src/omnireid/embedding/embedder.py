"""From images to embeddings: one `Embedder`, whatever runs the network."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from omnireid.embedding.choice import choose
from omnireid.embedding.network import Network, RunNetwork, check_threads
from omnireid.embedding.options import Precision, RuntimeName, RuntimeOptions
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import DeviceMemoryError, EmbeddingError, ImageError, ShapeError
from omnireid.files import sha256_of
from omnireid.images.batches import Batch, iterate_batches
from omnireid.images.decode import ImageSource, RgbArray
from omnireid.progress import progress_bar
from omnireid.types import ByteArray, FloatArray, IntArray
from omnireid.weights.artefact import WeightsMetadata
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.shipped import DEFAULT_WEIGHTS

FEW = 32
"""Up to so many images are embedded as one batch with all threads, for the answer's sake; more as a stream."""


@dataclass(frozen=True)
class Embedder:
    """A network ready to embed crops.

    Attributes:
        metadata: what the weights are and how their input is prepared.
        weights: the file they came from.
        weights_sha256: SHA-256 of the weights; stored embeddings carry it. That of the file; of a float graph, that
            of the file it was exported from, so that their embeddings may be compared.
        network: what runs them.
        choice: which runtime was taken, and why, in one line.
        batch_size: crops per step of the network, unless a call asks for another size; None leaves it to the network.
    """

    metadata: WeightsMetadata
    weights: Path
    weights_sha256: str
    network: Network
    choice: str = ""
    batch_size: int | None = None

    @property
    def runtime(self) -> RuntimeName:
        """What runs the network."""
        return self.network.runtime

    @property
    def precision(self) -> Precision:
        """What the network computes in."""
        return self.network.precision

    def embed(
        self,
        images: Iterable[ImageSource] | ByteArray,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> FloatArray:
        """Embed images: one row each, in their order.

        Args:
            images: paths, bytes, PIL images or (H, W, 3) RGB uint8 arrays, of any
                sizes; or one (N, H, W, 3) array.
            batch_size: crops a step of the network; by default what suits it. It changes the speed, and of the result
                no more than the precision's last digits.
            progress: show a bar on standard error.

        Returns:
            (N, D) float32, not normalised; (0, D) for no image.

        Raises:
            ImageError: an image cannot be decoded; the message names it.
            ShapeError: one image was given instead of several.
            EmbeddingError: the network gave a value that is not finite.
        """
        if isinstance(images, (str, bytes, os.PathLike, Image.Image)) or (
            isinstance(images, np.ndarray) and images.ndim in (2, 3)
        ):
            raise ShapeError("embed takes several images. For a single one write embed([image])[0].")
        total = len(images) if isinstance(images, Sized) else None
        parts = [np.empty((0, self.metadata.embedding_dimension), dtype=np.float32)]
        with progress_bar("embed", total, show=progress) as advance:
            for indices, embeddings in self.embed_batches(images, batch_size=batch_size):
                parts.append(embeddings)
                advance(len(indices))
        return np.concatenate(parts)

    def embed_batches(
        self,
        images: Iterable[ImageSource],
        *,
        batch_size: int | None = None,
        on_unreadable: Callable[[int, ImageError], None] | None = None,
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Embed images as a stream: positions (n,) and embeddings (n, D) of each batch, in order.

        Decoding and as many batches as the network runs well beside each other go on at once; a few more wait, so
        memory does not grow with the number of images.

        Args:
            images: as for `embed`; taken as needed, so an endless stream is fine.
            batch_size: crops a step of the network; by default what suits it.
            on_unreadable: called with position and error of an image that cannot
                be decoded, which is then left out; without it the error is raised.
        """
        if batch_size is not None and batch_size < 1:
            raise ShapeError(f"A batch has at least one crop; got batch_size={batch_size}.")
        batch_size = self.batch_size if batch_size is None else batch_size
        few = batch_size is None and isinstance(images, Sized) and len(images) <= FEW
        size = FEW if few else batch_size or self.network.batch_size
        batches = iterate_batches(images, self.metadata.preprocessing, batch_size=size, on_unreadable=on_unreadable)
        run_stream = self.network.run_stream
        if few or run_stream is None:
            for batch in batches:
                yield np.asarray(batch.indices, dtype=np.int64), self._run(self.network.run, batch)
            return
        waiting: deque[tuple[Batch, Future[FloatArray]]] = deque()
        with ThreadPoolExecutor(self.network.streams, thread_name_prefix="network") as threads:
            try:
                for batch in batches:
                    waiting.append((batch, threads.submit(self._run, run_stream, batch)))
                    if len(waiting) > self.network.streams:
                        done, embeddings = waiting.popleft()
                        yield np.asarray(done.indices, dtype=np.int64), embeddings.result()
                while waiting:
                    done, embeddings = waiting.popleft()
                    yield np.asarray(done.indices, dtype=np.int64), embeddings.result()
            finally:
                for _, future in waiting:
                    future.cancel()

    def _run(self, run: RunNetwork, batch: Batch) -> FloatArray:
        embeddings = run_halving(run, batch.pixels)
        finite = np.isfinite(embeddings).all(axis=1)
        if not finite.all():
            first = batch.indices[int(np.argmin(finite))]
            remedy = "use an earlier checkpoint" if self.precision == "fp32" else "try --precision fp32"
            raise EmbeddingError(
                f"The network gave a value that is not finite for image {first}. The weights in {self.weights} "
                f"are damaged, or hold numbers that {self.precision} cannot carry: see omnireid inspect, and {remedy}."
            )
        return embeddings


def run_halving(run: RunNetwork, pixels: RgbArray) -> FloatArray:
    """Run a batch; where memory is too small for it, in halves, with a warning.

    Raises:
        DeviceMemoryError: there is not enough for a single crop.
    """
    try:
        return run(pixels)
    except DeviceMemoryError:
        half = len(pixels) // 2
        if not half:
            raise
        warnings.warn(
            f"No memory for a batch of {len(pixels)} crops; it goes on with {half}. A smaller --batch-size "
            "(batch_size=…) saves the attempt.",
            RuntimeWarning,
            stacklevel=2,
        )
        return np.concatenate([run_halving(run, pixels[:half]), run_halving(run, pixels[half:])])


def load_embedder(
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS, options: RuntimeOptions = RuntimeOptions()
) -> Embedder:
    """Load weights into something that embeds.

    Args:
        weights: Name of weights that ship with omnireid (by default the small network
            `DEFAULT_WEIGHTS`, whose training data is for research only); an omnireid
            artefact (``.safetensors``, or a graph, ``.onnx`` or ``.xml``); a public OSNet
            checkpoint (``.pth``, ``.pt``, ``.pth.tar``); or an address,
            ``hf://owner/repository/file[@revision]`` or ``https://…#sha256=…``.
        options: How the model is run. The defaults suit most machines.

    Raises:
        WeightsNotFoundError: no such file or name, or a build without the default weights.
        WeightsError: the file cannot be used; see the errors below it.
        ModelError: no such device, a precision the runtime lacks, or more threads than cores.
        MissingDependencyError: the runtime is not installed.
    """
    check_threads(options.threads)
    path = resolve_weights(weights)
    weights_file = WeightsFile(path, options.architecture)
    device, threads = options.device, options.threads
    candidates = weights_file.candidates(options.runtime, options.precision, device=device, threads=threads)
    size = weights_file.metadata.preprocessing
    depends_on = [sha256_of(path), device, str(threads)]
    network, choice = choose(candidates, height=size.height, width=size.width, depends_on=depends_on)
    return Embedder(
        weights_file.metadata, path, weights_file.sha256, network, choice.text(), batch_size=options.batch_size
    )
