"""What the gates of a network weigh: for each crop, on average over a set, and which crops have nearly the same gates.

Shapes: N crops, B blocks, T streams, C channels (1 in a network with one weight per stream).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.embedding.embedder import Embedder
from omnireid.errors import ExplanationError, ShapeError
from omnireid.explanation.observation import Observation, observe_crops
from omnireid.types import Crops, DoubleArray, FloatArray, IntArray, as_crops, check_whole_number

STEADY = 1e-3
"""A block is called steady where no weight varies more than this over a set (on a scale of 0 to 1): it gives every crop
the same weights, as gates do that died in training."""


@dataclass(frozen=True, eq=False)
class Gates:
    """The gate weights of N crops in every block.

    Attributes:
        crops: The crops that could be read.
        architecture: Name of the network.
        blocks: Names of the B blocks, first to last; empty in a network without gates.
        weights: For each block (N, T, C) weights between 0 and 1.
        stream_means: For each block (N, T, C') averages of the streams over all places, before they are weighed.
        receptive_fields: Side in pixels, on the block's own map, of what each of the T streams sees.
        follow_input: Whether the weights are computed from the crop; False where they are constants or absent.
        skipped: Crops that could not be read, as (path, reason).

    Raises:
        ShapeError: The arrays disagree in length.
    """

    crops: Crops
    architecture: str
    blocks: tuple[str, ...]
    weights: tuple[FloatArray, ...]
    stream_means: tuple[FloatArray, ...]
    receptive_fields: tuple[int, ...]
    follow_input: bool
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.crops), len(self.receptive_fields))
        wrong = [values.shape for values in (*self.weights, *self.stream_means) if values.shape[:2] != expected]
        if wrong or not len(self.blocks) == len(self.weights) == len(self.stream_means):
            raise ShapeError(
                f"Gates need one array for each of {len(self.blocks)} blocks, {expected[0]} crops × {expected[1]} "
                f"streams × channels; got {len(self.weights)} and {len(self.stream_means)} arrays, wrong: {wrong}."
            )

    def __len__(self) -> int:
        return len(self.crops)

    def mean_weights(self) -> DoubleArray:
        """Average weight of each stream over crops and channels: (B, T), between 0 and 1."""
        self.check_there()
        return np.stack([weights.mean(axis=(0, 2), dtype=np.float64) for weights in self.weights])

    def shares(self) -> DoubleArray:
        """What part of the gated sum comes from each stream, over all crops: (B, T), each row adding up to 1.

        A stream may have a large weight and yet add little, where its own values are small. The streams end in a
        ReLU, so nothing cancels and the parts add up.
        """
        self.check_there()
        pairs = zip(self.weights, self.stream_means, strict=True)
        sums = np.stack([(weights * means).sum(axis=(0, 2), dtype=np.float64) for weights, means in pairs])
        parts: DoubleArray = sums / np.maximum(sums.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        return parts

    def variation(self) -> DoubleArray:
        """How much the weights differ between crops: (B,), the largest standard deviation of any weight of a block."""
        self.check_there()
        return np.array([weights.std(axis=0, dtype=np.float64).max() for weights in self.weights])

    def steady_blocks(self) -> tuple[str, ...]:
        """The blocks that weigh their streams alike for every crop; see `STEADY`."""
        pairs = zip(self.blocks, self.variation(), strict=True)
        return tuple(block for block, variation in pairs if variation < STEADY)

    def select(self, indices: IntArray) -> Gates:
        """The gates of the crops at `indices`, in that order."""
        return Gates(
            self.crops.select(indices),
            self.architecture,
            self.blocks,
            tuple(weights[indices] for weights in self.weights),
            tuple(means[indices] for means in self.stream_means),
            self.receptive_fields,
            self.follow_input,
        )

    def by_camera(self) -> dict[int, Gates]:
        """The gates of each camera's crops; empty where cameras are not known."""
        cameras = self.crops.camera_ids
        if cameras is None:
            return {}
        return {int(camera): self.select(np.flatnonzero(cameras == camera)) for camera in np.unique(cameras)}

    def table(self) -> str:
        """Average weight and share of each stream, and how much the weights differ between crops, as text."""
        fields = [f"{side}×{side}" for side in self.receptive_fields]
        lines = ["mean gate (share of the sum)" + "".join(f"{field:>14}" for field in fields) + "  varies by"]
        rows = zip(self.blocks, self.mean_weights(), self.shares(), self.variation(), strict=True)
        for block, weights, parts, variation in rows:
            cells = (f"{weight:.3f} ({100 * part:.0f} %)" for weight, part in zip(weights, parts, strict=True))
            lines.append(f"{block:<28}" + "".join(f"{cell:>14}" for cell in cells) + f"{variation:>11.4f}")
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """Average weights and shares as plain values, over all crops and for each camera."""
        return {
            "crops": len(self),
            "blocks": list(self.blocks),
            "receptive_fields": list(self.receptive_fields),
            "mean_gates": self.mean_weights().tolist(),
            "shares": self.shares().tolist(),
            "variation": self.variation().tolist(),
            "cameras": {
                str(camera): {
                    "crops": len(gates),
                    "mean_gates": gates.mean_weights().tolist(),
                    "shares": gates.shares().tolist(),
                }
                for camera, gates in self.by_camera().items()
            },
            "skipped": [list(entry) for entry in self.skipped],
        }

    def check_there(self) -> None:
        """Check that the network has gates.

        Raises:
            ExplanationError: It has none.
        """
        if not self.blocks:
            raise ExplanationError(
                f"{self.absence()} Activation maps and pairs can be explained; for gates take a network with a gated "
                "sum, such as osnet_x0_25."
            )

    def absence(self) -> str:
        """Why a network without gates has none, as a sentence."""
        if not self.receptive_fields:
            return f"{self.architecture} has no gates: it has no parallel streams that they could weigh."
        return f"{self.architecture} has no gates: it adds or concatenates its streams as they are."


@dataclass(frozen=True, eq=False)
class NearestGates:
    """For each of Q crops, the crops of a set whose gates in one block are nearest.

    Attributes:
        block: Name of the block.
        indices: (Q, K) positions in the set, nearest first; -1 where the set has no more.
        distances: (Q, K) Euclidean distances of the T · C weights; infinite where the set has no more.
    """

    block: str
    indices: IntArray
    distances: FloatArray


def measure_gates(embedder: Embedder, crops: Crops | Sequence[str | Path], *, progress: bool = False) -> Gates:
    """Read the gates of a network for a whole set of crops. Takes about 2 kB of memory per crop.

    Args:
        embedder: Weights whose gates are read. They run in float32 on the CPU, whatever the embedder uses.
        crops: Crops, or a list of paths. Unreadable ones are left out and listed.
        progress: Show a progress bar on standard error.

    Raises:
        ExplanationError: The weights show no gates.
        DataNotFoundError: There is no crop.
        ImageError: No crop can be read.
        CheckpointError: The file of weights has changed since the embedder was loaded.
    """
    observation = observe_crops(embedder, as_crops(crops), maps=False, progress=progress)
    gates = gates_of(observation, embedder.metadata.architecture)
    gates.check_there()
    return gates


def gates_of(observation: Observation, architecture: str) -> Gates:
    """The gates of crops that were observed; without blocks where the network has none."""
    observed = observation.observed
    gated = [index for index, block in enumerate(observed.blocks) if block.gates]
    return Gates(
        observation.crops,
        architecture,
        tuple(observed.blocks[index].name for index in gated),
        observation.gates,
        tuple(observation.stream_means[index] for index in gated),
        observed.receptive_fields,
        observed.gates_follow_input,
        observation.skipped,
    )


def find_nearest_gates(gates: Gates, among: Gates, count: int = 5, block: str | None = None) -> NearestGates:
    """Find the crops of a set whose gates in one block are nearest to those of some crops.

    A crop of the set that is the same file as the one asked for is left out.

    Args:
        gates: Gates of Q crops to look for.
        among: Gates of the set to look in, by the same weights.
        count: Number K of crops to find for each.
        block: Name of the block; by default the last one whose gates are not steady over the set.

    Raises:
        ExplanationError: The network has no gates, they do not depend on the crop, or it has no such block.
        ShapeError: The gates are of different networks.
        SettingError: `count` is below 1.
    """
    check_whole_number(count, "count", least=1)
    gates.check_there()
    if not gates.follow_input:
        raise ExplanationError(
            f"The gates of {gates.architecture} are learned and then fixed, the same for every crop, so no crop is "
            "nearer than another. Their weights can be shown: leave out the search for the nearest gates."
        )
    if (gates.architecture, gates.blocks) != (among.architecture, among.blocks):
        raise ShapeError(f"Gates of {gates.architecture} cannot be compared with those of {among.architecture}.")
    block = _choose_block(among, block)
    number = gates.blocks.index(block)
    wanted, there = (values.weights[number].reshape(len(values), -1) for values in (gates, among))
    names = np.array([str(path.resolve()) for path in among.crops.paths])
    indices = np.full((len(gates), count), -1, dtype=np.int64)
    distances = np.full((len(gates), count), np.inf, dtype=np.float32)
    for row, path in enumerate(gates.crops.paths):
        values = np.linalg.norm(there - wanted[row], axis=1)
        values[names == str(path.resolve())] = np.inf
        found = np.argsort(values, kind="stable")[:count]
        found = found[np.isfinite(values[found])]
        indices[row, : len(found)], distances[row, : len(found)] = found, values[found]
    return NearestGates(block, indices, distances)


def _choose_block(among: Gates, block: str | None) -> str:
    """The block to compare, if its gates tell crops apart."""
    if block is not None and block not in among.blocks:
        raise ExplanationError(f"{among.architecture} has no block {block!r} with gates: {', '.join(among.blocks)}.")
    steady = among.steady_blocks()
    candidates = [name for name in among.blocks if name not in steady and block in (None, name)]
    if not candidates:
        variation = dict(zip(among.blocks, among.variation(), strict=True))
        largest = max(among.blocks if block is None else [block], key=lambda name: variation[name])
        raise ExplanationError(
            f"The gates of {largest} are the same for all {len(among):,} crops of the set (they vary by "
            f"{variation[largest]:.1g}, on a scale of 0 to 1), so no crop is nearer than another. "
            f"Blocks whose gates vary: {', '.join(name for name in among.blocks if name not in steady) or 'none'}."
        )
    return candidates[-1]
