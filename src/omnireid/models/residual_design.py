"""A network of residual units as a value, without torch: a stem, stages of units, and what turns maps into embeddings.

ResNet, MobileNetV2 and ShuffleNet are designs of this kind; see `omnireid.models.baselines`. One design gives the
network in torch, its plan and its graph, so the three cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from omnireid.models.layer_plan import Activation

Shortcut = Literal["none", "identity", "convolution", "pooling"]
"""What runs beside the layers of a unit and joins their output:

- ``none``: Nothing.
- ``identity``: The input is added.
- ``convolution``: The input is added after a 1×1 convolution and a batch norm.
- ``pooling``: The 3×3 average of the input at stride 2 is put before the output's channels.
"""

SMALLEST_SIDE = 16
"""Smallest side of an image. Smaller maps than this allows would be mostly padding."""


@dataclass(frozen=True)
class ConvLayer:
    """A convolution without bias, its batch norm and its activation.

    Attributes:
        in_channels: Channels of its input.
        out_channels: Channels of its output.
        kernel: Side of its square kernel; the padding is half of it.
        stride: Step in rows and columns.
        groups: Groups the channels are split into.
        activation: What follows the norm.
    """

    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    activation: Activation = "relu"


@dataclass(frozen=True)
class ResidualUnit:
    """Layers in a row, and the shortcut beside them.

    Attributes:
        layers: The convolutions, from input to output.
        shortcut: What joins their output.
        activation: What follows the sum or the concatenation.
        shuffled_groups: Groups whose channels are shuffled after the first layer; 1 shuffles nothing.
    """

    layers: tuple[ConvLayer, ...]
    shortcut: Shortcut
    activation: Activation = "none"
    shuffled_groups: int = 1

    @property
    def shortcut_layer(self) -> ConvLayer | None:
        """The convolution on the shortcut; None where it is of another kind."""
        if self.shortcut != "convolution":
            return None
        stride = max(layer.stride for layer in self.layers)
        return ConvLayer(self.layers[0].in_channels, self.layers[-1].out_channels, stride=stride, activation="none")

    @property
    def out_channels(self) -> int:
        """Channels of its output."""
        pooled = self.layers[0].in_channels if self.shortcut == "pooling" else 0
        return pooled + self.layers[-1].out_channels


@dataclass(frozen=True)
class ResidualDesign:
    """A network of residual units.

    Attributes:
        family: What errors call it, such as ``ResNet-50``.
        stem: The first convolution.
        pools_stem: Whether a 3×3 max-pool of stride 2 follows the stem.
        stages: The units of each stage.
        last: A convolution after the last stage; None for no such layer.
        neck: Width of a linear layer, batch norm and ReLU after the global average pool, whose output is the
            embedding; None where the average itself is.
    """

    family: str
    stem: ConvLayer
    pools_stem: bool
    stages: tuple[tuple[ResidualUnit, ...], ...]
    last: ConvLayer | None = None
    neck: int | None = None

    @property
    def maps_channels(self) -> int:
        """Channels of the last feature maps."""
        return self.stages[-1][-1].out_channels if self.last is None else self.last.out_channels

    @property
    def embedding_width(self) -> int:
        """Values in an embedding."""
        return self.maps_channels if self.neck is None else self.neck


def shrink(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns after a layer of this stride, rounded up because every layer pads by half its kernel."""
    rows, columns = size
    return -(-rows // stride), -(-columns // stride)
