"""OSNet as an ONNX graph, made from its weights alone; see `omnireid.models.graph_builder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from omnireid.images.preprocess import Preprocessing
from omnireid.models.graph_builder import EPSILON, GraphBuilder
from omnireid.models.layer_plan import Activation
from omnireid.models.observed_tensors import ObservedBlock, ObservedTensors
from omnireid.models.osnet_config import (
    GATE_REDUCTION,
    WEIGHTED_PLACES,
    Gate,
    InstanceNorm,
    OSNetConfig,
    count_context_groups,
)
from omnireid.models.place_weights import last_map_size, spread_weights

if TYPE_CHECKING:
    import onnx


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
        config: The design.
        tensors: The network's state, in our own key names; a classifier is left out.
        preprocessing: Input size, mean and std.
        half: Use float16 for weights and arithmetic. Input and output stay as they are.
        takes_pixels: Take (N, H, W, 3) uint8 RGB and normalise inside; else take (N, 3, H, W) float32, normalised.
        where: Name of the weights in errors.

    Returns:
        A graph from ``images`` to ``embeddings``, (N, D) float32, for any N.

    Raises:
        CoverageError: A tensor is missing, has another shape, or does not belong to the network.
        CheckpointError: A value is not finite, or not once it is folded and stored in the graph's type.
        MissingDependencyError: The library onnx is not installed.
    """
    builder = GraphBuilder(tensors, preprocessing, half=half, takes_pixels=takes_pixels, where=where)
    embeddings = _add_network(builder, config, last_map_size(preprocessing.height, preprocessing.width))
    return builder.finish(embeddings, config.embedding_width, name="osnet")


def name_observed_tensors(config: OSNetConfig) -> ObservedTensors:
    """Name the tensors of the graph that `build_osnet_graph` makes of this design."""
    streams = range(config.streams)
    blocks = tuple(
        ObservedBlock(
            name=name,
            streams=tuple(f"{name}.streams.{stream}.{config.depths[stream] - 1}" for stream in streams),
            gates=() if gate == "none" else tuple(f"{name}.gates.{stream}" for stream in streams),
        )
        for stage in config.block_norms
        for name, gate in ((f"{stage}.{index}", gate) for index, gate in enumerate(config.gates))
    )
    return ObservedTensors(
        maps="average.weighted" if config.head == "weighted" else "conv5",
        head_weight="fc.weight",
        head_bias="fc.bias",
        is_rectified=config.head == "average",
        blocks=blocks,
        receptive_fields=tuple(2 * depth + 1 for depth in config.depths),
        gates_follow_input=not {"none", "fixed"} & set(config.gates),
    )


def _add_network(builder: GraphBuilder, config: OSNetConfig, last_size: tuple[int, int]) -> str:
    """Add all layers from the input to the embeddings; the last maps are of `last_size`."""
    images, divisor = builder.add_input()
    stem, *stages = config.channels
    stem_is_instance = config.normalisation != "batch"
    maps = builder.conv_norm(images, "conv1", (3, stem), 7, stride=2, instance=stem_is_instance, divisor=divisor)
    maps = builder.add("MaxPool", [maps], "pool1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    before = stem
    for number, after in enumerate(stages, start=2):
        for index, (gate, instance) in enumerate(zip(config.gates, config.block_norms[f"conv{number}"], strict=True)):
            maps = _add_block(builder, config, maps, f"conv{number}.{index}", (before, after), gate, instance)
            before = after
        if number < 4:
            maps = builder.conv_norm(maps, f"transition{number}", (after, after))
            maps = builder.add("AveragePool", [maps], f"pool{number}", kernel_shape=[2, 2], strides=[2, 2])
    maps = builder.conv_norm(maps, "conv5", (before, before))
    if config.head == "weighted":
        maps = _add_place_weights(builder, maps, before, last_size)
    features = builder.add("Flatten", [builder.add("GlobalAveragePool", [maps], "pool5")], "features")
    activation: Activation = "none" if config.head == "weighted" else "relu"
    return builder.projection(features, "fc", before, config.embedding_width, activation=activation)


def _add_place_weights(builder: GraphBuilder, maps: str, channels: int, size: tuple[int, int]) -> str:
    """Add the product of the last maps and the weights of a `WeightedAverage`, for maps of this size."""
    weight = builder.take("average.weight", channels, *WEIGHTED_PLACES)
    if size != WEIGHTED_PLACES:
        rows, columns = spread_weights(*size)
        weight = rows @ weight @ columns.T
    return builder.add("Mul", [maps, builder.constant("average.weight", weight[None])], "average.weighted")


def _add_block(
    builder: GraphBuilder,
    config: OSNetConfig,
    maps: str,
    name: str,
    channels: tuple[int, int],
    gate: Gate,
    instance: InstanceNorm,
) -> str:
    """Add an `OmniScaleBlock`."""
    before, after = channels
    middle = after // 4
    reduced = builder.conv_norm(maps, f"{name}.reduce", (before, middle))
    streams = []
    for stream, depth in enumerate(config.depths):
        layer = reduced
        for index in range(depth):
            path = f"{name}.streams.{stream}.{index}"
            if config.convolution == "lite":
                layer = _add_lite_conv(builder, layer, path, middle)
            else:
                layer = builder.conv_norm(layer, path, (middle, middle), 3)
        streams.append(layer)
    if config.fusion == "concatenation":
        fused = builder.add("Concat", streams, f"{name}.fused", axis=1)
        middle *= len(streams)
    else:
        terms = streams if gate == "none" else _add_gates(builder, gate, name, streams, middle)
        fused = terms[0]
        for index, term in enumerate(terms[1:], start=1):
            fused = builder.add("Add", [fused, term], f"{name}.sum.{index}")
    branch = builder.conv_norm(
        fused, f"{name}.restore", (middle, after), activation="none", instance=instance == "branch"
    )
    shortcut = maps if before == after else builder.conv_norm(maps, f"{name}.shortcut", channels, activation="none")
    total = builder.add("Add", [branch, shortcut], f"{name}.added")
    if instance == "sum":
        total = builder.instance_norm(total, f"{name}.sum_norm", after, f"{name}.sum_norm")
    return builder.add("Relu", [total], name)


def _add_lite_conv(builder: GraphBuilder, maps: str, name: str, channels: int) -> str:
    """Add a `LiteConv`."""
    pointwise = builder.take(f"{name}.pointwise.weight", channels, channels, 1, 1)
    depthwise = builder.take(f"{name}.depthwise.weight", channels, 1, 3, 3)
    factor, shift = builder.batch_norm(f"{name}.norm", channels)
    mixed = builder.convolution(maps, pointwise, None, f"{name}.pointwise")
    weight = depthwise * factor[:, None, None, None]
    return builder.convolution(mixed, weight, shift, name, groups=channels, activation="relu")


def _add_gates(builder: GraphBuilder, gate: Gate, name: str, streams: Sequence[str], middle: int) -> list[str]:
    """Add the product of each stream and its weights."""
    weighted = []
    fixed = builder.take(f"{name}.gate.logits", len(streams), middle) if gate == "fixed" else None
    shared: tuple[str, ...] | None = None
    if gate in ("unified", "stream-weight"):
        shared = _gate_constants(builder, f"{name}.gate", middle, 1 if gate == "stream-weight" else middle)
    elif gate == "context":
        shared = _context_constants(builder, f"{name}.gate", middle)
    for index, stream in enumerate(streams):
        path = f"{name}.gates.{index}"
        if fixed is not None:
            weights = builder.constant(path, 1 / (1 + np.exp(-fixed[index].reshape(1, -1, 1, 1))))
        elif gate == "context" and shared is not None:
            weights = _add_context_gate(builder, stream, path, middle, shared)
        else:
            constants = shared or _gate_constants(builder, f"{name}.gate.{index}", middle, middle)
            weights = _add_gate(builder, stream, path, constants)
        weighted.append(builder.add("Mul", [stream, weights], f"{path}.product"))
    return weighted


def _gate_constants(builder: GraphBuilder, name: str, channels: int, outputs: int) -> tuple[str, ...]:
    """Store the constants of one `ChannelGate`, which may serve several streams."""
    hidden = channels // GATE_REDUCTION
    return (
        builder.constant(f"{name}.reduce.weight", builder.take(f"{name}.reduce.weight", hidden, channels, 1, 1)),
        builder.constant(f"{name}.reduce.bias", builder.take(f"{name}.reduce.bias", hidden)),
        builder.constant(f"{name}.expand.weight", builder.take(f"{name}.expand.weight", outputs, hidden, 1, 1)),
        builder.constant(f"{name}.expand.bias", builder.take(f"{name}.expand.bias", outputs)),
    )


def _context_constants(builder: GraphBuilder, name: str, channels: int) -> tuple[str, ...]:
    """Store the constants of one `ContextGate`, which serves all streams of its block."""
    groups = count_context_groups(channels)
    return (
        builder.constant(f"{name}.ones", np.ones(groups)),
        builder.constant(f"{name}.zeros", np.zeros(groups)),
        builder.constant(f"{name}.weight", builder.take(f"{name}.weight", channels).reshape(1, -1, 1, 1)),
        builder.constant(f"{name}.bias", builder.take(f"{name}.bias", channels).reshape(1, -1, 1, 1)),
    )


def _add_context_gate(builder: GraphBuilder, stream: str, path: str, channels: int, constants: tuple[str, ...]) -> str:
    """Add the (N, C, 1, 1) weights of one stream by a `ContextGate`."""
    ones, zeros, scale, shift = constants
    squeezed = builder.add("GlobalAveragePool", [stream], f"{path}.pool")
    groups = count_context_groups(channels)
    grouped = builder.reshape(squeezed, (groups, channels // groups), f"{path}.grouped")
    normed = builder.add("InstanceNormalization", [grouped, ones, zeros], f"{path}.normed", epsilon=EPSILON)
    normed = builder.reshape(normed, (channels, 1, 1), f"{path}.channels")
    logits = builder.add("Add", [builder.add("Mul", [normed, scale], f"{path}.scaled"), shift], f"{path}.shifted")
    return builder.add("Sigmoid", [logits], path)


def _add_gate(builder: GraphBuilder, stream: str, path: str, constants: tuple[str, ...]) -> str:
    """Add the (N, C, 1, 1) weights of one stream."""
    squeezed = builder.add("GlobalAveragePool", [stream], f"{path}.pool")
    hidden = builder.add("Conv", [squeezed, *constants[:2]], f"{path}.reduce")
    hidden = builder.add("Relu", [hidden], f"{path}.hidden")
    logits = builder.add("Conv", [hidden, *constants[2:]], f"{path}.expand")
    return builder.add("Sigmoid", [logits], path)
