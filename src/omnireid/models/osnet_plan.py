"""The layers of an OSNet, from its design alone."""

from __future__ import annotations

from collections.abc import Iterator

from omnireid.models.layer_plan import (
    PlannedLayer,
    plan_batch_norm,
    plan_conv_norm,
    plan_convolution,
    plan_instance_norm,
    plan_projection,
)
from omnireid.models.osnet_config import GATE_REDUCTION, WEIGHTED_PLACES, Gate, InstanceNorm, OSNetConfig

_STEM_PIXELS = 128 * 64
_STAGE_PIXELS = (64 * 32, 32 * 16, 16 * 8)
"""Rows times columns of the maps in conv2, conv3 and conv4, for an image of 256×128."""


def plan_osnet(config: OSNetConfig) -> Iterator[PlannedLayer]:
    """List the layers of an OSNet in the order of its state, with their cost for an image of 256×128."""
    stem, *stages = config.channels
    yield from plan_conv_norm("conv1", 3, stem, 7, _STEM_PIXELS, instance=config.normalisation != "batch")
    before = stem
    for number, after, pixels in zip((2, 3, 4), stages, _STAGE_PIXELS, strict=True):
        for index, (gate, instance) in enumerate(zip(config.gates, config.block_norms[f"conv{number}"], strict=True)):
            yield from _block(config, f"conv{number}.{index}", before, after, pixels, gate, instance)
            before = after
        if number < 4:
            yield from plan_conv_norm(f"transition{number}", after, after, 1, pixels)
    yield from plan_conv_norm("conv5", before, before, 1, _STAGE_PIXELS[-1])
    if config.head == "weighted":
        yield PlannedLayer("average", {"weight": (before, *WEIGHTED_PLACES)})
    yield from plan_projection("fc", before, config.embedding_width)


def _block(
    config: OSNetConfig, name: str, before: int, after: int, pixels: int, gate: Gate, instance: InstanceNorm
) -> Iterator[PlannedLayer]:
    """The layers of an `OmniScaleBlock`."""
    middle = after // 4
    yield from plan_conv_norm(f"{name}.reduce", before, middle, 1, pixels)
    for stream, depth in enumerate(config.depths):
        for index in range(depth):
            path = f"{name}.streams.{stream}.{index}"
            if config.convolution == "lite":
                yield plan_convolution(f"{path}.pointwise", middle, middle, 1, pixels)
                yield plan_convolution(f"{path}.depthwise", middle, middle, 3, pixels, groups=middle)
                yield plan_batch_norm(f"{path}.norm", middle)
            else:
                yield from plan_conv_norm(path, middle, middle, 3, pixels)
    yield from _gates(gate, f"{name}.gate", middle, config.streams)
    fused = middle * config.streams if config.fusion == "concatenation" else middle
    yield from plan_conv_norm(f"{name}.restore", fused, after, 1, pixels, instance=instance == "branch")
    if before != after:
        yield from plan_conv_norm(f"{name}.shortcut", before, after, 1, pixels)
    if instance == "sum":
        yield plan_instance_norm(f"{name}.sum_norm", after)


def _gates(gate: Gate, name: str, channels: int, streams: int) -> Iterator[PlannedLayer]:
    """The layers that weigh the streams of a block."""
    if gate == "fixed":
        yield PlannedLayer(name, {"logits": (streams, channels)})
    elif gate == "context":
        yield PlannedLayer(name, {"weight": (channels,), "bias": (channels,)})
    elif gate == "separate":
        for stream in range(streams):
            yield from _channel_gate(f"{name}.{stream}", channels, channels, runs=1)
    elif gate != "none":
        outputs = 1 if gate == "stream-weight" else channels
        yield from _channel_gate(name, channels, outputs, runs=streams)


def _channel_gate(name: str, channels: int, outputs: int, *, runs: int) -> Iterator[PlannedLayer]:
    """The layers of a `ChannelGate`, which works on one pixel a stream."""
    hidden = channels // GATE_REDUCTION
    yield plan_convolution(f"{name}.reduce", channels, hidden, 1, 1, bias=True, runs=runs)
    yield plan_convolution(f"{name}.expand", hidden, outputs, 1, 1, bias=True, runs=runs)
