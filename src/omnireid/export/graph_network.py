"""An exported graph, ready to run."""

from __future__ import annotations

import numpy as np

from omnireid.embedding.network import Network
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray
from omnireid.weights.graph_file import Graph


def open_graph(graph: Graph) -> Network:
    """Open a graph on the CPU, in the runtime it was made for."""
    if graph.format == "openvino":
        from omnireid.embedding.openvino_runtime import open_network

        return open_network(graph, device="cpu")
    from omnireid.embedding.onnx_runtime import open_network as open_in_onnx_runtime

    return open_in_onnx_runtime(graph, device="cpu")


def run_in_batches(network: Network, pixels: RgbArray, batch_size: int) -> FloatArray:
    """Embed (N, H, W, 3) crops, `batch_size` at a time: (N, D)."""
    starts = range(0, len(pixels), batch_size)
    return np.concatenate([network.run(pixels[start : start + batch_size]) for start in starts])
