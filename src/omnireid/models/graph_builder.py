"""An ONNX graph under construction, made from a network's weights alone: no torch, batch norms folded, any batch size.

A tensor of the graph has the name of the module whose output it equals, so that
network and graph can be compared layer by layer.

Shapes: N crops, H rows, W columns, C channels, D values of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from omnireid.errors import CheckpointError, CoverageError, require
from omnireid.images.preprocess import Preprocessing
from omnireid.models.layer_plan import COUNTER, Activation

if TYPE_CHECKING:
    import onnx

INPUT = "images"
OUTPUT = "embeddings"
OPSET = 17  # published in 2022, so every runtime of recent years reads it
IR_VERSION = 8
EPSILON = 1e-5
"""What torch adds to the variance in batch and instance norms."""

Array = npt.NDArray[Any]


class GraphBuilder:
    """Nodes and constants in order, and which weights were used.

    Args:
        tensors: The network's state, in our own key names; a classifier is left out.
        preprocessing: Input size, mean and std.
        half: Whether weights and arithmetic are float16. Input and output stay as they are.
        takes_pixels: Whether the input is (N, H, W, 3) uint8 RGB, normalised inside the graph; else it is
            (N, 3, H, W) float32, already normalised.
        where: Name of the weights in errors.

    Raises:
        MissingDependencyError: The library onnx is not installed.
    """

    def __init__(
        self,
        tensors: Mapping[str, npt.NDArray[np.generic]],
        preprocessing: Preprocessing,
        *,
        half: bool,
        takes_pixels: bool,
        where: str,
    ) -> None:
        self._onnx = _import_onnx()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._tensors = tensors
        self._unused = {name for name in tensors if not name.endswith(COUNTER) and not name.startswith("classifier.")}
        self._preprocessing = preprocessing
        self._type: type[np.floating[Any]] = np.float16 if half else np.float32
        self._takes_pixels = takes_pixels
        self._where = where

    def take(self, name: str, *shape: int) -> Array:
        """Take a weight in float64, in which norms are folded, after a check of its shape and values.

        Raises:
            CoverageError: It is missing or has another shape.
            CheckpointError: A value is not finite.
        """
        if name not in self._tensors:
            raise CoverageError(f"{self._where} lacks {name}, so it does not cover its network. See omnireid inspect.")
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise CoverageError(
                f"{self._where}: {name} has shape {tensor.shape}, the network's has {shape}. "
                "It may belong to another network."
            )
        self._unused.discard(name)
        weight = tensor.astype(np.float64)
        # Checked here because the embeddings may not show it: OpenVINO's ReLU turns NaN into 0.
        if bad := int((~np.isfinite(weight)).sum()):
            raise CheckpointError(
                f"{self._where}: {name} has {bad} values that are not finite (NaN or infinity) out of {weight.size}. "
                "The training that wrote it diverged, or the file is damaged: use an earlier checkpoint."
            )
        return weight

    def constant(self, name: str, values: Array) -> str:
        """Store values in the graph's type. Denormals become 0: they slow processors down and contribute nothing."""
        return self._store(name, values, self._type)

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append an operation whose single output is called `output`."""
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def reshape(self, maps: str, shape: Sequence[int], output: str) -> str:
        """Add a reshape of each crop's values to `shape`, whatever the batch."""
        values = np.array([0, *shape], dtype=np.int64)  # 0 keeps the batch
        self._constants.append(self._onnx.numpy_helper.from_array(values, f"{output}.shape"))
        return self.add("Reshape", [maps, f"{output}.shape"], output)

    def add_input(self) -> tuple[str, Array | None]:
        """Add what leads from the input to the first layer.

        Returns:
            The images (N, 3, H, W) in the graph's type, and the (1, 3, 1, 1) values that the first layer's weights
            are still to be divided by; None where there are none.
        """
        if self._takes_pixels:
            return self._add_pixel_input()
        types = self._onnx.TensorProto
        kind = types.FLOAT16 if self._type is np.float16 else types.FLOAT
        return self.add("Cast", [INPUT], "images.real", to=kind), None

    def convolution(
        self,
        maps: str,
        weight: Array,
        bias: Array | None,
        output: str,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "none",
    ) -> str:
        """Add a convolution that keeps the size at stride 1, and its activation."""
        inputs = [maps, self.constant(f"{output}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{output}.bias", bias))
        kernel = weight.shape[2]
        result = self.add(
            "Conv",
            inputs,
            output if activation == "none" else f"{output}.linear",
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            strides=[stride, stride],
            group=groups,
        )
        return self.activate(result, activation, output)

    def conv_norm(
        self,
        maps: str,
        name: str,
        channels: tuple[int, int],
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "relu",
        instance: bool = False,
        divisor: Array | None = None,
    ) -> str:
        """Add a `ConvNorm` from `channels[0]` to `channels[1]`, whose input is first divided by `divisor`."""
        before, after = channels
        weight = self.take(f"{name}.conv.weight", after, before // groups, kernel, kernel)
        if divisor is not None:
            weight = weight / divisor.reshape(1, -1, 1, 1)
        if not instance:
            factor, shift = self.batch_norm(f"{name}.norm", after)
            weight = weight * factor[:, None, None, None]
            return self.convolution(maps, weight, shift, name, stride=stride, groups=groups, activation=activation)
        plain = self.convolution(maps, weight, None, f"{name}.conv", stride=stride, groups=groups)
        normed = self.instance_norm(plain, f"{name}.norm", after, name if activation == "none" else f"{name}.norm")
        return self.activate(normed, activation, name)

    def activate(self, maps: str, activation: Activation, output: str) -> str:
        """Add an activation; ``none`` adds nothing and returns `maps`."""
        if activation == "none":
            return maps
        if activation == "relu":
            return self.add("Relu", [maps], output)
        limits = [self.constant(f"{output}.{name}", np.array(value)) for name, value in (("low", 0.0), ("high", 6.0))]
        return self.add("Clip", [maps, *limits], output)

    def projection(
        self, maps: str, name: str, in_features: int, out_features: int, *, activation: Activation = "relu"
    ) -> str:
        """Add a `Projection` of (N, C) features."""
        weight = self.take(f"{name}.linear.weight", out_features, in_features)
        bias = self.take(f"{name}.linear.bias", out_features)
        factor, shift = self.batch_norm(f"{name}.norm", out_features)
        inputs = [maps, self.constant(f"{name}.weight", weight * factor[:, None])]
        inputs.append(self.constant(f"{name}.bias", bias * factor + shift))
        product = self.add("Gemm", inputs, name if activation == "none" else f"{name}.norm", transB=1)
        return self.activate(product, activation, name)

    def batch_norm(self, name: str, channels: int) -> tuple[Array, Array]:
        """Take a batch norm in evaluation: its (C,) factors and shifts."""
        scale, shift = self.take(f"{name}.weight", channels), self.take(f"{name}.bias", channels)
        mean, variance = self.take(f"{name}.running_mean", channels), self.take(f"{name}.running_var", channels)
        if variance.min() < 0:
            raise CheckpointError(
                f"{self._where}: {name}.running_var is negative, which no variance is. The file is damaged: get it "
                "again."
            )
        factor = scale / np.sqrt(variance + EPSILON)
        return factor, shift - mean * factor

    def instance_norm(self, maps: str, name: str, channels: int, output: str) -> str:
        """Add an affine instance norm. It depends on the image, so it cannot be folded."""
        scale = self.constant(f"{output}.scale", self.take(f"{name}.weight", channels))
        shift = self.constant(f"{output}.shift", self.take(f"{name}.bias", channels))
        return self.add("InstanceNormalization", [maps, scale, shift], output, epsilon=EPSILON)

    def finish(self, embeddings: str, embedding_width: int, *, name: str) -> onnx.ModelProto:
        """Add the output, (N, D) float32 whatever the graph computes in, and return the whole graph.

        Args:
            embeddings: Tensor with the embeddings.
            embedding_width: D.
            name: Name of the graph.

        Raises:
            CoverageError: No layer took some of the weights.
        """
        if self._unused:
            names = ", ".join(sorted(self._unused)[:5])
            raise CoverageError(
                f"{self._where} has weights that its network does not have: {names}. They may belong to "
                "another network."
            )
        helper, types = self._onnx.helper, self._onnx.TensorProto
        self.add("Cast", [embeddings], OUTPUT, to=types.FLOAT)
        height, width = self._preprocessing.height, self._preprocessing.width
        shape = ["batch", height, width, 3] if self._takes_pixels else ["batch", 3, height, width]
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(INPUT, types.UINT8 if self._takes_pixels else types.FLOAT, shape)],
            [helper.make_tensor_value_info(OUTPUT, types.FLOAT, ["batch", embedding_width])],
            self._constants,
        )
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="omnireid"
        )
        return model

    def _add_pixel_input(self) -> tuple[str, Array | None]:
        """Add the step from pixels to channels first, less the mean.

        The division by the std is left to the first layer's weights. In float16 it is done here, in float32: those
        weights, 58 times smaller, would lose digits.
        """
        channels_first = self.add("Transpose", [INPUT], "pixels", perm=[0, 3, 1, 2])
        maps = self.add("Cast", [channels_first], "pixels.real", to=self._onnx.TensorProto.FLOAT)
        size = self._preprocessing
        mean, std = (255 * np.asarray(values).reshape(1, 3, 1, 1) for values in (size.mean, size.std))
        maps = self.add("Sub", [maps, self._store("pixels.mean", mean, np.float32)], "pixels.centred")
        if self._type is np.float32:
            return maps, std
        maps = self.add("Mul", [maps, self._store("pixels.factor", 1 / std, np.float32)], "pixels.normalised")
        return self.add("Cast", [maps], "pixels.half", to=self._onnx.TensorProto.FLOAT16), None

    def _store(self, name: str, values: Array, kind: type[np.floating[Any]]) -> str:
        with np.errstate(over="ignore"):
            stored = values.astype(kind)
        if not np.isfinite(stored).all():
            raise CheckpointError(
                f"{self._where}: {name}, with its norm folded in, has values that {np.dtype(kind).name} cannot hold. "
                f"{'Use --precision fp32' if kind is np.float16 else 'Use an earlier checkpoint'}."
            )
        stored = np.where(np.abs(stored) < np.finfo(kind).tiny, kind(0), stored)
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(stored), name))
        return name


def _import_onnx() -> Any:
    require("onnx", None, "Making an ONNX graph")
    import onnx
    import onnx.helper
    import onnx.numpy_helper

    return onnx
