"""The gate on embeddings: a graph passes if it embeds as torch does, at several batch sizes."""

from __future__ import annotations

from pathlib import Path

from omnireid.embedding.parity import GATES, Parity, compare_embeddings
from omnireid.embedding.torch_runtime import load_weights
from omnireid.errors import ParityError
from omnireid.export.graph_network import open_graph, run_in_batches
from omnireid.export.layer_comparison import compare_layers, first_difference
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray
from omnireid.weights.graph_file import Graph

BATCH_SIZES = (1, 7, 32)
"""Batch sizes that are checked. Engines that were made for one size fail at another."""

_LAYER_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.5}


def check_embeddings(
    graph: Graph, pixels: RgbArray, reference: FloatArray, weights: Path, *, architecture: str | None
) -> dict[int, Parity]:
    """Compare the graph's embeddings with torch's at several batch sizes.

    Args:
        graph: The sealed graph.
        pixels: (N, H, W, 3) crops at the input size.
        reference: (N, D) embeddings of the crops by torch in float32.
        weights: File the graph was made from.
        architecture: Name of the network, needed only for a checkpoint whose keys fit several.

    Returns:
        Batch size to parity.

    Raises:
        ParityError: The embeddings differ by more than the gate of the graph's precision allows. The message names
            the first layer that differs.
    """
    network = open_graph(graph)
    gate = GATES[graph.metadata.precision]
    parities = {}
    for batch_size in BATCH_SIZES:
        count = min(len(pixels), max(batch_size * 2, 8))
        parity = compare_embeddings(reference[:count], run_in_batches(network, pixels[:count], batch_size))
        parities[batch_size] = parity
        if not gate.passes(parity):
            raise ParityError(
                f"The exported graph of {weights} gives other embeddings than torch at batch {batch_size}: smallest "
                f"cosine {parity.smallest:.6f}, mean {parity.mean:.6f} over {parity.crops} crops; at least "
                f"{gate.smallest} and {gate.mean} are required in {graph.metadata.precision}. Nothing was written. "
                f"{_describe_difference(graph, pixels, weights, architecture)}"
            )
    return parities


def _describe_difference(graph: Graph, pixels: RgbArray, weights: Path, architecture: str | None) -> str:
    """Name the first layer of the graph that differs from torch's."""
    if graph.format != "onnx":
        return "Export it to onnx (--to onnx) to see which layer differs."
    model, metadata = load_weights(weights, architecture=architecture)
    takes_pixels = graph.metadata.takes_pixels
    layers = compare_layers(model, graph.content, pixels, metadata.preprocessing.normalise, takes_pixels=takes_pixels)
    tolerance = _LAYER_TOLERANCE[graph.metadata.precision]
    first = first_difference(layers, tolerance)
    if first is None:
        worst = max(layers, key=lambda layer: layer.relative_error)
        return (
            f"No layer differs by more than {tolerance:g}; the furthest is {worst.name} ({worst.relative_error:.2g})."
        )
    return f"The first layer that differs is {first.name}: relative error {first.relative_error:.3g}."
