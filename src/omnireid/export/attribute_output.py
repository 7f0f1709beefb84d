"""A head inside an exported graph: a second output with the scores of attributes, beside the embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from omnireid.attributes.head import AttributeHead
from omnireid.embedding.onnx_runtime import open_session
from omnireid.errors import ParityError
from omnireid.images.decode import RgbArray
from omnireid.models.graph_builder import INPUT, OUTPUT
from omnireid.types import FloatArray
from omnireid.weights.graph_file import Graph
from omnireid.weights.runtime_start import shared_core

ATTRIBUTES_OUTPUT = "attributes"
"""Name of the output, (N, K) float32 scores in [0, 1], in the order of `GraphMetadata.attributes`."""

_TOLERANCE = 0.01
"""Largest difference of a score from the head's own on the graph's embeddings. OpenVINO may store the head in fp16."""


def add_attributes(content: bytes, head: AttributeHead) -> bytes:
    """Add a head to an ONNX graph of ours. It stays in float32 whatever the graph's precision."""
    import onnx
    import onnx.helper
    import onnx.numpy_helper

    model = onnx.load_from_string(content)
    names = {part: f"{ATTRIBUTES_OUTPUT}.{part}" for part in ("weights", "biases", "logits")}
    for part, values in (("weights", head.weights), ("biases", head.biases)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), names[part]))
    model.graph.node.extend(
        [
            onnx.helper.make_node("Gemm", [OUTPUT, names["weights"], names["biases"]], [names["logits"]]),
            onnx.helper.make_node("Sigmoid", [names["logits"]], [ATTRIBUTES_OUTPUT]),
        ]
    )
    shape: list[str | int | None] = ["batch", len(head.names)]
    model.graph.output.append(onnx.helper.make_tensor_value_info(ATTRIBUTES_OUTPUT, onnx.TensorProto.FLOAT, shape))
    content = model.SerializeToString(deterministic=True)
    return bytes(content)


def run_with_attributes(graph: Graph, pixels: RgbArray) -> tuple[FloatArray, FloatArray]:
    """Run a graph with a head in its own runtime: (N, D) embeddings and (N, K) scores.

    Args:
        graph: A sealed graph whose metadata names attributes.
        pixels: (N, H, W, 3) uint8 crops at the input size.
    """
    images = pixels if graph.metadata.takes_pixels else graph.metadata.weights.preprocessing.normalise(pixels)
    found: Any
    if graph.format == "openvino":
        core = shared_core()
        model = core.read_model(graph.content, graph.values)
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        results = compiled({INPUT: images})
        found = [np.array(results[name]) for name in (OUTPUT, ATTRIBUTES_OUTPUT)]
    else:
        found = open_session(graph, 1, "cpu").run([OUTPUT, ATTRIBUTES_OUTPUT], {INPUT: images})
    embeddings, scores = found
    return embeddings, scores


def check_attributes(graph: Graph, head: AttributeHead, pixels: RgbArray) -> float:
    """Compare the scores in a graph with the head's on the same embeddings, and return the largest difference.

    Raises:
        ParityError: They differ.
    """
    embeddings, scores = run_with_attributes(graph, pixels)
    difference = float(np.abs(scores - head.score_embeddings(embeddings)).max())
    if not difference <= _TOLERANCE:
        raise ParityError(
            f"The attributes of the exported graph differ from the head's by {difference:.3g}; at most {_TOLERANCE} is "
            "allowed. Nothing was written. Try --precision fp32."
        )
    return difference
