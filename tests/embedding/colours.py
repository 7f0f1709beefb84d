"""A network of three neurons, to test what surrounds a network without torch: the mean colour of a crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnireid.embedding.embedder import Embedder
from omnireid.embedding.network import Network, RunNetwork
from omnireid.images.decode import RgbArray
from omnireid.images.preprocess import Preprocessing
from omnireid.types import FloatArray
from omnireid.weights.artefact import WeightsMetadata


def mean_colour(pixels: RgbArray) -> FloatArray:
    """(N, H, W, 3) to (N, 3)."""
    return np.asarray(pixels.mean(axis=(1, 2), dtype=np.float32))


def colour_network(run: RunNetwork = mean_colour, streams: int = 1) -> Network:
    """A network that is `run`, beside which `streams` may run."""
    return Network("torch", "fp32", "cpu", run, run if streams > 1 else None, streams)


def colour_embedder(sha256: str = "c0" * 32, run: RunNetwork = mean_colour, streams: int = 1) -> Embedder:
    """An embedder whose network is `run`."""
    metadata = WeightsMetadata(
        "mean_colour", embedding_dimension=3, preprocessing=Preprocessing(height=8, width=4), licence="Apache-2.0"
    )
    return Embedder(metadata, Path("colours"), sha256, colour_network(run, streams))
