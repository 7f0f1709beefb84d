"""The OSNets of Intel's Open Model Zoo, read from their OpenVINO files as tensors under our own names.

``person-reidentification-retail-0288``, ``-0287``, ``-0286`` and ``-0277`` are the ``osnet_retail_…`` of the four
widths. Two of their layers are left out, because they hardly change the embedding: an instance norm on the input, whose
scale goes into conv1, and a PReLU on the embedding, whose slope is 0.99 to 1.00.

Shapes: C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from omnireid.errors import CheckpointError
from omnireid.types import FloatArray
from omnireid.weights.graph_file import read_pair
from omnireid.weights.openvino_xml import check_values, read_outline
from omnireid.weights.runtime_start import shared_core

STAGES = ("conv2", "conv3", "conv4")
_DEPTHS = (1, 2, 3, 4)
_WIDTHS = {16: "x0_25", 32: "x0_5", 48: "x0_75", 64: "x1_0"}
NORM_EPSILON = 1e-5
"""What a batch norm adds to the variance, in torch and in OpenVINO's files alike."""


@dataclass(frozen=True)
class RetailOSNet:
    """The tensors of one of these networks.

    Attributes:
        architecture: Its name here, such as ``osnet_retail_x0_25``.
        tensors: Its tensors under our names. A batch norm that was folded into its convolution has mean 0 and variance
            1, and only shifts.
    """

    architecture: str
    tensors: Mapping[str, npt.NDArray[np.generic]]


def read_retail_osnet(path: Path) -> RetailOSNet:
    """Read one of these networks.

    Args:
        path: Its ``.xml``, with the ``.bin`` beside it.

    Raises:
        CheckpointError: The files cannot be read, do not belong together, or hold another network.
        MissingDependencyError: OpenVINO is not installed.
    """
    content, values = read_pair(path)
    check_values(read_outline(content, str(path)), len(values), str(path))
    try:
        model = shared_core().read_model(content, values)
        return _Layers(model).read()
    except (RuntimeError, StopIteration, KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not one of the Open Model Zoo's OSNets (person-reidentification-retail-0277, -0286, -0287 and "
            "-0288), whose tensors can be moved into ours. Other networks are run as they are, or imitated: "
            "omnireid train … --teacher."
        ) from error


class _Layers:
    """The layers of a model in the order of its graph, handed out one by one."""

    def __init__(self, model: Any) -> None:
        layers = [node for node in model.get_ordered_ops() if node.get_type_name() not in ("Constant", "Convert")]
        self._norms = iter([_read_norm(node) for node in layers if node.get_type_name() == "MVN"])
        self._product = next(node for node in layers if node.get_type_name() == "MatMul")
        every = [node for node in layers if node.get_type_name() in ("Convolution", "GroupConvolution")]
        on_averages = [node for node in every if _pixels_in(node) == 1]
        self._gates = iter([_read_convolution(node) for node in on_averages])
        self._convolutions = iter([_read_convolution(node) for node in every if _pixels_in(node) != 1])
        self._tensors: dict[str, npt.NDArray[np.generic]] = {}

    def read(self) -> RetailOSNet:
        """Read the whole network."""
        input_scale, _ = next(self._norms)
        weight, _ = next(self._convolutions)
        scale, shift = next(self._norms)
        architecture = f"osnet_retail_{_WIDTHS[len(weight)]}"
        self._tensors["conv1.conv.weight"] = weight * input_scale.reshape(1, 3, 1, 1)
        self._tensors |= {"conv1.norm.weight": scale, "conv1.norm.bias": shift}
        for stage in STAGES:
            self._read_block(f"{stage}.0", has_shortcut=True)
            self._read_gate(f"{stage}.0.gate")
            self._read_block(f"{stage}.1", has_shortcut=False)
            (scale, shift), *_ = [next(self._norms) for _ in _DEPTHS]  # one gate, repeated for each stream
            self._tensors |= {f"{stage}.1.gate.weight": scale, f"{stage}.1.gate.bias": shift}
            if stage != STAGES[-1]:
                self._read_folded(f"transition{stage[-1]}")
        self._read_folded("conv5")
        weight, shift = next(self._convolutions)
        if next(self._convolutions, None) is not None:
            raise ValueError("the sum over the places of conv5 is the last convolution")
        self._read_head(weight.reshape(-1, *weight.shape[-2:]), shift)
        return RetailOSNet(architecture, self._tensors)

    def _read_head(self, places: FloatArray, shift: FloatArray) -> None:
        """Read what follows conv5: a sum over (C, H, W) weighted places plus (C,) shifts, a linear layer and a norm."""
        weight, bias = _read_convolution(self._product)
        norm_scale, norm_shift = _read_affine(self._product)
        count = places[0].size
        self._tensors |= {
            "average.weight": places * count,
            "fc.linear.weight": weight,
            "fc.linear.bias": weight @ shift + bias,
            "fc.norm.weight": norm_scale,
            "fc.norm.bias": norm_shift,
            "fc.norm.running_mean": np.zeros(len(bias), np.float32),
            "fc.norm.running_var": np.full(len(bias), 1 - NORM_EPSILON, np.float32),
        }

    def _read_block(self, name: str, *, has_shortcut: bool) -> None:
        self._read_folded(f"{name}.reduce")
        for stream, depth in enumerate(_DEPTHS):
            for index in range(depth):
                path = f"{name}.streams.{stream}.{index}"
                self._tensors[f"{path}.pointwise.weight"], _ = next(self._convolutions)
                self._read_folded(path, "depthwise")
        self._read_folded(f"{name}.restore")
        if has_shortcut:
            self._read_folded(f"{name}.shortcut")

    def _read_folded(self, name: str, layer: str = "conv") -> None:
        """Read a convolution into which its batch norm was folded."""
        weight, bias = next(self._convolutions)
        channels = len(bias)
        self._tensors |= {
            f"{name}.{layer}.weight": weight.reshape(channels, -1, *weight.shape[-2:]),
            f"{name}.norm.weight": np.ones(channels, np.float32),
            f"{name}.norm.bias": bias,
            f"{name}.norm.running_mean": np.zeros(channels, np.float32),
            f"{name}.norm.running_var": np.full(channels, 1 - NORM_EPSILON, np.float32),
        }

    def _read_gate(self, name: str) -> None:
        """Read a gate that all streams of a block share; the graph repeats it for each of them."""
        pairs = [(next(self._gates), next(self._gates)) for _ in _DEPTHS]
        for part, (weight, bias) in zip(("reduce", "expand"), pairs[0], strict=True):
            self._tensors |= {f"{name}.{part}.weight": weight, f"{name}.{part}.bias": bias}


def _pixels_in(node: Any) -> int:
    """Positions of the map that a convolution reads."""
    shape = node.input(0).get_partial_shape()
    return int(shape[2].get_length() * shape[3].get_length())


def _read_convolution(node: Any) -> tuple[FloatArray, FloatArray]:
    """The kernel of a convolution and what is added to its output; an empty bias if nothing is."""
    kernel = _constant(node.input_value(1))
    for user in _users(node):
        if user.get_type_name() == "Add":
            found = [_constant(user.input_value(index)) for index in (0, 1) if _is_constant(user.input_value(index))]
            return kernel, found[0].reshape(-1) if found else np.zeros(0, np.float32)
    return kernel, np.zeros(0, np.float32)


def _read_norm(node: Any) -> tuple[FloatArray, FloatArray]:
    """(C,) scale and shift behind a normalisation."""
    following = next(_walk(node))
    scale = next(_constant(value) for value in following.input_values() if _is_constant(value))
    adding = next(_walk(following))
    shift = next(_constant(value) for value in adding.input_values() if _is_constant(value))
    return scale.reshape(-1), shift.reshape(-1)


def _read_affine(node: Any) -> tuple[FloatArray, FloatArray]:
    """(C,) scale and shift of the batch norm behind a layer with a bias."""
    return _read_norm(next(user for user in _users(node) if user.get_type_name() == "Add"))


def _walk(node: Any) -> Iterator[Any]:
    """The arithmetic that follows a layer, with changes of shape left out."""
    for user in _users(node):
        if user.get_type_name() == "Reshape":
            yield from _walk(user)
        elif user.get_type_name() in ("Multiply", "Add"):
            yield user


def _users(node: Any) -> list[Any]:
    return [port.get_node() for port in node.output(0).get_target_inputs()]


def _is_constant(output: Any) -> bool:
    node = output.get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _constant(output: Any) -> FloatArray:
    """The values of a constant, whatever its type and shape in the file."""
    node, shape = output.get_node(), [int(size) for size in output.get_shape()]
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        raise ValueError(f"{node.get_type_name()} where a constant was expected")
    return np.array(node.data, dtype=np.float32).reshape(shape)
