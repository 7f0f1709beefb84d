"""The Open Model Zoo's OSNets as networks that can be trained.

All tensors are theirs. What their files do not have are the statistics of the batch norms, which are folded into the
convolutions there; they are measured on crops, so that training begins where the network stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from omnireid.errors import DataError
from omnireid.files import sha256_of
from omnireid.images.batches import iterate_batches
from omnireid.images.preprocess import Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.models.zoo import create_model
from omnireid.weights.artefact import Tensors, WeightsMetadata
from omnireid.weights.foreign_graph import adopt_graph
from omnireid.weights.retail_osnet import NORM_EPSILON, read_retail_osnet

FEWEST_CROPS = 256
MOST_CROPS = 512
"""Crops that are looked at: fewer say too little about a mean and a variance, more hardly change them."""


def adopt_retail_osnet(path: Path, crops: Sequence[Path]) -> tuple[Tensors, WeightsMetadata]:
    """Turn one of the Open Model Zoo's OSNets into a network of ours.

    Args:
        path: The ``.xml`` of ``person-reidentification-retail-0288``, ``-0287``, ``-0286`` or ``-0277``.
        crops: Crops of people, at least `FEWEST_CROPS`; of more than `MOST_CROPS`, that many at equal distances are
            taken. Crops like those of the training that follows are best.

    Returns:
        The state of an ``osnet_retail_…``, and its description. Its embeddings are nearly those of the file: see
        `omnireid.weights.retail_osnet`.

    Raises:
        CheckpointError: The file holds another network, or does not belong to its ``.bin``.
        DataError: There are fewer than `FEWEST_CROPS` crops.
        ImageError: A crop cannot be read.
        MissingDependencyError: OpenVINO is not installed.
    """
    if len(crops) < FEWEST_CROPS:
        raise DataError(
            f"{len(crops)} crops are too few to measure the batch norms on; at least {FEWEST_CROPS} are needed. Name a "
            "larger folder, or draw crops: omnireid synthesize."
        )
    found = read_retail_osnet(path)
    chosen = [crops[index] for index in np.linspace(0, len(crops) - 1, min(len(crops), MOST_CROPS)).astype(int)]
    # Their graph subtracts ImageNet's mean and divides by its deviation itself; here that is the artefact's part.
    description = adopt_graph(path).metadata.weights
    preprocessing = Preprocessing(description.preprocessing.height, description.preprocessing.width)
    model = create_model(found.architecture).eval()
    state = model.state_dict()
    pixels = np.concatenate([batch.pixels for batch in iterate_batches(chosen, preprocessing, batch_size=64)])
    with torch.no_grad():
        for key, values in found.tensors.items():
            state[key].copy_(torch.from_numpy(np.array(values)))
        measure_norms(model, torch.from_numpy(preprocessing.normalise(pixels)))
    metadata = WeightsMetadata(
        found.architecture,
        embedding_dimension=model.embedding_width,
        preprocessing=preprocessing,
        distance="cosine",
        training_data=description.training_data,
        licence=description.licence,
        origin=f"the tensors of {path.name} (SHA-256 {sha256_of(path)}), batch norms measured on {len(chosen)} crops",
    )
    return {key: values.numpy() for key, values in model.state_dict().items()}, metadata


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
