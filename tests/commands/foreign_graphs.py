"""ONNX graphs as others make them: they say nothing of their use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from omnireid.embedding.weights_file import WeightsFile


def foreign(untrained: Path, path: Path, *, takes_pixels: bool = False, batch: int | None = None) -> Path:
    """An ONNX graph that says nothing of its use."""
    graph = WeightsFile(untrained).make_graph("fp32", takes_pixels=takes_pixels)
    model = onnx.load_from_string(graph.content)
    if batch is not None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)
    return path


COLOURS = ["--mean", "0.485", "0.456", "0.406", "--std", "0.229", "0.224", "0.225"]


def small_graph(path: Path, nodes: list[onnx.NodeProto], outputs: dict[str, list[str | int]]) -> Path:
    """A graph of `nodes` on "means", the (N, 3) mean colours of (N, 3, 8, 4) float32 images."""
    mean = onnx.helper.make_node("GlobalAveragePool", ["images"], ["pooled"])
    flat = onnx.helper.make_node("Flatten", ["pooled"], ["means"])
    floats = onnx.TensorProto.FLOAT
    takes = onnx.helper.make_tensor_value_info("images", floats, ["N", 3, 8, 4])
    gives = [onnx.helper.make_tensor_value_info(name, floats, shape) for name, shape in outputs.items()]
    weight = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    numbers: dict[str, np.ndarray[Any, Any]] = {"weight": weight, "zero": np.zeros((), np.float32)}
    numbers |= {"one": np.array([1], np.int64), "seven": np.array([7, 4], np.int64)}
    kept = [onnx.numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = onnx.helper.make_graph([mean, flat, *nodes], "small", [takes], gives, kept)
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path
