"""A network of three neurons, to test what surrounds a network without torch: the mean colour of a crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnireid.embedding.artefact import WeightsMetadata
from omnireid.embedding.embedder import Embedder
from omnireid.images.preprocess import Preprocessing
from omnireid.types import FloatArray


def mean_colour(images: FloatArray) -> FloatArray:
    """(N, 3, H, W) to (N, 3)."""
    return np.asarray(images.mean(axis=(2, 3)))


def colour_embedder(sha256: str = "c0" * 32) -> Embedder:
    """An embedder whose network is `mean_colour`."""
    metadata = WeightsMetadata(
        "mean_colour", embedding_dimension=3, preprocessing=Preprocessing(height=8, width=4), licence="Apache-2.0"
    )
    return Embedder(metadata, Path("colours"), sha256, "torch", mean_colour)
