"""The parts of networks: convolutions with their norm, a projection; and of OSNet its streams, gates and block.

Shapes: B images, T streams, C channels, H rows, W columns, D values of an embedding.

Nothing here draws random numbers; see `omnireid.models.layers`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnireid.models.layer_plan import Activation
from omnireid.models.layers import Conv2d, GateInput, Linear, instance_norm
from omnireid.models.osnet_config import (
    GATE_REDUCTION,
    WEIGHTED_PLACES,
    Convolution,
    Fusion,
    Gate,
    InstanceNorm,
    count_context_groups,
)
from omnireid.models.place_weights import spread_weights


def activate(maps: Tensor, activation: Activation) -> Tensor:
    """Apply an activation."""
    if activation == "relu6":
        return functional.relu6(maps)
    return functional.relu(maps) if activation == "relu" else maps


class ConvNorm(nn.Module):
    """A convolution without bias, a norm and an activation: (B, C, H, W) → (B, C', H', W')."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "relu",
        instance: bool = False,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = instance_norm(out_channels) if instance else nn.BatchNorm2d(out_channels)
        self.activation: Activation = activation

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve, normalise, activate."""
        return activate(self.norm(self.conv(maps)), self.activation)


class Projection(nn.Module):
    """A linear layer, batch norm and an activation: (B, C) → (B, D), ≥ 0 with ReLU."""

    def __init__(self, in_features: int, out_features: int, *, activation: Activation = "relu") -> None:
        super().__init__()
        self.linear = Linear(in_features, out_features)
        self.norm = nn.BatchNorm1d(out_features)
        self.activation: Activation = activation

    def forward(self, features: Tensor) -> Tensor:
        """Project, normalise, activate."""
        return activate(self.norm(self.linear(features)), self.activation)


class WeightedAverage(nn.Module):
    """An average over all places in which every channel has a weight for every place: (B, C, H, W) → (B, C).

    The weights are kept for maps of 16×8. Maps of another size get weights interpolated between them. Weights of 1 make
    it the plain average, and they are its first values.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, *WEIGHTED_PLACES))

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh and average."""
        size = maps.shape[2], maps.shape[3]
        weight: Tensor = self.weight
        if size != WEIGHTED_PLACES:
            rows, columns = (torch.from_numpy(matrix).to(weight) for matrix in spread_weights(*size))
            weight = rows @ weight @ columns.T
        return (maps * weight).mean(dim=(2, 3))


class LiteConv(nn.Module):
    """Lite 3×3: 1×1 pointwise (linear), 3×3 depthwise, batch norm, ReLU: (B, C, H, W) → (B, C, H, W).

    The pointwise convolution comes first, unlike in MobileNet's separable convolution; the paper found that order
    better here.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = Conv2d(channels, channels, 1, bias=False)
        self.depthwise = Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve, normalise, rectify."""
        return functional.relu(self.norm(self.depthwise(self.pointwise(maps))))


class ChannelGate(nn.Module):
    """The aggregation gate G: weights in (0, 1), computed from the maps they will weigh.

    (B, C, H, W) → (B, C, 1, 1): global average, 1×1 to C/16 with ReLU, 1×1 to C with sigmoid. With one output
    instead of C, the whole stream has a single weight.
    """

    def __init__(self, channels: int, *, outputs: int) -> None:
        super().__init__()
        hidden = channels // GATE_REDUCTION
        self.reduce = GateInput(channels, hidden, 1)
        self.expand = Conv2d(hidden, outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute the weights for these maps."""
        squeezed = maps.mean(dim=(2, 3), keepdim=True)
        return torch.sigmoid(self.expand(functional.relu(self.reduce(squeezed))))


class FixedGates(nn.Module):
    """Gates that are learned but do not depend on the input: the sigmoid of one parameter per stream and channel."""

    def __init__(self, streams: int, channels: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(streams, channels))

    def forward(self, stream: int) -> Tensor:
        """Compute the (1, C, 1, 1) weights of one stream."""
        return torch.sigmoid(self.logits[stream]).view(1, -1, 1, 1)


class ContextGate(nn.Module):
    """A linear context transform: weights in (0, 1), computed from the maps they will weigh.

    (B, C, H, W) → (B, C, 1, 1): global average, normalised over the channels of a group, times a scale and plus a shift
    for each channel, sigmoid. Scale and shift are 0 at first.

    Source: Ruan et al., "Linear Context Transform Block", AAAI 2020.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = count_context_groups(channels)
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute the weights for these maps."""
        grouped = maps.mean(dim=(2, 3)).view(len(maps), self.groups, -1)
        normalised = functional.layer_norm(grouped, grouped.shape[2:]).flatten(1)
        return torch.sigmoid(normalised * self.weight + self.bias)[:, :, None, None]


class OmniScaleBlock(nn.Module):
    """The omni-scale residual block: (B, C, H, W) → (B, C', H, W).

    1×1 reduce to C'/4; T parallel streams of 3×3 layers; their fusion; 1×1 restore to C'; residual add
    (with a 1×1 on the shortcut where the channels change); ReLU.

    Args:
        in_channels: C.
        out_channels: C'.
        depths: Number of layers in each of the T streams.
        convolution: Kind of layer in the streams.
        fusion: How the streams become one.
        gate: What weighs the streams in a gated sum.
        instance: Place of an instance norm, if any.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depths: Sequence[int],
        convolution: Convolution,
        fusion: Fusion,
        gate: Gate,
        instance: InstanceNorm,
    ) -> None:
        super().__init__()
        middle = out_channels // 4
        self.fusion: Fusion = fusion
        self.reduce = ConvNorm(in_channels, middle, 1)
        self.streams = nn.ModuleList(_stream(middle, depth, convolution) for depth in depths)
        self.gate = _gate(gate, middle, len(depths))
        fused = middle * len(depths) if fusion == "concatenation" else middle
        self.restore = ConvNorm(fused, out_channels, 1, activation="none", instance=instance == "branch")
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else ConvNorm(in_channels, out_channels, 1, activation="none")
        )
        self.sum_norm = instance_norm(out_channels) if instance == "sum" else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Compute the block's output."""
        streams = self._run_streams(maps)
        return self._finish(maps, streams, self._weigh(streams))

    def forward_gates(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the output and the (B, T, C) gate weights; C is 1 where a stream has a single weight."""
        streams = self._run_streams(maps)
        weights = self._weigh(streams)
        gates = torch.stack([weight.flatten(1).expand(len(maps), -1) for weight in weights], dim=1)
        return self._finish(maps, streams, weights), gates

    def _run_streams(self, maps: Tensor) -> list[Tensor]:
        reduced = self.reduce(maps)
        return [stream(reduced) for stream in self.streams]

    def _weigh(self, streams: list[Tensor]) -> list[Tensor]:
        """One weight tensor per stream, which broadcasts over its maps; an empty list without a gate."""
        if isinstance(self.gate, ChannelGate | ContextGate):
            return [self.gate(stream) for stream in streams]
        if isinstance(self.gate, FixedGates):
            return [self.gate(index) for index in range(len(streams))]
        if isinstance(self.gate, nn.ModuleList):
            return [gate(stream) for gate, stream in zip(self.gate, streams, strict=True)]
        return []

    def _finish(self, maps: Tensor, streams: list[Tensor], weights: list[Tensor]) -> Tensor:
        if self.fusion == "concatenation":
            fused = torch.cat(streams, dim=1)
        else:
            terms = [weight * stream for weight, stream in zip(weights, streams, strict=True)] if weights else streams
            fused = terms[0]
            for term in terms[1:]:
                fused = fused + term
        return functional.relu(self.sum_norm(self.restore(fused) + self.shortcut(maps)))


def _stream(channels: int, depth: int, convolution: Convolution) -> nn.Sequential:
    """A stream: `depth` 3×3 layers in a row."""
    if convolution == "lite":
        return nn.Sequential(*(LiteConv(channels) for _ in range(depth)))
    return nn.Sequential(*(ConvNorm(channels, channels, 3) for _ in range(depth)))


def _gate(gate: Gate, channels: int, streams: int) -> nn.Module | None:
    """The gate of a block: one module for all its streams, except that separate gates are one per stream."""
    if gate == "unified":
        return ChannelGate(channels, outputs=channels)
    if gate == "separate":
        return nn.ModuleList(ChannelGate(channels, outputs=channels) for _ in range(streams))
    if gate == "stream-weight":
        return ChannelGate(channels, outputs=1)
    if gate == "fixed":
        return FixedGates(streams, channels)
    if gate == "context":
        return ContextGate(channels)
    return None
