"""Small tables of embeddings that the tests put into galleries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.retrieval.calibrations import calibration_of, curve_through

from omnireid.embedding.embedder import Embedder
from omnireid.embedding.network import Network
from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.gallery.gallery import Gallery
from omnireid.images.preprocess import Preprocessing
from omnireid.terms import Distance
from omnireid.types import AnyArray, Crops
from omnireid.weights.artefact import WeightsMetadata

WIDTH = 8
PROVENANCE = Provenance("ab" * 32, "osnet_x0_25", {"height": 64}, "euclidean", "Apache-2.0", "0")


def drawn_embeddings(count: int, seed: int = 0) -> AnyArray:
    """Random embeddings that float16 holds exactly."""
    values: AnyArray = np.random.default_rng(seed).random((count, WIDTH)).astype(np.float16).astype(np.float32)
    return values


def table_of(count: int, *, seed: int = 0, people: Sequence[int] | None = None, **columns: Any) -> EmbeddingTable:
    """`count` sightings: three cameras in turn, five people in turn unless they are given."""
    paths = [f"/nowhere/{seed}/{row:05d}.jpg" for row in range(count)]
    persons = [row % 5 for row in range(count)] if people is None else people
    crops = crops_of(paths, persons, [row % 3 for row in range(count)], **columns)
    return EmbeddingTable(crops, drawn_embeddings(count, seed), PROVENANCE)


def crops_of(paths: Sequence[str | Path], persons: Sequence[int], cameras: Sequence[int], **columns: Any) -> Crops:
    """Labelled crops."""
    return Crops(tuple(map(Path, paths)), np.array(persons), np.array(cameras), columns)


def filled(place: Path, count: int = 30, **columns: Any) -> Gallery:
    """A gallery with `count` sightings, numbered from 1."""
    gallery = Gallery.open(place)
    gallery.add(table_of(count, **columns))
    return gallery


def calibrate(gallery: Gallery, points: Mapping[float, float], distance: Distance = "euclidean") -> None:
    """Store a calibration for any pair, by its log likelihood ratios at some distances."""
    model = gallery.facts.model
    made = calibration_of(
        model.weights_sha256, curve_through(points), preprocessing=model.preprocessing, distance=distance
    )
    gallery.set_calibration(made)


def mean_embedder(weights: Path = Path("means.safetensors")) -> Embedder:
    """A model that needs no weights: a crop's embedding is its mean colour."""
    network = Network("torch", "fp32", "cpu", lambda pixels: pixels.mean(axis=(1, 2), dtype=np.float32))
    metadata = WeightsMetadata("means", embedding_dimension=3, preprocessing=Preprocessing(64, 32))
    return Embedder(metadata, weights, "cd" * 32, network)
