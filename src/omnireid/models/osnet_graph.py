"""OSNet as an ONNX graph, made from its weights alone: no torch, batch norms folded, any number of crops.

A tensor of the graph has the name of the module whose output it equals
(``conv1``, ``conv2.0.streams.1.0``, ``conv2.0``, ``fc``), so that the two can be
held against each other layer by layer.

Shapes: N crops, H rows, W columns, C channels, D values of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from omnireid.errors import CheckpointError, CoverageError, MissingDependencyError
from omnireid.images.preprocess import Preprocessing
from omnireid.models.osnet_config import EMBEDDING_WIDTH, GATE_REDUCTION, OSNetConfig

if TYPE_CHECKING:
    import onnx

INPUT = "images"
OUTPUT = "embeddings"
OPSET = 17  # of 2022: every runtime of the last years reads it
IR_VERSION = 8
_EPSILON = 1e-5  # torch's, of batch and instance norms
_COUNTER = "num_batches_tracked"

Array = npt.NDArray[Any]


def build_osnet_graph(
    config: OSNetConfig,
    tensors: Mapping[str, npt.NDArray[np.generic]],
    preprocessing: Preprocessing,
    *,
    half: bool = False,
    takes_pixels: bool = True,
    where: str = "the weights",
) -> onnx.ModelProto:
    """Build the graph of an OSNet. The same arguments give the same bytes.

    Args:
        config: the design.
        tensors: the network's state, by our own names; a classifier is left out.
        preprocessing: input size, mean and std.
        half: weights and arithmetic in float16; input and output stay as they are.
        takes_pixels: the input is (N, H, W, 3) uint8 RGB and normalised inside; else (N, 3, H, W) float32, normalised.
        where: what to call the weights in an error.

    Returns:
        A graph from ``images`` to ``embeddings``, (N, D) float32; N is free.

    Raises:
        CoverageError: a tensor is missing, has another shape, or is not the network's.
        CheckpointError: a value is not finite, or is not once it is folded and stored in the graph's type.
        MissingDependencyError: the library onnx is not installed.
    """
    helper = _onnx().helper
    builder = _Builder(tensors, half=half, where=where)
    images, divisor = builder.add_pixel_input(preprocessing) if takes_pixels else (builder.add_float_input(), None)
    _add_network(builder, config, images, divisor)
    builder.refuse_leftovers()
    types = helper.TensorProto
    height, width = preprocessing.height, preprocessing.width
    shape = ["batch", height, width, 3] if takes_pixels else ["batch", 3, height, width]
    graph = helper.make_graph(
        builder.nodes,
        "osnet",
        [helper.make_tensor_value_info(INPUT, types.UINT8 if takes_pixels else types.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT, types.FLOAT, ["batch", EMBEDDING_WIDTH])],
        builder.constants,
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="omnireid"
    )
    return model


def _onnx() -> Any:
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise MissingDependencyError(
            "Making an ONNX graph needs the library onnx. Install it with: pip install 'omnireid[export]'"
        ) from error
    return onnx


class _Builder:
    """A graph under construction: nodes and constants in order, and which weights were used."""

    def __init__(self, tensors: Mapping[str, npt.NDArray[np.generic]], *, half: bool, where: str) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._tensors = tensors
        self._left = {name for name in tensors if not name.endswith(_COUNTER) and not name.startswith("classifier.")}
        self._type: type[np.floating[Any]] = np.float16 if half else np.float32
        self._where = where
        self._onnx = _onnx()

    def take(self, name: str, *shape: int) -> Array:
        """A weight in float64, checked; the folding is done in it."""
        if name not in self._tensors:
            raise CoverageError(f"{self._where} lacks {name}, so it does not cover its network. See omnireid inspect.")
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise CoverageError(
                f"{self._where}: {name} has shape {tensor.shape}, the network's has {shape}. Is it another variant's?"
            )
        self._left.discard(name)
        weight = tensor.astype(np.float64)
        # Not left to whoever looks at the embeddings: OpenVINO's ReLU makes 0 of NaN, and they look like any others.
        if bad := int((~np.isfinite(weight)).sum()):
            raise CheckpointError(
                f"{self._where}: {name} has {bad} values that are not finite (NaN or infinity) out of {weight.size}. "
                "The training that wrote it diverged, or the file is damaged: use an earlier checkpoint."
            )
        return weight

    def refuse_leftovers(self) -> None:
        """Refuse weights that no layer took."""
        if self._left:
            names = ", ".join(sorted(self._left)[:5])
            raise CoverageError(f"{self._where} has weights that its network has not: {names}. Another variant's?")

    def constant(self, name: str, values: Array) -> str:
        """Store values in the graph's type; denormals become 0, which slow processors down and do nothing."""
        return self._constant(name, values, self._type)

    def _constant(self, name: str, values: Array, kind: type[np.floating[Any]]) -> str:
        with np.errstate(over="ignore"):
            stored = values.astype(kind)
        if not np.isfinite(stored).all():
            raise CheckpointError(
                f"{self._where}: {name}, with its norm folded in, has values that {np.dtype(kind).name} cannot hold. "
                f"{'Use --precision fp32' if kind is np.float16 else 'Use an earlier checkpoint'}."
            )
        stored = np.where(np.abs(stored) < np.finfo(kind).tiny, kind(0), stored)
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(stored), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append an operation; its one output is what it is called."""
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def add_pixel_input(self, preprocessing: Preprocessing) -> tuple[str, Array | None]:
        """Pixels to channels first, less the mean; and what conv1's weights are still to be divided by.

        In halves the division is done here, in float32: conv1's weights, 58 times smaller, would lose digits.
        """
        channels_first = self.add("Transpose", [INPUT], "pixels", perm=[0, 3, 1, 2])
        maps = self.add("Cast", [channels_first], "pixels.real", to=self._onnx.TensorProto.FLOAT)
        mean, std = (255 * np.asarray(values).reshape(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
        maps = self.add("Sub", [maps, self._constant("pixels.mean", mean, np.float32)], "pixels.centred")
        if self._type is np.float32:
            return maps, std
        maps = self.add("Mul", [maps, self._constant("pixels.factor", 1 / std, np.float32)], "pixels.normalised")
        return self.add("Cast", [maps], "pixels.half", to=self._onnx.TensorProto.FLOAT16), None

    def add_float_input(self) -> str:
        """Normalised images in the graph's type."""
        types = self._onnx.TensorProto
        kind = types.FLOAT16 if self._type is np.float16 else types.FLOAT
        return self.add("Cast", [INPUT], "images.real", to=kind)

    def add_output(self, embeddings: str) -> None:
        """Embeddings as float32, whatever the graph computes in."""
        self.add("Cast", [embeddings], OUTPUT, to=self._onnx.TensorProto.FLOAT)

    def convolution(
        self,
        maps: str,
        weight: Array,
        bias: Array | None,
        output: str,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = False,
    ) -> str:
        """A convolution that keeps the size at stride 1, and a ReLU where asked."""
        inputs = [maps, self.constant(f"{output}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{output}.bias", bias))
        kernel = weight.shape[2]
        result = self.add(
            "Conv",
            inputs,
            f"{output}.linear" if relu else output,
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            strides=[stride, stride],
            group=groups,
        )
        return self.add("Relu", [result], output) if relu else result

    def batch_norm(self, name: str, channels: int) -> tuple[Array, Array]:
        """(C,) factors and shifts of a batch norm in evaluation."""
        scale, shift = self.take(f"{name}.weight", channels), self.take(f"{name}.bias", channels)
        mean, variance = self.take(f"{name}.running_mean", channels), self.take(f"{name}.running_var", channels)
        if variance.min() < 0:
            raise CheckpointError(f"{self._where}: {name}.running_var is negative, which no variance is. Get it again.")
        factor = scale / np.sqrt(variance + _EPSILON)
        return factor, shift - mean * factor

    def instance_norm(self, maps: str, name: str, channels: int, output: str) -> str:
        """An affine instance norm, which depends on the image and cannot be folded."""
        scale = self.constant(f"{output}.scale", self.take(f"{name}.weight", channels))
        shift = self.constant(f"{output}.shift", self.take(f"{name}.bias", channels))
        return self.add("InstanceNormalization", [maps, scale, shift], output, epsilon=_EPSILON)

    def conv_norm(
        self,
        maps: str,
        name: str,
        channels: tuple[int, int],
        kernel: int = 1,
        *,
        stride: int = 1,
        relu: bool = True,
        instance: bool = False,
        divisor: Array | None = None,
    ) -> str:
        """The module ConvNorm, from `channels[0]` to `channels[1]`; the input is divided by `divisor` (channels)."""
        before, after = channels
        weight = self.take(f"{name}.conv.weight", after, before, kernel, kernel)
        if divisor is not None:
            weight = weight / divisor.reshape(1, -1, 1, 1)
        if not instance:
            factor, shift = self.batch_norm(f"{name}.norm", after)
            weight = weight * factor[:, None, None, None]
            return self.convolution(maps, weight, shift, name, stride=stride, relu=relu)
        plain = self.convolution(maps, weight, None, f"{name}.conv", stride=stride)
        normed = self.instance_norm(plain, f"{name}.norm", after, f"{name}.norm" if relu else name)
        return self.add("Relu", [normed], name) if relu else normed

    def lite_conv(self, maps: str, name: str, channels: int) -> str:
        """The module LiteConv."""
        pointwise = self.take(f"{name}.pointwise.weight", channels, channels, 1, 1)
        depthwise = self.take(f"{name}.depthwise.weight", channels, 1, 3, 3)
        factor, shift = self.batch_norm(f"{name}.norm", channels)
        mixed = self.convolution(maps, pointwise, None, f"{name}.pointwise")
        return self.convolution(mixed, depthwise * factor[:, None, None, None], shift, name, groups=channels, relu=True)


def _add_network(builder: _Builder, config: OSNetConfig, images: str, divisor: Array | None) -> None:
    stem, *stages = config.channels
    stem_is_instance = config.normalisation != "batch"
    maps = builder.conv_norm(images, "conv1", (3, stem), 7, stride=2, instance=stem_is_instance, divisor=divisor)
    maps = builder.add("MaxPool", [maps], "pool1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    before = stem
    for number, after in enumerate(stages, start=2):
        for index, instance in enumerate(config.block_norms[f"conv{number}"]):
            maps = _add_block(builder, config, maps, f"conv{number}.{index}", (before, after), instance)
            before = after
        if number < 4:
            maps = builder.conv_norm(maps, f"transition{number}", (after, after))
            maps = builder.add("AveragePool", [maps], f"pool{number}", kernel_shape=[2, 2], strides=[2, 2])
    maps = builder.conv_norm(maps, "conv5", (before, before))
    features = builder.add("Flatten", [builder.add("GlobalAveragePool", [maps], "pool5")], "features")
    weight = builder.take("fc.linear.weight", EMBEDDING_WIDTH, before)
    bias = builder.take("fc.linear.bias", EMBEDDING_WIDTH)
    factor, shift = builder.batch_norm("fc.norm", EMBEDDING_WIDTH)
    inputs = [features, builder.constant("fc.weight", weight * factor[:, None])]
    inputs.append(builder.constant("fc.bias", bias * factor + shift))
    builder.add_output(builder.add("Relu", [builder.add("Gemm", inputs, "fc.norm", transB=1)], "fc"))


def _add_block(
    builder: _Builder, config: OSNetConfig, maps: str, name: str, channels: tuple[int, int], instance: str
) -> str:
    """The module OmniScaleBlock."""
    before, after = channels
    middle = after // 4
    reduced = builder.conv_norm(maps, f"{name}.reduce", (before, middle))
    streams = []
    for stream, depth in enumerate(config.depths):
        layer = reduced
        for index in range(depth):
            path = f"{name}.streams.{stream}.{index}"
            if config.convolution == "lite":
                layer = builder.lite_conv(layer, path, middle)
            else:
                layer = builder.conv_norm(layer, path, (middle, middle), 3)
        streams.append(layer)
    if config.fusion == "concatenation":
        fused = builder.add("Concat", streams, f"{name}.fused", axis=1)
        middle *= len(streams)
    else:
        terms = streams if config.gate == "none" else _add_gates(builder, config, name, streams, middle)
        fused = terms[0]
        for index, term in enumerate(terms[1:], start=1):
            fused = builder.add("Add", [fused, term], f"{name}.sum.{index}")
    branch = builder.conv_norm(fused, f"{name}.restore", (middle, after), relu=False, instance=instance == "branch")
    shortcut = maps if before == after else builder.conv_norm(maps, f"{name}.shortcut", channels, relu=False)
    total = builder.add("Add", [branch, shortcut], f"{name}.added")
    if instance == "sum":
        total = builder.instance_norm(total, f"{name}.sum_norm", after, f"{name}.sum_norm")
    return builder.add("Relu", [total], name)


def _add_gates(builder: _Builder, config: OSNetConfig, name: str, streams: Sequence[str], middle: int) -> list[str]:
    """Each stream times its weights."""
    weighted = []
    fixed = builder.take(f"{name}.gate.logits", len(streams), middle) if config.gate == "fixed" else None
    shared = None
    if config.gate in ("unified", "stream-weight"):
        shared = _gate_constants(builder, f"{name}.gate", middle, 1 if config.gate == "stream-weight" else middle)
    for index, stream in enumerate(streams):
        path = f"{name}.gates.{index}"
        if fixed is not None:
            weights = builder.constant(path, 1 / (1 + np.exp(-fixed[index].reshape(1, -1, 1, 1))))
        else:
            constants = shared or _gate_constants(builder, f"{name}.gate.{index}", middle, middle)
            weights = _add_gate(builder, stream, path, constants)
        weighted.append(builder.add("Mul", [stream, weights], f"{path}.product"))
    return weighted


def _gate_constants(builder: _Builder, name: str, channels: int, outputs: int) -> tuple[str, str, str, str]:
    """The constants of one ChannelGate, which may serve several streams."""
    hidden = channels // GATE_REDUCTION
    return (
        builder.constant(f"{name}.reduce.weight", builder.take(f"{name}.reduce.weight", hidden, channels, 1, 1)),
        builder.constant(f"{name}.reduce.bias", builder.take(f"{name}.reduce.bias", hidden)),
        builder.constant(f"{name}.expand.weight", builder.take(f"{name}.expand.weight", outputs, hidden, 1, 1)),
        builder.constant(f"{name}.expand.bias", builder.take(f"{name}.expand.bias", outputs)),
    )


def _add_gate(builder: _Builder, stream: str, path: str, constants: tuple[str, str, str, str]) -> str:
    """(N, C, 1, 1) weights of one stream."""
    squeezed = builder.add("GlobalAveragePool", [stream], f"{path}.pool")
    hidden = builder.add("Conv", [squeezed, *constants[:2]], f"{path}.reduce")
    hidden = builder.add("Relu", [hidden], f"{path}.hidden")
    logits = builder.add("Conv", [hidden, *constants[2:]], f"{path}.expand")
    return builder.add("Sigmoid", [logits], path)
