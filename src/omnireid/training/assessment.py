"""Scoring a network in training, through the same evaluation as everything else."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from omnireid.data.collection import name_apart, refuse_repeated
from omnireid.data.datasets import load_dataset, load_splits
from omnireid.data.identical import find_shared_crops
from omnireid.data.options import DataOptions
from omnireid.data.partition import draw_queries, protocol_of
from omnireid.data.training_data import TrainingData
from omnireid.embedding.torch_runtime import full_precision
from omnireid.errors import DataError, RecipeError
from omnireid.evaluation.protocols import check_labels, protocol_among_several
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.evaluation.scores import RankingScores, average_scores
from omnireid.images.preprocess import Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.terms import Distance, Protocol
from omnireid.training.distributed import Ranks, gather
from omnireid.training.options import Scores
from omnireid.training.recipes import MetricName
from omnireid.types import ByteArray, Dataset, FloatArray, Split

BATCH = 128


@dataclass(frozen=True, eq=False)
class Validation:
    """One data set that a network in training is scored on.

    Attributes:
        name: Name in the log and in the metrics of the weights, such as ``market1501``.
        searches: Query and gallery of each split that the scores are averaged over; one for most data sets.
        protocol: Rule by which a query is scored.
    """

    name: str
    searches: tuple[tuple[Split, Split], ...]
    protocol: Protocol

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The crops to embed, each once: those of the first query, the first gallery, and so on."""
        return tuple(dict.fromkeys(path for search in self.searches for split in search for path in split.paths))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the protocol and each crop's file name, person and camera; folders do not matter."""
        digest = hashlib.sha256(self.protocol.encode())
        for split in (split for search in self.searches for split in search):
            cameras = [None] * len(split) if split.camera_ids is None else split.camera_ids.tolist()
            names = [path.name for path in split.paths]
            digest.update(json.dumps([names, split.person_ids.tolist(), cameras]).encode())
        return digest.hexdigest()


def load_validation(root: Path, *, layout: str, seed: int, split: int = 0) -> Validation | None:
    """Load query and gallery of a data set, or of one of its published splits; None if it has none.

    Raises:
        NoTrueMatchError: No query has a true match.
        DataError: The data set cannot be read.
    """
    dataset = load_dataset(root, layout, split=split, seed=seed)
    if not len(dataset.query) or not len(dataset.gallery):
        return None
    return _validate(name_apart([dataset])[0], [dataset], dataset.protocol)


def load_validations(
    roots: Sequence[Path], learned: TrainingData, *, split: int = 0, seed: int
) -> tuple[Validation, ...]:
    """Load the data sets that a run is scored on in the place of its own test split, as ``omnireid evaluate`` does.

    A data set with several published splits is scored on all of them, unless the run learns from one of them.

    Args:
        roots: Folders or manifests.
        learned: The labelled crops that the run learns from.
        split: The published split that they belong to, where there are several.
        seed: Seed for the automatic split, used only when a data set defines none.

    Raises:
        NoTrueMatchError: No query of a data set has a true match.
        DataError: A data set cannot be read, has nothing to score on, or is given twice.
    """
    groups = [_load_splits(root, learned, split, seed) for root in roots]
    first = [group[0] for group in groups]
    refuse_repeated(first, "its score would count twice in the mean.")
    for dataset in first:
        if not len(dataset.query) or not len(dataset.gallery):
            raise DataError(
                f"{dataset.name} in {dataset.root} has no query or no gallery, so there is nothing to score on. Give "
                "another --evaluate-on."
            )
    rules = [dataset.protocol if len(first) == 1 else protocol_among_several(dataset) for dataset in first]
    return tuple(map(_validate, name_apart(first), groups, rules))


def _load_splits(root: Path, learned: TrainingData, split: int, seed: int) -> list[Dataset]:
    first = load_dataset(root, seed=seed)
    if first.split_count == 1:
        return [first]
    is_learned = first.root.resolve() in [home.resolve() for home in learned.roots]
    return load_splits(root, DataOptions(split_index=split if is_learned else None, seed=seed))


def _validate(name: str, datasets: Sequence[Dataset], protocol: Protocol) -> Validation:
    for dataset in datasets:
        check_labels(dataset.query.labels, dataset.gallery.labels, protocol)
    return Validation(name, tuple((dataset.query, dataset.gallery) for dataset in datasets), protocol)


def refuse_learned(name: str, paths: Sequence[Path], learned: TrainingData) -> None:
    """Check that no picture that is scored is also learned from, under whatever name.

    Args:
        name: Name of the data set that is scored.
        paths: Its crops, or the pictures of a classifier.
        learned: What the run learns from.

    Raises:
        DataError: Some are.
    """
    shared = find_shared_crops(paths, learned.paths)
    if shared:
        one, other = shared[0]
        raise DataError(
            f"{len({picture for picture, _ in shared}):,} of {len(paths):,} pictures of {name}, which the "
            f"run is scored on, are among those it learns from (the first: {paths[one]} = "
            f"{learned.paths[other]}). The best weights would be those that remember most. Learn from other data, "
            "leave --use-test-identities out, or score on other data with --evaluate-on."
        )


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
    return rest, Validation("held-out", ((drawn.query, drawn.gallery),), protocol_of(crops))


def assess(
    network: Backbone,
    weights: Mapping[str, Tensor],
    validation: Validation,
    pixels: ByteArray,
    distance: Distance,
    *,
    device: torch.device,
    ranks: Ranks,
) -> RankingScores:
    """Score weights on a data set. Each rank embeds a share, and all get the scores.

    Args:
        network: Network of the architecture; its weights are replaced.
        weights: Weights to score.
        validation: Crops to score them on.
        pixels: (N, H, W, 3) uint8 pixels of `Validation.paths`, at the input size.
        distance: Distance to compare embeddings by.
        device: Device to compute on, in float32.
        ranks: This process among the ranks of the run.
    """
    network.load_state_dict(weights)
    embeddings = embed_pixels(network.eval(), pixels, device, ranks)
    row = {path: index for index, path in enumerate(validation.paths)}
    return average_scores(
        [
            evaluate_ranking(
                embeddings[[row[path] for path in query.paths]],
                embeddings[[row[path] for path in gallery.paths]],
                query.labels,
                gallery.labels,
                distance,
                protocol=validation.protocol,
            )
            for query, gallery in validation.searches
        ]
    )


def summarise(evaluations: Mapping[str, Scores], metrics: Sequence[MetricName]) -> dict[str, float]:
    """The values of an evaluation in the log: the metrics, as means over the data sets; of several, each one's too."""
    if not evaluations:
        return {}
    means: dict[str, float] = {
        metric: fmean(getattr(one, metric) for one in evaluations.values()) for metric in metrics
    }
    return means if len(evaluations) == 1 else {**means, **name_scores(evaluations, metrics)}


def name_scores(evaluations: Mapping[str, Scores], metrics: Sequence[MetricName]) -> dict[str, float]:
    """The metrics of each data set, under names such as ``viper.rank1``."""
    return {f"{name}.{metric}": getattr(one, metric) for name, one in evaluations.items() for metric in metrics}


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
