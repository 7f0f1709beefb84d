"""The weights that a run starts from."""

from __future__ import annotations

import torch
from torch import nn

from omnireid.embedding.torch_runtime import load_weights
from omnireid.errors import ModelError
from omnireid.files import sha256_of
from omnireid.models.backbone import Backbone
from omnireid.models.blocks import ChannelGate
from omnireid.weights.artefact import WeightsMetadata
from omnireid.weights.examination import examine
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.file_kind import GRAPH_KINDS, identify_weights

NEGLIGIBLE = 1e-6
"""Output weights of a gate below this count as 0: they move its output by some millionths at most."""


def start_from(network: Backbone, name: str, weights: str) -> tuple[WeightsMetadata, str]:
    """Fill an untrained network with the weights a run starts from.

    Gates that could not learn get their first layer back from the untrained network; see `revive_gates`.

    Args:
        network: The network, with its first values. It is changed in place.
        name: Its name.
        weights: A file, a folder or a name, as ``--weights`` takes it.

    Returns:
        What the file says about its weights, and its SHA-256.

    Raises:
        CheckpointError: The file cannot be read.
        ModelError: It is a graph, or holds another network.
    """
    path = resolve_weights(weights)
    if identify_weights(path) in GRAPH_KINDS:
        raise ModelError(
            f"{weights} is a graph, and a run cannot start from one. Name the weights that it was exported from. Of "
            "the Open Model Zoo's OSNets, omnireid convert … --to osnet makes a network to train. Any graph can be a "
            "--teacher."
        )
    found, metadata = load_weights(path)
    if metadata.architecture != name:
        raise ModelError(
            f"{path} holds {metadata.architecture}, but --model is {name}. Train with --model {metadata.architecture}."
        )
    revive_gates(found, network)
    network.load_state_dict(found.state_dict())
    return metadata, sha256_of(path)


@torch.no_grad()
def revive_gates(trained: nn.Module, untrained: nn.Module) -> int:
    """Give the hidden units of gates that have no effect the input weights of an untrained network.

    A unit whose output weights are all 0 changes nothing. Weight decay can do that to it, and then takes its input
    weights towards 0 too, so its gradient is tiny and it stays off however long the run is. With the input weights of
    an untrained network the unit is on for most crops, and its output weights learn. What the network computes is not
    changed.

    Args:
        trained: The network whose gates are looked at. It is changed in place.
        untrained: The same network with its first values.

    Returns:
        Number of hidden units that got new input weights.
    """
    revived = 0
    fresh = dict(untrained.named_modules())
    for name, gate in trained.named_modules():
        if isinstance(gate, ChannelGate):
            dead = (gate.expand.weight.abs() < NEGLIGIBLE).all(dim=0).flatten()
            for tensor, values in zip(gate.reduce.parameters(), fresh[f"{name}.reduce"].parameters(), strict=True):
                tensor[dead] = values[dead]
            revived += int(dead.sum())
    return revived


def describe_start(weights: str, labels: str) -> str:
    """Say how much of the network the starting weights fill, and that the head for `labels` is new."""
    coverage = examine(weights).values["coverage"]
    left_out = len(coverage["left_out"])
    return (
        f"start: {weights} fills {int(100 * coverage['backbone_coverage'])} % of {coverage['architecture']} "
        f"({len(coverage['loaded'])} tensors). "
        + (f"Its classifier ({left_out} tensors) is left out" if left_out else "It holds no classifier")
        + f"; the head for {labels} begins at random."
    )
