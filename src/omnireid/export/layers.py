"""Which layer of a graph is the first to differ from the network it was made from."""

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
    """How far one layer's maps are from the network's.

    Attributes:
        name: of the module, and of the graph's tensor.
        relative_error: norm of the difference over the norm of the network's maps; NaN where a value is not finite.
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
    """Hold every layer of an ONNX graph against the module of its name, in the order of the graph.

    Args:
        model: the network, float32, in evaluation mode.
        content: an ONNX graph whose tensors are named by `omnireid.models.osnet_graph`.
        pixels: (N, H, W, 3) crops; four of them are used.
        normalise: from pixels to (N, 3, H, W) float32.
        takes_pixels: what the graph takes; see `omnireid.weights.graph_file.GraphMetadata`.
    """
    few = pixels[:_CROPS]
    expected = _maps_of_network(model, normalise(few))
    found = _maps_of_graph(content, few if takes_pixels else normalise(few), set(expected))
    return tuple(LayerDifference(name, _relative_error(expected[name], maps)) for name, maps in found.items())


def first_difference(layers: tuple[LayerDifference, ...], tolerance: float) -> LayerDifference | None:
    """The first layer whose relative error is above `tolerance` or no number; None where there is none."""
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
    """The maps of the tensors in `names` that the graph has, in its order."""
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
