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
from omnireid.training.distributed import Ranks, gather
from omnireid.types import ByteArray, FloatArray, Protocol, Split

BATCH = 128


@dataclass(frozen=True, eq=False)
class Validation:
    """What a network in training is scored on.

    Attributes:
        name: for the log and the artefact's metrics, such as ``market1501``.
        query: crops to look for.
        gallery: crops to look in.
        protocol: what a query is scored against.
    """

    name: str
    query: Split
    gallery: Split
    protocol: Protocol

    @property
    def paths(self) -> tuple[Path, ...]:
        """The crops to embed, query first."""
        return (*self.query.paths, *self.gallery.paths)


def load_validation(root: Path, *, layout: str, seed: int) -> Validation | None:
    """Query and gallery of a data set; None where it has none.

    Raises:
        NoTrueMatchError: no query has anything to be found.
        DataError: the data set cannot be read.
    """
    dataset = load_dataset(root, layout, seed=seed)
    if not len(dataset.query) or not len(dataset.gallery):
        return None
    check_labels(dataset.query.labels, dataset.gallery.labels, dataset.protocol)
    return Validation(dataset.name, dataset.query, dataset.gallery, dataset.protocol)


def hold_out(data: TrainingData, fraction: float, *, seed: int) -> tuple[TrainingData, Validation]:
    """Take identities out of the training data to score on, so that choices need no look at the test set.

    Args:
        data: to learn from.
        fraction: of the identities, in (0, 1), rounded up.
        seed: of the draw of identities, and of the queries among their crops.

    Returns:
        The rest, its identities numbered anew, and one query a camera of each identity held out.

    Raises:
        RecipeError: no such fraction, or it leaves fewer than two identities.
        DataError: none of the identities held out can be searched for.
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
    """Score weights on query and gallery by Euclidean distance. Every rank embeds a share, and all get the scores.

    Args:
        network: of the architecture; its weights are replaced.
        weights: to be scored.
        validation: what they are scored on.
        pixels: (N, H, W, 3) uint8 of `Validation.paths`, at the input size.
        device: of the arithmetic, which is float32.
        ranks: this process among others.
    """
    network.load_state_dict(weights)
    embeddings = _embed(network.eval(), pixels, device, ranks)
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
def _embed(network: Backbone, pixels: ByteArray, device: torch.device, ranks: Ranks) -> FloatArray:
    preprocessing = Preprocessing(height=pixels.shape[1], width=pixels.shape[2])
    share = -(-len(pixels) // ranks.world_size)  # equal shares: the last one is filled up with the last crop
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
