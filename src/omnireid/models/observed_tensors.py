"""Which tensors of a network's graph show how an embedding came about: last maps, head, streams and gates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ObservedBlock:
    """Names of the tensors of one block of streams.

    Attributes:
        name: Name of the block, such as ``conv4.1``.
        streams: Output of each of the T streams, before any gate: (N, C, H, W).
        gates: Weights of each stream, (N, C, 1, 1) or (N, 1, 1, 1); constants of (1, C, 1, 1) where they do not
            depend on the input; empty in a network without gates.
    """

    name: str
    streams: tuple[str, ...]
    gates: tuple[str, ...]


@dataclass(frozen=True)
class ObservedTensors:
    """Names of tensors in a network's graph.

    The embedding is ``head_weight · mean over the places of maps + head_bias``, and the ReLU of it where the head is
    rectified. In a network without a head it is that mean itself, and the maps are nowhere negative.

    Attributes:
        maps: Last feature map, (N, C, H, W), which global average pooling reduces to (N, C); with their weights, where
            places have weights.
        head_weight: Constant (D, C), with the norm folded in; None in a network without a head.
        head_bias: Constant (D,); None in a network without a head.
        is_rectified: Whether the embedding is the ReLU of what the head computes.
        blocks: Blocks of streams, first to last; empty in a network without streams.
        receptive_fields: Side in pixels of what one value of a stream sees of the block's reduced input, for each of
            the T streams.
        gates_follow_input: Whether the gates are computed from the crop; False where they are constant or absent.
    """

    maps: str
    head_weight: str | None
    head_bias: str | None
    is_rectified: bool = True
    blocks: tuple[ObservedBlock, ...] = ()
    receptive_fields: tuple[int, ...] = ()
    gates_follow_input: bool = False
