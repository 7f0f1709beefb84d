"""What a network computed for some crops on the way to their embeddings.

Shapes: N crops, T streams, C channels, H rows and W columns of the last feature map, D values of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnireid.embedding.embedder import Embedder
from omnireid.errors import DataNotFoundError, EmbeddingError, ImageError
from omnireid.explanation.observed_network import (
    Head,
    ObservedNetwork,
    mean_of,
    name_outputs,
    open_observed,
    run_observed,
)
from omnireid.images.batches import iterate_batches
from omnireid.models.graph_builder import OUTPUT
from omnireid.models.observed_tensors import ObservedBlock, ObservedTensors
from omnireid.progress import progress_bar
from omnireid.types import Crops, FloatArray

_BATCH = 8  # the last maps and all streams of a batch are in memory at once


@dataclass(frozen=True, eq=False)
class Observation:
    """What a network computed for N crops.

    Attributes:
        crops: The crops that could be read.
        skipped: The others, as (path, reason).
        observed: What was observed, by name.
        head: What turns the averaged maps into embeddings.
        embeddings: (N, D).
        maps: (N, C, H, W) last maps; (N, 0, 0, 0) where they were not asked for.
        gates: (N, T, C) weights for each block with gates, C being 1 where a stream has a single weight.
        stream_means: (N, T, C) averages of the streams over all places, before the gates, for each block.
    """

    crops: Crops
    skipped: tuple[tuple[str, str], ...]
    observed: ObservedTensors
    head: Head
    embeddings: FloatArray
    maps: FloatArray
    gates: tuple[FloatArray, ...]
    stream_means: tuple[FloatArray, ...]


def observe_crops(embedder: Embedder, crops: Crops, *, maps: bool, progress: bool = False) -> Observation:
    """Run every crop that can be read, in float32 on the CPU, whatever the embedder uses.

    Args:
        embedder: Weights to run.
        crops: Crops to run.
        maps: Whether to keep the last maps, which take the most memory (256 kB per crop of osnet_x1_0).
        progress: Show a progress bar on standard error.

    Raises:
        DataNotFoundError: There is no crop.
        ImageError: No crop can be read.
        ExplanationError: The weights show nothing of how their embeddings come about.
        EmbeddingError: An embedding is not finite.
        CheckpointError: The file of weights has changed since the embedder was loaded.
    """
    if not len(crops):
        raise DataNotFoundError("There is no crop to explain.")
    network = open_observed(embedder)
    names = name_outputs(network, maps=maps)
    skipped: list[tuple[str, str]] = []

    def leave_out(index: int, error: ImageError) -> None:
        skipped.append((str(crops.paths[index]), str(error)))

    readable: list[int] = []
    values: dict[str, list[FloatArray]] = {name: [] for name in names}
    batches = iterate_batches(crops.paths, network.preprocessing, batch_size=_BATCH, on_unreadable=leave_out)
    with progress_bar("explain", len(crops), show=progress) as advance:
        for batch in batches:
            for name, part in run_observed(network, batch.pixels, names).items():
                values[name].append(part)
            readable += batch.indices
            advance(len(batch.indices))
    if not readable:
        path, reason = skipped[0]
        raise ImageError(f"None of the {len(skipped):,} crops can be read. The first, {path}: {reason}")
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    return _assemble(network, crops.select(readable), tuple(skipped), joined)


def _assemble(
    network: ObservedNetwork, crops: Crops, skipped: tuple[tuple[str, str], ...], values: dict[str, FloatArray]
) -> Observation:
    count, observed = len(crops), network.observed
    embeddings = values[OUTPUT]
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise EmbeddingError(
            f"The network gave a value that is not finite for {crops.paths[int(np.argmin(finite))]}: its weights are "
            "damaged, or the training that wrote them diverged. See omnireid inspect, and use an earlier checkpoint."
        )

    def stack(names: tuple[str, ...]) -> FloatArray:
        return np.stack([values[name].reshape(count, -1) for name in names], axis=1)

    def gates_of(block: ObservedBlock) -> FloatArray:
        if not network.constant_gates:
            return stack(block.gates)
        constants = np.concatenate([network.constant_gates[gate] for gate in block.gates])
        return np.repeat(constants[np.newaxis], count, axis=0)

    return Observation(
        crops=crops,
        skipped=skipped,
        observed=observed,
        head=network.head,
        embeddings=embeddings,
        maps=values.get(observed.maps, np.empty((count, 0, 0, 0), dtype=np.float32)),
        gates=tuple(gates_of(block) for block in observed.blocks if block.gates),
        stream_means=tuple(stack(tuple(map(mean_of, block.streams))) for block in observed.blocks),
    )
