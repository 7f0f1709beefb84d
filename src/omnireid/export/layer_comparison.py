"""Find the first layer of a graph that differs from the network it was made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omnireid.images.decode import RgbArray
from omnireid.models.backbone import Backbone
from omnireid.models.graph_builder import INPUT
from omnireid.types import FloatArray

_CROPS = 4


@dataclass(frozen=True)
class LayerDifference:
    """How far a layer of the graph is from the network's.

    Attributes:
        name: Name of the module and of the graph's tensor.
        relative_error: Norm of the difference of their maps, divided by the norm of the network's maps; NaN if a
            value is not finite.
    """

    name: str
    relative_error: float


def compare_layers(
    model: Backbone,
    content: bytes,
    pixels: RgbArray,
    normalise: Callable[[RgbArray], FloatArray],
    *,
    takes_pixels: bool,
) -> tuple[LayerDifference, ...]:
    """Compare every layer of an ONNX graph with the module of the same name, in the order of the graph.

    Args:
        model: The network, float32, in evaluation mode.
        content: An ONNX graph whose tensors are named as `omnireid.models.graph_builder` says.
        pixels: (N, H, W, 3) crops, of which the first four are used.
        normalise: Turns pixels into (N, 3, H, W) float32.
        takes_pixels: Whether the graph takes pixels; see `omnireid.weights.graph_file.GraphMetadata`.
    """
    few = pixels[:_CROPS]
    expected = _maps_of_network(model, normalise(few))
    found = _maps_of_graph(content, few if takes_pixels else normalise(few), set(expected))
    return tuple(LayerDifference(name, _relative_error(expected[name], maps)) for name, maps in found.items())


def first_difference(layers: tuple[LayerDifference, ...], tolerance: float) -> LayerDifference | None:
    """Return the first layer whose relative error is above `tolerance` or NaN; None if there is none."""
    return next((layer for layer in layers if not layer.relative_error <= tolerance), None)


def _relative_error(expected: FloatArray, found: FloatArray) -> float:
    norm = float(np.linalg.norm(expected))
    return float(np.linalg.norm(found - expected)) / norm if norm else float(np.abs(found).max())


def _maps_of_network(model: Backbone, images: FloatArray) -> dict[str, FloatArray]:
    maps: dict[str, FloatArray] = {}
    hooks = []

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                maps[name] = output.float().numpy()

        return hook

    for name, module in model.named_modules():
        if name:
            hooks.append(module.register_forward_hook(keep(name)))
    try:
        with torch.inference_mode():
            model(torch.from_numpy(images))
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def _maps_of_graph(content: bytes, images: Any, names: set[str]) -> dict[str, FloatArray]:
    """Compute the tensors in `names` that the graph has, in its order."""
    import onnx
    import onnxruntime

    model = onnx.load_from_string(content)
    made = [output for node in model.graph.node for output in node.output if output in names]
    for name in made:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(made, {INPUT: images})
    return {name: np.asarray(value, dtype=np.float32) for name, value in zip(made, values, strict=True)}
