"""From images to embeddings: one `Embedder`, whatever runs the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from omnireid.embedding.artefact import WeightsMetadata
from omnireid.embedding.defaults import DEFAULT_WEIGHTS
from omnireid.embedding.fetch import resolve_weights
from omnireid.errors import EmbeddingError, ImageError, ModelError, ShapeError
from omnireid.files import sha256_of
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import ImageSource
from omnireid.progress import progress_bar
from omnireid.types import FloatArray, IntArray

RuntimeName = Literal["auto", "torch"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)

RunNetwork = Callable[[FloatArray], FloatArray]
"""A network in some runtime: (N, 3, H, W) float32, normalised, to (N, D) float32."""


@dataclass(frozen=True)
class Embedder:
    """A network ready to embed crops.

    Attributes:
        metadata: what the weights are and how their input is prepared.
        weights: the file they came from.
        weights_sha256: SHA-256 of that file; stored embeddings carry it.
        runtime: what runs the network.
        run: the network itself, from normalised batch to embeddings.
    """

    metadata: WeightsMetadata
    weights: Path
    weights_sha256: str
    runtime: RuntimeName
    run: RunNetwork = field(repr=False)

    def embed(
        self, images: Iterable[ImageSource] | npt.NDArray[np.uint8], *, batch_size: int = 32, progress: bool = False
    ) -> FloatArray:
        """Embed images: one row each, in their order.

        Args:
            images: paths, bytes, PIL images or (H, W, 3) RGB uint8 arrays, of any
                sizes; or one (N, H, W, 3) array.
            batch_size: crops a step of the network; it changes the speed, and of the result the last digit at most.
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
        batch_size: int = 32,
        on_unreadable: Callable[[int, ImageError], None] | None = None,
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Embed images as a stream: positions (n,) and embeddings (n, D) of each batch, in order.

        Args:
            images: as for `embed`; taken as needed, so an endless stream is fine.
            batch_size: crops a step of the network.
            on_unreadable: called with position and error of an image that cannot
                be decoded, which is then left out; without it the error is raised.
        """
        if batch_size < 1:
            raise ShapeError(f"A batch has at least one crop; got batch_size={batch_size}.")
        preprocessing = self.metadata.preprocessing
        for batch in iterate_batches(images, preprocessing, batch_size=batch_size, on_unreadable=on_unreadable):
            embeddings = self.run(preprocessing.normalise(batch.pixels))
            finite = np.isfinite(embeddings).all(axis=1)
            if not finite.all():
                first = batch.indices[int(np.argmin(finite))]
                raise EmbeddingError(
                    f"The network gave a value that is not finite for image {first}. The weights in {self.weights} "
                    "are damaged, or hold numbers this precision cannot carry: see omnireid inspect."
                )
            yield np.asarray(batch.indices, dtype=np.int64), embeddings


def load_embedder(
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    *,
    runtime: RuntimeName = "auto",
    architecture: str | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Embedder:
    """Load weights into something that embeds.

    Args:
        weights: a name of weights that ship with omnireid, by default the small
            network of `DEFAULT_WEIGHTS`, whose training data is for research only;
            an omnireid artefact (``.safetensors``); a public OSNet checkpoint
            (``.pth``, ``.pt``, ``.pth.tar``); or where to get one:
            ``hf://owner/repository/file[@revision]`` or ``https://…#sha256=…``.
        runtime: what runs the network; ``auto`` takes the fastest installed.
        architecture: of a checkpoint whose keys do not tell; otherwise inferred.
        device: for torch: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        threads: for the network on a CPU; the number of cores by default.

    Raises:
        WeightsNotFoundError: no such file or name, or a build without the default weights.
        WeightsError: the file cannot be used; see the errors below it.
        MissingDependencyError: the runtime is not installed.
    """
    if runtime not in RUNTIMES:
        raise ModelError(f"No runtime {runtime!r}. Known: {', '.join(RUNTIMES)}.")
    path = resolve_weights(weights)
    # torch is the only runtime so far, so auto means torch.
    from omnireid.embedding.torch_runtime import load_network

    run, metadata = load_network(path, architecture=architecture, device=device, threads=threads)
    return Embedder(metadata, path, sha256_of(path), "torch", run)
