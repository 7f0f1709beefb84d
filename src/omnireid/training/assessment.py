"""Scoring a network in training, through the same evaluation as everything else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from omnireid.data.datasets import load_dataset
from omnireid.data.partition import draw_queries, protocol_of
from omnireid.data.training_data import TrainingData
from omnireid.embedding.torch_runtime import full_precision
from omnireid.errors import RecipeError
from omnireid.evaluation.protocols import check_labels
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.evaluation.scores import RankingScores
from omnireid.images.preprocess import Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.terms import Protocol
from omnireid.training.distributed import Ranks, gather
from omnireid.types import ByteArray, FloatArray, Split

BATCH = 128


@dataclass(frozen=True, eq=False)
class Validation:
    """What a network in training is scored on.

    Attributes:
        name: Name in the log and in the metrics of the weights, such as ``market1501``.
        query: Crops to look for.
        gallery: Crops to search.
        protocol: Rule by which a query is scored.
    """

    name: str
    query: Split
    gallery: Split
    protocol: Protocol

    @property
    def paths(self) -> tuple[Path, ...]:
        """The crops to embed, query first."""
        return (*self.query.paths, *self.gallery.paths)


def load_validation(root: Path, *, layout: str, seed: int, split: int = 0) -> Validation | None:
    """Load query and gallery of a data set, or of one of its published splits; None if it has none.

    Raises:
        NoTrueMatchError: No query has a true match.
        DataError: The data set cannot be read.
    """
    dataset = load_dataset(root, layout, split=split, seed=seed)
    if not len(dataset.query) or not len(dataset.gallery):
        return None
    check_labels(dataset.query.labels, dataset.gallery.labels, dataset.protocol)
    return Validation(dataset.name, dataset.query, dataset.gallery, dataset.protocol)


def hold_out(data: TrainingData, fraction: float, *, seed: int) -> tuple[TrainingData, Validation]:
    """Take identities out of the training data to score on, so that choices need not be made on the test set.

    Args:
        data: Data to learn from.
        fraction: Share of the identities to take out, in (0, 1), rounded up.
        seed: Seed for the choice of identities, and of the queries among their crops.

    Returns:
        The remaining data, with its identities renumbered, and the identities taken out, with one query per camera.

    Raises:
        RecipeError: The fraction is out of range, or leaves fewer than two identities.
        DataError: None of the identities taken out has a true match.
    """
    if not 0 < fraction < 1:
        raise RecipeError(f"--hold-out must lie between 0 and 1; got {fraction}.")
    count = math.ceil(fraction * data.identity_count)
    if data.identity_count - count < 2:
        raise RecipeError(f"--hold-out {fraction} leaves {data.identity_count - count} identities to learn from.")
    chosen = np.random.default_rng(seed).permutation(data.identity_count)[:count]
    held = np.isin(data.identities, chosen)
    cameras = data.cameras
    crops = Split(data.paths, data.identities, cameras)
    drawn = draw_queries(crops.select(held), seed=seed)
    kept = crops.select(~held)
    rest = replace(
        data,
        paths=kept.paths,
        identities=np.unique(kept.person_ids, return_inverse=True)[1].astype(np.int64),
        cameras=kept.camera_ids,
    )
    return rest, Validation("held-out", drawn.query, drawn.gallery, protocol_of(crops))


def assess(
    network: Backbone,
    weights: Mapping[str, Tensor],
    validation: Validation,
    pixels: ByteArray,
    *,
    device: torch.device,
    ranks: Ranks,
) -> RankingScores:
    """Score weights on query and gallery by Euclidean distance. Each rank embeds a share, and all get the scores.

    Args:
        network: Network of the architecture; its weights are replaced.
        weights: Weights to score.
        validation: Crops to score them on.
        pixels: (N, H, W, 3) uint8 pixels of `Validation.paths`, at the input size.
        device: Device to compute on, in float32.
        ranks: This process among the ranks of the run.
    """
    network.load_state_dict(weights)
    embeddings = embed_pixels(network.eval(), pixels, device, ranks)
    queries = len(validation.query)
    return evaluate_ranking(
        embeddings[:queries],
        embeddings[queries:],
        validation.query.labels,
        validation.gallery.labels,
        "euclidean",
        protocol=validation.protocol,
    )


@torch.inference_mode()
def embed_pixels(network: Backbone, pixels: ByteArray, device: torch.device, ranks: Ranks) -> FloatArray:
    """Embed pixels in float32, (N, D). Each rank computes a share, and all get the whole."""
    preprocessing = Preprocessing(height=pixels.shape[1], width=pixels.shape[2])
    share = -(-len(pixels) // ranks.world_size)  # shares are equal: the last one repeats the last crop
    rows = np.minimum(np.arange(ranks.rank * share, (ranks.rank + 1) * share), len(pixels) - 1)
    parts: Sequence[Tensor] = []
    with full_precision(device):
        parts = [
            network(
                torch.from_numpy(preprocessing.normalise(pixels[rows[start : start + BATCH]]))
                .to(device)
                .contiguous(memory_format=torch.channels_last)
            )
            for start in range(0, share, BATCH)
        ]
    return np.asarray(gather(torch.cat(list(parts)), ranks).float().cpu().numpy())[: len(pixels)]
