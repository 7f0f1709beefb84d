"""How the embeddings of a few crops came about.

Shapes: N crops, C channels, H rows and W columns of the last feature map, D values of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.embedding.embedder import Embedder
from omnireid.errors import SettingError, ShapeError
from omnireid.explanation.decomposition import PairExplanation, decompose_pair
from omnireid.explanation.gates import Gates, gates_of
from omnireid.explanation.observation import observe_crops
from omnireid.explanation.observed_network import Head
from omnireid.types import Crops, FloatArray, as_crops
from omnireid.weights.artefact import WeightsMetadata

MOST_CROPS = 64
"""Crops that can be explained at once; their maps are kept in memory. `measure_gates` takes any number."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """How the embeddings of N crops came about.

    Attributes:
        crops: The crops that could be read.
        metadata: Description of the weights.
        weights_sha256: SHA-256 of the weights.
        embeddings: (N, D) float32, computed in float32.
        maps: (N, C, H, W) float32: the last feature map, before global average pooling.
        head: What turns the averaged maps into embeddings.
        gates: Weights of the streams; without blocks in a network that has no gates.
        skipped: Crops that could not be read, as (path, reason).

    Raises:
        ShapeError: The arrays disagree in length or width.
    """

    crops: Crops
    metadata: WeightsMetadata
    weights_sha256: str
    embeddings: FloatArray
    maps: FloatArray
    head: Head = field(repr=False)
    gates: Gates
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.crops), len(self.embeddings), len(self.maps), len(self.gates)}
        head = (self.embeddings.shape[1], self.maps.shape[1])
        if len(lengths) > 1 or self.head.weight.shape != head or self.maps.ndim != 4:
            raise ShapeError(
                f"{len(self.crops)} crops need as many embeddings (N, D) and maps (N, C, H, W), and a head (D, C); "
                f"got {self.embeddings.shape}, {self.maps.shape} and {self.head.weight.shape}."
            )

    def __len__(self) -> int:
        return len(self.crops)

    def activation(self) -> FloatArray:
        """How active each place is: (N, H, W), the Euclidean norm of the last feature map over its channels.

        Source: Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017, on which the maps in the
        OSNet paper build.
        """
        norms: FloatArray = np.linalg.norm(self.maps, axis=1)
        return norms

    def pair(self, first: int, second: int) -> PairExplanation:
        """Decompose the likeness of two crops over their places, exactly.

        Args:
            first: Position of a crop.
            second: Position of another.

        Raises:
            SettingError: There is no such position.
            EmbeddingError: An embedding is all zeros.
        """
        for position in (first, second):
            if not 0 <= position < len(self):
                raise SettingError(f"There is no crop {position}: {len(self)} are explained, counted from 0.")
        return decompose_pair(
            (first, second),
            (self.maps[first], self.maps[second]),
            (self.embeddings[first], self.embeddings[second]),
            self.head,
        )

    def json(self) -> dict[str, Any]:
        """What was explained as plain values; maps and gates are asked for by themselves."""
        return {
            "architecture": self.metadata.architecture,
            "distance": self.metadata.distance,
            "training_data": self.metadata.training_data,
            "licence": self.metadata.licence,
            "weights_sha256": self.weights_sha256,
            "crops": [str(path) for path in self.crops.paths],
            "skipped": [list(entry) for entry in self.skipped],
        }


def explain(embedder: Embedder, crops: Crops | Sequence[str | Path]) -> Explanation:
    """Explain the embeddings of a few crops: active places, parts of their likeness, and gates.

    The network runs in float32 on the CPU with more outputs, whatever runtime and precision the embedder uses. This
    needs no torch.

    Args:
        embedder: Weights of a network of `ARCHITECTURES`, such as an OSNet or a ResNet-50: an artefact, a checkpoint,
            or an ONNX graph in float32 that omnireid exported.
        crops: Crops, or a list of paths; at most `MOST_CROPS`. Unreadable ones are left out and listed.

    Raises:
        ExplanationError: The weights are a graph of others, or in another precision; the message says what is possible.
        DataNotFoundError: There is no crop.
        ImageError: No crop can be read.
        SettingError: There are too many crops, or `embedder` is something else.
        CheckpointError: The file of weights has changed since the embedder was loaded.
    """
    if not isinstance(embedder, Embedder):
        raise SettingError(f"embedder must be what load_embedder gives; got {type(embedder).__name__}.")
    crops = as_crops(crops)
    if len(crops) > MOST_CROPS:
        raise SettingError(
            f"At most {MOST_CROPS} crops are explained at once, because their maps are kept in memory; got "
            f"{len(crops):,}. The gates of a whole set are measured with measure_gates (on the command line: --among)."
        )
    observation = observe_crops(embedder, crops, maps=True)
    return Explanation(
        crops=observation.crops,
        metadata=embedder.metadata,
        weights_sha256=embedder.weights_sha256,
        embeddings=observation.embeddings,
        maps=observation.maps,
        head=observation.head,
        gates=gates_of(observation, embedder.metadata.architecture),
        skipped=observation.skipped,
    )
