"""A network of residual units as an ONNX graph, made from its weights alone; see `omnireid.models.graph_builder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from omnireid.images.preprocess import Preprocessing
from omnireid.models.graph_builder import Array, GraphBuilder
from omnireid.models.observed_tensors import ObservedTensors
from omnireid.models.residual_design import ConvLayer, ResidualDesign, ResidualUnit, shrink

if TYPE_CHECKING:
    import onnx


def build_residual_graph(
    design: ResidualDesign,
    tensors: Mapping[str, npt.NDArray[np.generic]],
    preprocessing: Preprocessing,
    *,
    half: bool = False,
    takes_pixels: bool = True,
    where: str = "the weights",
) -> onnx.ModelProto:
    """Build the graph of a network of residual units. The same arguments give the same bytes.

    Args:
        design: The design.
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
    images, divisor = builder.add_input()
    maps = _add_conv_norm(builder, images, "stem", design.stem, divisor=divisor)
    size = shrink((preprocessing.height, preprocessing.width), design.stem.stride)
    if design.pools_stem:
        maps = builder.add("MaxPool", [maps], "stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        size = shrink(size, 2)
    for stage, units in enumerate(design.stages):
        for index, unit in enumerate(units):
            maps = _add_unit(builder, maps, f"stages.{stage}.{index}", unit, size)
            size = shrink(size, max(layer.stride for layer in unit.layers))
    if design.last is not None:
        maps = _add_conv_norm(builder, maps, "last", design.last)
    embeddings = builder.add("Flatten", [builder.add("GlobalAveragePool", [maps], "pool")], "features")
    if design.neck is not None:
        embeddings = builder.projection(embeddings, "fc", design.maps_channels, design.neck)
    return builder.finish(embeddings, design.embedding_width, name=design.family)


def name_observed_maps(design: ResidualDesign) -> ObservedTensors:
    """Name the tensors of the graph that `build_residual_graph` makes of this design: last maps and head."""
    stage = len(design.stages) - 1
    maps = f"stages.{stage}.{len(design.stages[stage]) - 1}" if design.last is None else "last"
    if design.neck is None:
        return ObservedTensors(maps, head_weight=None, head_bias=None)
    return ObservedTensors(maps, head_weight="fc.weight", head_bias="fc.bias")


def _add_unit(builder: GraphBuilder, maps: str, name: str, unit: ResidualUnit, size: tuple[int, int]) -> str:
    """Add a `ResidualUnit` whose input has `size`."""
    branch = maps
    for index, layer in enumerate(unit.layers):
        branch = _add_conv_norm(builder, branch, f"{name}.layers.{index}", layer)
        if index == 0 and unit.shuffled_groups > 1:
            branch = _add_shuffle(builder, branch, layer.out_channels, unit.shuffled_groups, shrink(size, layer.stride))
    joined = f"{name}.joined" if unit.activation != "none" else name
    if unit.shortcut == "pooling":
        window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}
        pooled = builder.add("AveragePool", [maps], f"{name}.pool", **window)
        branch = builder.add("Concat", [pooled, branch], joined, axis=1)
    elif unit.shortcut != "none":
        projection = unit.shortcut_layer
        shortcut = maps if projection is None else _add_conv_norm(builder, maps, f"{name}.shortcut", projection)
        branch = builder.add("Add", [branch, shortcut], joined)
    return builder.activate(branch, unit.activation, name)


def _add_shuffle(builder: GraphBuilder, maps: str, channels: int, groups: int, size: tuple[int, int]) -> str:
    """Add a channel shuffle of maps with `size`."""
    name = f"{maps}.shuffled"
    split = builder.reshape(maps, (groups, channels // groups, *size), f"{name}.split")
    swapped = builder.add("Transpose", [split], f"{name}.swapped", perm=[0, 2, 1, 3, 4])
    return builder.reshape(swapped, (channels, *size), name)


def _add_conv_norm(
    builder: GraphBuilder, maps: str, name: str, layer: ConvLayer, *, divisor: Array | None = None
) -> str:
    return builder.conv_norm(
        maps,
        name,
        (layer.in_channels, layer.out_channels),
        layer.kernel,
        stride=layer.stride,
        groups=layer.groups,
        activation=layer.activation,
        divisor=divisor,
    )
