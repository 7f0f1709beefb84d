"""From images to embeddings: one `Embedder`, whatever runs the network."""

from __future__ import annotations

import os
import reprlib
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from omnireid.embedding.boxes import BoxEmbeddings, embed_boxes
from omnireid.embedding.choice import Choice, choose
from omnireid.embedding.network import Network, RunNetwork, check_threads
from omnireid.embedding.options import Precision, RuntimeName, RuntimeOptions, check_batch_size
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import (
    CheckpointError,
    DeviceMemoryError,
    EmbeddingError,
    ImageError,
    ModelError,
    SettingError,
    ShapeError,
    WeightsNotFoundError,
)
from omnireid.images.arrays import array_of_tensor
from omnireid.images.batches import Batch, iterate_batches
from omnireid.images.decode import ImageSource, RgbArray
from omnireid.progress import progress_bar
from omnireid.types import ByteArray, FloatArray, IntArray
from omnireid.weights.artefact import WeightsMetadata
from omnireid.weights.description import ChannelOrder
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.reid_folder import sha256_with_config
from omnireid.weights.shipped import DEFAULT_WEIGHTS

FEW = 32
"""At most this many images are embedded as one batch with all threads, for a quick answer; more are streamed."""


@dataclass(frozen=True)
class Opening:
    """How `load_embedder` opened weights, so that another process can open them again.

    Attributes:
        path: Absolute path of the file of weights.
        file_sha256: SHA-256 of that file, and of the config beside it in a folder of roboflow's ``reid``.
        options: How the model is run.
    """

    path: Path
    file_sha256: str
    options: RuntimeOptions


@dataclass(frozen=True)
class Embedder:
    """A network ready to embed crops.

    Several threads may use one embedder. A pickled embedder opens its file of weights again when it is unpickled, with
    the same runtime and precision, and refuses a file that has changed. After a fork, ONNX Runtime on the CPU goes on
    working; the other runtimes raise an error, because they would hang.

    Attributes:
        metadata: Description of the weights and of the input they expect.
        weights: File of weights.
        weights_sha256: SHA-256 of the weights file, which stored embeddings carry. A float graph reports its source
            file's hash, so embeddings of both stay comparable.
        network: Network that runs the weights.
        choice: Which runtime and precision were taken and why. Its text is one line.
        batch_size: Crops per step of the network if a call does not say. None leaves it to the network.
        opening: How `load_embedder` opened the weights; None if the embedder was made in another way.
    """

    metadata: WeightsMetadata
    weights: Path
    weights_sha256: str
    network: Network
    choice: Choice | None = None
    batch_size: int | None = None
    opening: Opening | None = None

    def __reduce__(self) -> tuple[Callable[[Opening], Embedder], tuple[Opening]]:
        """Pickle the file's path and hash and the options, not the network."""
        if self.opening is None:
            raise ModelError(
                "Only an embedder made by load_embedder can be pickled, as it is opened again from its file of weights."
            )
        options = replace(self.opening.options, runtime=self.runtime, precision=self.precision)
        return _reopen, (replace(self.opening, options=options),)

    def __copy__(self) -> Embedder:
        """The same embedder: it never changes."""
        return self

    def __deepcopy__(self, _memo: object) -> Embedder:
        """The same embedder: it never changes."""
        return self

    @property
    def runtime(self) -> RuntimeName:
        """Library that runs the network."""
        return self.network.runtime

    @property
    def precision(self) -> Precision:
        """Number format the network computes in."""
        return self.network.precision

    def embed(
        self,
        images: Iterable[ImageSource] | ByteArray,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> FloatArray:
        """Embed images, one row each, in their order.

        Args:
            images: Paths, bytes, PIL images or (H, W, 3) RGB uint8 arrays, of any
                sizes; or one (N, H, W, 3) array; or a uint8 tensor of torch, (N, 3, H, W).
            batch_size: Crops per step of the network. The embedder chooses by default. It affects the speed, and
                the result only in the last digits of the precision.
            progress: Show a progress bar on standard error.

        Returns:
            (N, D) float32, not normalised; (0, D) if there is no image.

        Raises:
            ImageError: an image cannot be decoded; the message names it.
            ShapeError: `images` is a single image, or no images at all.
            SettingError: `batch_size` is no whole number, or below 1.
            EmbeddingError: the network gave a value that is not finite.
            ModelError: the process was forked after the network was loaded, and the runtime does not survive that.
        """
        images = _check_images(images)
        total = len(images) if isinstance(images, Sized) else None
        parts = [np.empty((0, self.metadata.embedding_dimension), dtype=np.float32)]
        with progress_bar("embed", total, show=progress) as advance:
            for indices, embeddings in self.embed_batches(images, batch_size=batch_size):
                parts.append(embeddings)
                advance(len(indices))
        return np.concatenate(parts)

    def embed_boxes(
        self, frame: ByteArray, boxes_xyxy: object, channels: ChannelOrder, *, batch_size: int | None = None
    ) -> BoxEmbeddings:
        """Embed the people in boxes of a frame, one row a box, in the order of the boxes.

        Box edges are rounded to whole pixels and clipped to the frame. Up to 32 boxes are one batch, on all threads.
        The frame is not copied, and each crop gives the embedding that the same crop gives as a PNG file.

        Args:
            frame: (H, W, 3) uint8.
            boxes_xyxy: (N, 4) left, top, right, bottom in pixels, whole or not; right and bottom are excluded.
            channels: Order of the frame's colours: ``bgr`` as OpenCV reads it, or ``rgb``. There is no default, because
                the wrong order gives other embeddings and nothing notices.
            batch_size: Crops per step of the network. The embedder chooses by default.

        Returns:
            Embeddings with a mask and the quality of each crop. A box without a pixel of the frame has a row of zeros
            and is not valid.

        Raises:
            ShapeError: frame or boxes have another shape or type.
            TrackingError: a box is not finite.
            SettingError: `channels` or `batch_size` cannot be used.
            EmbeddingError: the network gave a value that is not finite.
        """
        return embed_boxes(lambda crops: self.embed(crops, batch_size=batch_size), frame, boxes_xyxy, channels)

    def embed_batches(
        self,
        images: Iterable[ImageSource],
        *,
        batch_size: int | None = None,
        on_unreadable: Callable[[int, ImageError], None] | None = None,
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Embed images as a stream. Yields the positions (n,) and embeddings (n, D) of each batch, in order.

        The next images are decoded while the network runs a few batches side by side. Only a few more wait, so memory
        does not grow with the number of images.

        Args:
            images: Same as for `embed`. They are taken as needed, so the stream may be endless.
            batch_size: Crops per step of the network. The embedder chooses by default.
            on_unreadable: Called with the position and the error of each image that cannot
                be decoded, which is then left out. Without it the error is raised.

        Raises: the errors of `embed`, when the first batch is asked for.
        """
        images = _check_images(images)
        batch_size = self.batch_size if batch_size is None else check_batch_size(batch_size)
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

    def embed_decoded(self, crops: Sequence[RgbArray], *, beside_others: bool = False) -> FloatArray:
        """Embed decoded crops as one batch, in the calling thread.

        Args:
            crops: (H, W, 3) RGB uint8 arrays of any sizes, at least one.
            beside_others: Run on one core, because up to `network.streams` callers do the same. They embed more crops a
                second than one batch after the other on all cores, which is what answers a single batch soonest.

        Returns:
            (N, D) float32, not normalised.

        Raises:
            ImageError: an array is no image.
            EmbeddingError: the network gave a value that is not finite.
            ModelError: the process was forked after the network was loaded, and the runtime does not survive that.
        """
        size = self.metadata.preprocessing
        pixels = np.empty((len(crops), size.height, size.width, 3), dtype=np.uint8)
        for error in size.resize_into(pixels, crops, names=[f"image {index}" for index in range(len(crops))]).values():
            raise error
        stream = self.network.run_stream if beside_others else None
        return self._run(stream or self.network.run, Batch(tuple(range(len(crops))), pixels))

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


def _check_images(images: object) -> Iterable[ImageSource]:
    """`images`, if they are several. A tensor of torch becomes an array.

    Raises:
        ShapeError: they are not.
    """
    tensor = array_of_tensor(images, "images")
    several = images if tensor is None else tensor
    axes = several.ndim if isinstance(several, np.ndarray) else None
    if isinstance(several, (str, bytes, os.PathLike, Image.Image)) or axes in (2, 3):
        raise ShapeError("images must be several images. For a single one write embed([image])[0].")
    if not isinstance(several, Iterable) or axes == 0:
        raise ShapeError(
            f"images must be several images: paths, bytes, PIL images or arrays; got {reprlib.repr(images)}."
        )
    return several


def run_halving(run: RunNetwork, pixels: RgbArray) -> FloatArray:
    """Run a batch. If memory does not suffice, run it in halves, with a warning.

    Raises:
        DeviceMemoryError: memory does not suffice for a single crop.
    """
    try:
        return run(pixels)
    except DeviceMemoryError:
        half = len(pixels) // 2
        if not half:
            raise
        warnings.warn(
            f"No memory for a batch of {len(pixels)} crops; going on with {half}. A smaller --batch-size "
            "(batch_size=…) avoids the failed attempt.",
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
            `DEFAULT_WEIGHTS`, whose training data is for research only) or that are downloaded
            by name, such as ``openvino/person-reidentification-retail-0288``; an omnireid
            artefact (``.safetensors``, or a graph, ``.onnx`` or ``.xml``); a public OSNet
            checkpoint (``.pth``, ``.pt``, ``.pth.tar``); a folder that roboflow's
            ``reid`` wrote; or an address,
            ``hf://owner/repository/file[@revision]`` or ``https://…#sha256=…``.
        options: How the model is run. The defaults suit most machines.

    Raises:
        WeightsNotFoundError: no such file or name, or a build without the default weights.
        WeightsError: the file cannot be used; see the errors below it.
        ModelError: there is no such device, or the runtime lacks the precision.
        SettingError: there are more threads than cores, or a parameter has the wrong type.
        MissingDependencyError: the runtime is not installed.
        EmbeddingError: the activations overflow, which OpenVINO would hide.
    """
    if not isinstance(options, RuntimeOptions):
        raise SettingError(
            f"options must be RuntimeOptions, such as RuntimeOptions(runtime='onnxruntime'); got {options!r}."
        )
    check_threads(options.threads)
    path = resolve_weights(weights)
    weights_file = WeightsFile(path, options.architecture)
    device, threads = options.device, options.threads
    candidates = weights_file.candidates(options.runtime, options.precision, device=device, threads=threads)
    size = weights_file.metadata.preprocessing
    opening = Opening(path.absolute(), sha256_with_config(path), options)
    depends_on = [opening.file_sha256, device, str(threads)]
    network, choice = choose(candidates, height=size.height, width=size.width, depends_on=depends_on)
    if options.runtime == "openvino":  # auto compares every runtime with ONNX Runtime
        from omnireid.embedding.openvino_runtime import check_activations

        check_activations(weights_file.graph)
    return Embedder(weights_file.metadata, path, weights_file.sha256, network, choice, options.batch_size, opening)


def _reopen(opening: Opening) -> Embedder:
    """Open the weights of a pickled embedder again.

    Raises:
        WeightsNotFoundError: the file is gone.
        CheckpointError: it has changed.
    """
    weights = opening.path
    if not weights.is_file():
        raise WeightsNotFoundError(
            f"The embedder was pickled with the weights {weights}, which are not there (any more). A pickled embedder "
            "needs its file of weights under the same path."
        )
    if sha256_with_config(weights) != opening.file_sha256:
        raise CheckpointError(
            f"{weights} has changed since the embedder was pickled. Load the embedder again with load_embedder."
        )
    return load_embedder(weights, opening.options)
