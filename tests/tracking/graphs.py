"""Small ONNX graphs that look like detectors: each gives the same output for every picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from omnireid.types import FloatArray


def write_constant_detector(
    path: Path, output: FloatArray, size: tuple[int, int] = (64, 32), input_type: int = TensorProto.FLOAT
) -> Path:
    """Write a graph that takes (1, 3, H, W) and gives (1, *output.shape), whatever it sees."""
    picture = helper.make_tensor_value_info("images", input_type, [1, 3, *size])
    shape = [1, *output.shape]
    given = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
    constant = numpy_helper.from_array(output[np.newaxis].astype(np.float32), "constant")
    nothing = numpy_helper.from_array(np.zeros(1, np.float32), "nothing")
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["constant", "zero"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "detector", [picture], [given], [constant, nothing])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path
