"""The Open Model Zoo's OSNets as networks that can be trained: their tensors in the nearest network of ours.

What the two networks share is copied. What differs is fitted on crops, so that the new network starts near the old one
and is trained from there: gates to the weights that the old gates give, and the last layer to the old embeddings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from omnireid.embedding.embedder import load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import DataError
from omnireid.files import sha256_of
from omnireid.images.batches import iterate_batches
from omnireid.images.preprocess import Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.models.blocks import ChannelGate
from omnireid.models.zoo import create_model
from omnireid.types import ByteArray, FloatArray
from omnireid.weights.artefact import Tensors, WeightsMetadata
from omnireid.weights.foreign_graph import adopt_graph
from omnireid.weights.graph_file import write_graph
from omnireid.weights.retail_osnet import NORM_EPSILON, GroupGate, read_retail_osnet

FEWEST_CROPS = 256
MOST_CROPS = 2048
"""Crops that are looked at: fewer say too little about 256 numbers of an embedding, more hardly change the fit."""

_BATCH = 64
_GATE_TRIALS, _GATE_STEPS, _GATE_RATE = 8, 300, 0.02
_RIDGE = 1e-3
"""Share of the features' mean variance that is added to each, which keeps the weights of the last layer small."""


def adopt_retail_osnet(path: Path, crops: Sequence[Path], *, seed: int = 0) -> tuple[Tensors, WeightsMetadata]:
    """Turn one of the Open Model Zoo's OSNets into the network of ours that is nearest to it.

    An embedding of D values of any sign becomes one of 2 · D values ≥ 0: each value as its positive and its negative
    part, so that equal signs stay alike and opposite ones do not.

    Args:
        path: The ``.xml`` of ``person-reidentification-retail-0288``, ``-0287``, ``-0286`` or ``-0277``.
        crops: Crops of people, at least `FEWEST_CROPS`; of more than `MOST_CROPS`, that many at equal distances are
            taken. Crops like those of the training that follows are best.
        seed: Seed for the first values of the gates that are fitted.

    Returns:
        The state of an ``osnet_in_…`` network, and its description. The result finds fewer people than the network it
        came from until it has been trained: docs/training.md.

    Raises:
        CheckpointError: The file holds another network, or does not belong to its ``.bin``.
        DataError: There are fewer than `FEWEST_CROPS` crops.
        ImageError: A crop cannot be read.
        MissingDependencyError: OpenVINO is not installed.
    """
    if len(crops) < FEWEST_CROPS:
        raise DataError(
            f"{len(crops)} crops are too few to fit what differs between the two networks; at least {FEWEST_CROPS} are "
            "needed. Name a larger folder, or draw crops: omnireid synthesize."
        )
    found = read_retail_osnet(path)
    chosen = [crops[index] for index in np.linspace(0, len(crops) - 1, min(len(crops), MOST_CROPS)).astype(int)]
    answers, description, pixels = _ask(path, chosen)
    model = create_model(found.architecture).eval()
    state = model.state_dict()
    with torch.no_grad():
        for key, values in found.tensors.items():
            state[key].copy_(torch.from_numpy(np.array(values)))
    generator = torch.Generator().manual_seed(seed)
    # Their graph subtracts ImageNet's mean and divides by its deviation itself; here that is the artefact's part.
    preprocessing = Preprocessing(description.preprocessing.height, description.preprocessing.width)
    for name, group_gate in found.group_gates.items():
        gate = cast(ChannelGate, model.get_submodule(f"{name}.gate"))
        averages = _averages_before(model, gate, pixels, preprocessing)
        _fit_gate(gate, averages, group_gate, generator)
    with torch.no_grad():
        _fit_last_layer(model, pixels, preprocessing, answers)
        measure_norms(model, _normalised(pixels[: 8 * _BATCH], preprocessing))
    metadata = WeightsMetadata(
        found.architecture,
        embedding_dimension=model.embedding_width,
        preprocessing=preprocessing,
        distance="cosine",
        training_data=description.training_data,
        licence=description.licence,
        origin=f"the tensors of {path.name} (SHA-256 {sha256_of(path)}), what differs fitted on {len(chosen)} crops",
    )
    return {key: values.numpy() for key, values in model.state_dict().items()}, metadata


def _ask(path: Path, crops: Sequence[Path]) -> tuple[FloatArray, WeightsMetadata, ByteArray]:
    """The old network's embeddings of the crops, its description, and the resized crops."""
    with tempfile.TemporaryDirectory(prefix="omnireid-") as folder:
        graph = adopt_graph(path)
        place = Path(folder) / path.name
        write_graph(place, graph)
        embedder = load_embedder(str(place), RuntimeOptions(precision="fp32"))
        batches = list(iterate_batches(crops, embedder.metadata.preprocessing, batch_size=_BATCH))
        pixels = np.concatenate([batch.pixels for batch in batches])
        return embedder.embed(pixels), graph.metadata.weights, pixels


def _normalised(pixels: ByteArray, preprocessing: Preprocessing) -> Tensor:
    return torch.from_numpy(preprocessing.normalise(pixels))


def _averages_before(model: Backbone, gate: ChannelGate, pixels: ByteArray, preprocessing: Preprocessing) -> Tensor:
    """(N, C) averages of the maps that a gate weighs, of all streams and crops."""
    averages: list[Tensor] = []
    hook = gate.register_forward_pre_hook(lambda _, inputs: averages.append(inputs[0].mean(dim=(2, 3))))
    with torch.no_grad():
        for start in range(0, min(len(pixels), 8 * _BATCH), _BATCH):
            model(_normalised(pixels[start : start + _BATCH], preprocessing))
    hook.remove()
    return torch.cat(averages)


def _fit_gate(gate: ChannelGate, averages: Tensor, wanted: GroupGate, generator: torch.Generator) -> None:
    """Fit a gate to the weights of another kind of gate, by gradient descent from several first values.

    Several, because a hidden unit that is off for all maps never learns.
    """
    weights = torch.from_numpy(wanted.weigh(averages.numpy()))
    best: tuple[float, dict[str, Tensor]] | None = None
    for _ in range(_GATE_TRIALS):
        _place_gate(gate, averages, weights, generator)
        optimiser = torch.optim.Adam(gate.parameters(), lr=_GATE_RATE)
        for _ in range(_GATE_STEPS):
            optimiser.zero_grad()
            loss = functional.mse_loss(gate(averages[:, :, None, None]).flatten(1), weights)
            torch.autograd.backward(loss)
            optimiser.step()
        if best is None or float(loss.detach()) < best[0]:
            best = float(loss.detach()), {key: values.clone() for key, values in gate.state_dict().items()}
    if best is not None:
        gate.load_state_dict(best[1])


def _place_gate(gate: ChannelGate, averages: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    """Give a gate first values whose hidden units are on for some maps and off for others."""
    directions = torch.randn(gate.reduce.weight.shape[:2], generator=generator)
    directions /= ((averages - averages.mean(dim=0)) @ directions.T).std(dim=0).clamp(min=1e-6)[:, None]
    gate.load_state_dict(
        {
            "reduce.weight": directions[:, :, None, None],
            "reduce.bias": 0.5 - averages.mean(dim=0) @ directions.T,
            "expand.weight": torch.randn(gate.expand.weight.shape, generator=generator) * 0.3,
            "expand.bias": torch.logit(weights.clamp(1e-4, 1 - 1e-4)).mean(dim=0),
        }
    )


def _fit_last_layer(model: Backbone, pixels: ByteArray, preprocessing: Preprocessing, answers: FloatArray) -> None:
    """Fit the last linear layer to the old embeddings, by least squares on the averages of the last maps."""
    parts = [
        model.forward_features(_normalised(pixels[start : start + _BATCH], preprocessing)).mean(dim=(2, 3)).double()
        for start in range(0, len(pixels), _BATCH)
    ]
    features, wanted = torch.cat(parts), torch.from_numpy(answers).double()
    centred = features - features.mean(dim=0)
    products = centred.T @ centred
    products += _RIDGE * products.diagonal().mean() * torch.eye(len(products), dtype=torch.float64)
    weight = torch.linalg.solve(products, centred.T @ (wanted - wanted.mean(dim=0))).T
    bias = wanted.mean(dim=0) - weight @ features.mean(dim=0)
    model.get_submodule("fc").load_state_dict(
        {
            "linear.weight": torch.cat([weight, -weight]),
            "linear.bias": torch.zeros(len(weight) * 2),
            "norm.weight": torch.ones(len(weight) * 2),
            "norm.bias": torch.cat([bias, -bias]),
            "norm.running_mean": torch.zeros(len(weight) * 2),
            "norm.running_var": torch.full((len(weight) * 2,), 1 - NORM_EPSILON),
            "norm.num_batches_tracked": torch.tensor(0),
        }
    )


def measure_norms(model: Backbone, images: Tensor) -> None:
    """Give each batch norm the statistics of these images, and weights with which it computes what it did before.

    In training a batch norm divides by the statistics of its batch, so those it was given must be true ones.
    """

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        maps = inputs[0]
        axes = (0, 2, 3) if maps.dim() == 4 else (0,)
        mean, variance = maps.mean(dim=axes), maps.var(dim=axes, unbiased=False)
        state = norm.state_dict()
        scale = state["weight"] / torch.sqrt(state["running_var"] + NORM_EPSILON)
        shift = state["bias"] - state["running_mean"] * scale
        state["running_mean"].copy_(mean)
        state["running_var"].copy_(variance)
        state["weight"].copy_(scale * torch.sqrt(variance + NORM_EPSILON))
        state["bias"].copy_(shift + scale * mean)
        state["num_batches_tracked"].fill_(1)

    hooks = [
        module.register_forward_hook(measure)
        for module in model.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    model(images)
    for hook in hooks:
        hook.remove()
