"""What the layers of a network hold and cost, known from its design without building it, and so without torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Activation = Literal["relu", "relu6", "none"]
"""What follows a norm: max(x, 0), min(max(x, 0), 6), or nothing."""

Shape = tuple[int, ...]

COUNTER = "num_batches_tracked"
"""Name of the step counter in a batch norm. Old checkpoints lack it and nothing reads it, so it is never missed."""

_NOT_LEARNED = ("running_mean", "running_var", COUNTER)


@dataclass(frozen=True)
class PlannedLayer:
    """One layer of a network.

    Attributes:
        name: Name of the module. The layer's keys in the network's state begin with it.
        shapes: Name of each tensor (``weight``, ``running_mean``) to its shape, in the module's order.
        multiply_adds: Multiply-adds of all its runs in one forward pass of one image; 0 for a norm.
    """

    name: str
    shapes: Mapping[str, Shape]
    multiply_adds: int = 0


def plan_convolution(
    name: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    pixels: int,
    *,
    groups: int = 1,
    bias: bool = False,
    runs: int = 1,
) -> PlannedLayer:
    """Plan a convolution.

    Args:
        name: Name of the module.
        in_channels: Channels of its input.
        out_channels: Channels of its output.
        kernel: Side of its square kernel.
        pixels: Rows times columns of its output.
        groups: Groups the channels are split into.
        bias: Whether it adds a bias.
        runs: How often one forward pass calls it.
    """
    weight = (out_channels, in_channels // groups, kernel, kernel)
    shapes: dict[str, Shape] = {"weight": weight}
    if bias:
        shapes["bias"] = (out_channels,)
    return PlannedLayer(name, shapes, math.prod(weight) * pixels * runs)


def plan_conv_norm(
    name: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    pixels: int,
    *,
    groups: int = 1,
    instance: bool = False,
) -> Iterator[PlannedLayer]:
    """Plan a `omnireid.models.blocks.ConvNorm`; see `plan_convolution`."""
    yield plan_convolution(f"{name}.conv", in_channels, out_channels, kernel, pixels, groups=groups)
    yield (
        plan_instance_norm(f"{name}.norm", out_channels) if instance else plan_batch_norm(f"{name}.norm", out_channels)
    )


def plan_projection(name: str, in_features: int, out_features: int) -> Iterator[PlannedLayer]:
    """Plan a `omnireid.models.blocks.Projection`."""
    yield plan_linear(f"{name}.linear", in_features, out_features)
    yield plan_batch_norm(f"{name}.norm", out_features)


def plan_linear(name: str, in_features: int, out_features: int) -> PlannedLayer:
    """Plan a linear layer with a bias."""
    shapes = {"weight": (out_features, in_features), "bias": (out_features,)}
    return PlannedLayer(name, shapes, in_features * out_features)


def plan_batch_norm(name: str, channels: int) -> PlannedLayer:
    """Plan a batch norm."""
    shape = (channels,)
    shapes = {"weight": shape, "bias": shape, "running_mean": shape, "running_var": shape, COUNTER: ()}
    return PlannedLayer(name, shapes)


def plan_instance_norm(name: str, channels: int) -> PlannedLayer:
    """Plan an instance norm with learned scale and shift and no running statistics."""
    return PlannedLayer(name, {"weight": (channels,), "bias": (channels,)})


def state_shapes(layers: Iterable[PlannedLayer]) -> dict[str, Shape]:
    """Key of the network's state to its shape, in the network's order."""
    return {f"{layer.name}.{name}": shape for layer in layers for name, shape in layer.shapes.items()}


def count_planned_parameters(layers: Iterable[PlannedLayer]) -> int:
    """Learned values of the network; running statistics are not learned."""
    return sum(math.prod(shape) for layer in layers for name, shape in layer.shapes.items() if name not in _NOT_LEARNED)
