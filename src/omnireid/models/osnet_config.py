"""OSNet's design as a value, without torch: what can be varied, and the designs in the papers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from omnireid.errors import ModelError

Convolution = Literal["lite", "full"]
"""Layer of a stream: ``lite`` is a 1×1 convolution followed by a depthwise 3×3, ``full`` an ordinary 3×3."""

DepthRule = Literal["growing", "equal"]
"""Depth of stream t of T: ``growing`` means t layers (receptive field 2t+1), ``equal`` T layers in every stream."""

Fusion = Literal["gated-sum", "sum", "concatenation"]
"""How T streams become one: Σₜ G(xᵗ) ⊙ xᵗ, Σₜ xᵗ, or concatenation (the 1×1 restore then reads T·mid channels)."""

Gate = Literal["unified", "separate", "stream-weight", "fixed", "context", "none"]
"""What weighs the streams in a gated sum:

- ``unified``: One gate per block, shared by its streams. It computes one weight per channel from the input.
- ``separate``: As ``unified``, but every stream has a gate of its own.
- ``stream-weight``: One shared gate per block with a single output: one weight per stream, computed from the input.
- ``fixed``: Learned, then fixed. The weights are parameters, one per channel and stream, whatever the input.
- ``context``: A linear context transform, shared by the block's streams. It normalises the averages of a stream's
  channels within groups, and has one scale and one shift per channel in the place of a hidden layer.
- ``none``: No weights, for the other fusions.
"""

Normalisation = Literal["batch", "stem", "ibn", "ain"]
"""Places of instance norms: ``batch`` has none; ``stem`` has one in conv1 alone; ``ibn`` has them in conv1 and after
the sum of both conv2 blocks, as OSNet-IBN; ``ain`` in conv1 and inside the residual branch of the blocks that its
search found, as OSNet-AIN."""

InstanceNorm = Literal["none", "branch", "sum"]
"""Place of a block's instance norm: none, in the residual branch (in place of the batch norm after the restore), or
on the sum of branch and shortcut."""

Head = Literal["average", "weighted"]
"""What follows the last maps:

- ``average``: The average over all places, a linear layer, batch norm and ReLU: 512 values ≥ 0.
- ``weighted``: An average in which each channel has a weight for each place, a linear layer and batch norm: 256 values
  of any sign. It keeps where on the body a feature was seen, which a plain average leaves out.
"""

EMBEDDING_WIDTH = 512
"""Number of values in an embedding of the papers' networks, at every width multiplier."""

WEIGHTED_EMBEDDING_WIDTH = 256
WEIGHTED_PLACES = (16, 8)
"""Rows and columns of the weights of a ``weighted`` head: the last maps of an image of 256×128."""

CONTEXT_GROUPS = 16
"""Most groups of channels in a ``context`` gate; fewer where they do not divide the channels."""

STRIDE = 16
"""Input pixels per pixel of the last feature map, and so the smallest input side."""

GATE_REDUCTION = 16
SMALLEST_WIDTH = 0.25
_CHANNELS = (64, 256, 384, 512)

_BLOCK_NORMS: Mapping[Normalisation, Mapping[str, tuple[InstanceNorm, InstanceNorm]]] = MappingProxyType(
    {
        "batch": {"conv2": ("none", "none"), "conv3": ("none", "none"), "conv4": ("none", "none")},
        "stem": {"conv2": ("none", "none"), "conv3": ("none", "none"), "conv4": ("none", "none")},
        "ibn": {"conv2": ("sum", "sum"), "conv3": ("none", "none"), "conv4": ("none", "none")},
        "ain": {"conv2": ("branch", "branch"), "conv3": ("none", "branch"), "conv4": ("branch", "none")},
    }
)


@dataclass(frozen=True)
class OSNetConfig:
    """Everything that may vary in an OSNet. The defaults are the paper's network, ``osnet_x1_0``.

    Attributes:
        width: Multiplier β of all channel numbers except the embedding's; at least 0.25.
        streams: Number T of parallel streams in a block; at least 1.
        convolution: Kind of layer in a stream.
        depth_rule: How deep each stream is.
        fusion: How the streams become one.
        gate: What weighs the streams; ``none`` if and only if the fusion is not a gated sum.
        second_gate: What weighs them in the second block of each stage; None means the same.
        normalisation: Places of instance norms.
        head: What follows the last maps.

    Raises:
        ModelError: A value does not exist, or two values do not go together.

    Source: Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019, and
    "Learning Generalisable Omni-Scale Representations", TPAMI 2021. The papers leave two things open,
    which are decided here. Streams of the same depth are all T layers deep, so that this row loses scales and not
    capacity. Gates "learned, then fixed" are the sigmoid of one free parameter per channel and stream, because one
    shared by all streams would be absorbed by the 1×1 convolution that follows.

    >>> OSNetConfig(width=0.5).channels
    (32, 128, 192, 256)
    >>> OSNetConfig(streams=3).depths
    (1, 2, 3)
    """

    width: float = 1.0
    streams: int = 4
    convolution: Convolution = "lite"
    depth_rule: DepthRule = "growing"
    fusion: Fusion = "gated-sum"
    gate: Gate = "unified"
    normalisation: Normalisation = "batch"
    second_gate: Gate | None = None
    head: Head = "average"

    def __post_init__(self) -> None:
        _check_width(self.width)
        if isinstance(self.streams, bool) or not isinstance(self.streams, int) or self.streams < 1:
            raise ModelError(f"A block needs a whole number of streams, at least 1; got streams={self.streams!r}.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"No {name} {getattr(self, name)!r}. Known: {', '.join(map(str, choices))}.")
        for gate in self.gates:
            if (self.fusion == "gated-sum") == (gate == "none"):
                raise ModelError(
                    f"Fusion {self.fusion!r} does not go with gate {gate!r}: a gated sum needs a gate, and the "
                    "other fusions have none. Use fusion='gated-sum' with a gate, or gate='none' with another fusion."
                )

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Output channels of conv1, conv2, conv3, and of conv4 and conv5."""
        conv1, conv2, conv3, conv4 = (int(channels * self.width) for channels in _CHANNELS)
        return conv1, conv2, conv3, conv4

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of layers in each of the T streams."""
        if self.depth_rule == "equal":
            return (self.streams,) * self.streams
        return tuple(range(1, self.streams + 1))

    @property
    def gates(self) -> tuple[Gate, Gate]:
        """What weighs the streams in the first and in the second block of each stage."""
        return self.gate, self.gate if self.second_gate is None else self.second_gate

    @property
    def embedding_width(self) -> int:
        """Number of values in an embedding."""
        return EMBEDDING_WIDTH if self.head == "average" else WEIGHTED_EMBEDDING_WIDTH

    @property
    def block_norms(self) -> Mapping[str, tuple[InstanceNorm, InstanceNorm]]:
        """Places of the instance norms in the two blocks of conv2, conv3 and conv4."""
        return _BLOCK_NORMS[self.normalisation]


_CHOICES: Mapping[str, tuple[str | None, ...]] = MappingProxyType(
    {
        "convolution": get_args(Convolution),
        "depth_rule": get_args(DepthRule),
        "fusion": get_args(Fusion),
        "gate": get_args(Gate),
        "second_gate": (None, *get_args(Gate)),
        "normalisation": get_args(Normalisation),
        "head": get_args(Head),
    }
)


def count_context_groups(channels: int) -> int:
    """Number of groups in which a ``context`` gate normalises its channels."""
    return math.gcd(CONTEXT_GROUPS, channels)


def _check_width(width: float) -> None:
    if isinstance(width, bool) or not isinstance(width, int | float) or not math.isfinite(width):
        raise ModelError(f"The width multiplier must be a number; got {width!r}.")
    if width < SMALLEST_WIDTH:
        middle = int(_CHANNELS[1] * width) // 4
        raise ModelError(
            f"The width multiplier must be at least {SMALLEST_WIDTH}; got {width}. conv2's gates reduce "
            f"{max(middle, 0)} channels by {GATE_REDUCTION}, which leaves {max(middle, 0) // GATE_REDUCTION}."
        )


ABLATIONS: Mapping[str, OSNetConfig] = MappingProxyType(
    {
        # Published rank-1 / mAP (%) on Market-1501, trained from scratch; ICCV 2019.
        "primary": OSNetConfig(),  # 93.6 / 81.0
        "full_convolutions": OSNetConfig(convolution="full"),  # 94.0 / 82.7
        "same_depth": OSNetConfig(depth_rule="equal"),  # 91.7 / 77.9
        "concatenation": OSNetConfig(fusion="concatenation", gate="none"),  # 91.4 / 77.4
        "addition": OSNetConfig(fusion="sum", gate="none"),  # 92.0 / 78.2
        "separate_gates": OSNetConfig(gate="separate"),  # 92.9 / 80.2
        "stream_weights": OSNetConfig(gate="stream-weight"),  # 92.6 / 80.0
        "fixed_gates": OSNetConfig(gate="fixed"),  # 91.6 / 77.5
        "one_stream": OSNetConfig(streams=1, fusion="sum", gate="none"),  # 86.5 / 67.7
        "two_streams": OSNetConfig(streams=2),  # 91.7 / 77.0
        "three_streams": OSNetConfig(streams=3),  # 92.8 / 79.9
    }
)
"""Every row of the paper's ablation table, at width 1.0; `omnireid.models.zoo` appends its name to the network's."""
