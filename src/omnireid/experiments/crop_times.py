"""How long the networks of a table take for a crop, all of them measured in one go."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnireid.embedding.network import Network
from omnireid.embedding.onnx_runtime import open_network
from omnireid.embedding.weights_file import make_graph
from omnireid.experiments.plan import row_size
from omnireid.experiments.table import ExperimentTable
from omnireid.images.preprocess import Preprocessing
from omnireid.images.probes import probe_crops
from omnireid.machine import describe
from omnireid.models.zoo import Architecture, find_architecture
from omnireid.training.recipes import Recipe
from omnireid.types import FloatArray
from omnireid.weights.artefact import WeightsMetadata
from omnireid.weights.graph_file import GraphMetadata

BATCH = 8
ROUNDS = 5
HOW = f"ONNX Runtime in float32, one thread, batches of {BATCH}; rows alternate, median of {ROUNDS} rounds"
"""How the times are measured, in words."""


@dataclass(frozen=True)
class CropTimes:
    """The time that each row's network takes for a crop.

    Attributes:
        milliseconds: Name of the row to milliseconds per crop, from pixels of the row's size to the embedding.
        machine: The machine, as `omnireid.machine.Machine.json` gives it, with its load before the measurement.
    """

    milliseconds: Mapping[str, float]
    machine: Mapping[str, Any]


def measure_crop_times(table: ExperimentTable, base: Recipe) -> CropTimes:
    """Measure every row of a table, whether it is trained or not, as `HOW` says.

    The networks have random weights, because time does not depend on their values. Rows with the same network and
    input size share one measurement.

    Args:
        table: The rows.
        base: The recipe that they share.
    """
    machine = describe().json()
    keys = {row.name: (row.recipe_from(base, 0).model, *row_size(row, base)) for row in table.rows}
    networks = {key: _open(*key) for key in dict.fromkeys(keys.values())}
    pixels = {key: probe_crops(BATCH, key[1], key[2]) for key in networks}
    seconds: dict[tuple[str, int, int], list[float]] = {key: [] for key in networks}
    for _ in range(ROUNDS):
        for key, network in networks.items():
            start = time.perf_counter()
            network.run(pixels[key])
            seconds[key].append(time.perf_counter() - start)
    times = {key: 1000 * statistics.median(values) / BATCH for key, values in seconds.items()}
    return CropTimes({name: round(times[key], 4) for name, key in keys.items()}, machine)


def _open(name: str, height: int, width: int) -> Network:
    """Open a network with random weights; opening it runs it once, which warms it up."""
    architecture = find_architecture(name)
    metadata = WeightsMetadata(name, architecture.embedding_width, Preprocessing(height, width))
    graph = make_graph(draw_tensors(architecture), GraphMetadata(metadata), where=f"{name} with random weights")
    return open_network(graph, threads=1, device="cpu")


def draw_tensors(architecture: Architecture) -> dict[str, FloatArray]:
    """Random weights of a network, with which its activations keep their scale from layer to layer."""
    return {key: _draw(key, shape) for key, shape in architecture.key_layout.shapes.items()}


def _draw(key: str, shape: tuple[int, ...]) -> FloatArray:
    """Draw a weight, or the values with which a norm changes nothing."""
    if len(shape) > 1:
        spread = math.sqrt(2 / math.prod(shape[1:]))
        drawn: FloatArray = np.random.default_rng(0).normal(0, spread, shape).astype(np.float32)
        return drawn
    is_one = key.endswith(("norm.weight", "running_var"))
    return np.full(shape, 1 if is_one else 0, dtype=np.float32)
