"""Image classification: which pictures a classifier learns from and is scored on, and its top-1 and top-5."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from omnireid.data.folder import LAYOUT
from omnireid.data.image_folder import LabelledPictures, load_image_folder, load_validation_pictures
from omnireid.data.training_data import TrainingData
from omnireid.errors import DataError, EmbeddingError, RecipeError, SettingError
from omnireid.evaluation.classification_scores import ClassificationScores
from omnireid.models.backbone import Backbone
from omnireid.training.assessment import BATCH, embed_pixels
from omnireid.training.distributed import Ranks
from omnireid.training.options import RunOptions
from omnireid.types import ByteArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class PictureValidation:
    """What a classifier in training is scored on.

    Attributes:
        name: Name in the log and in the metrics of the weights, such as ``tiny-imagenet``.
        pictures: The pictures and their classes.
        class_count: Number of classes that are learned, C.
    """

    name: str
    pictures: LabelledPictures
    class_count: int

    @property
    def paths(self) -> tuple[Path, ...]:
        """The pictures to classify."""
        return self.pictures.paths

    @property
    def fingerprint(self) -> str:
        """SHA-256 over each picture's file name and class; folders do not matter."""
        names = [path.name for path in self.paths]
        return hashlib.sha256(json.dumps([names, self.pictures.classes.tolist()]).encode()).hexdigest()


def load_pictures(options: RunOptions, *, seed: int) -> tuple[TrainingData, PictureValidation]:
    """Read the image folder of a run. A class takes the place of an identity; there are no cameras.

    Scored on are, in this order: a share of each class (`RunOptions.hold_out`), the pictures of another image folder
    (`RunOptions.evaluate_on`), or the validation part of the image folder itself.

    Raises:
        SettingError: There are several image folders, or an option that only fits people is set.
        RecipeError: `RunOptions.hold_out` is out of range.
        DataError: The folder cannot be learned from, or there is nothing to score on.
    """
    _check_options(options)
    folder = load_image_folder(options.data[0])
    train, name = folder.train, folder.root.resolve().name
    if options.hold_out:
        train, validation = hold_out_pictures(train, options.hold_out, seed=seed)
        where = "held-out"
    elif options.evaluate_on:
        validation = load_validation_pictures(options.evaluate_on[0], folder.class_names)
        where = options.evaluate_on[0].resolve().name
    elif folder.validation is not None:
        validation, where = folder.validation, name
    else:
        raise DataError(
            f"{folder.root} has no validation part (val/ beside train/), so there is nothing to score on. Keep a share "
            "of each class for it with --hold-out 0.1, or name another folder with --evaluate-on."
        )
    class_count = len(folder.class_names)
    data = TrainingData(
        train.paths,
        train.classes,
        None,
        (f"{name} ({class_count:,} classes of pictures)",),
        LAYOUT.licence,
        (folder.root,),
    )
    return data, PictureValidation(where, validation, class_count)


def _check_options(options: RunOptions) -> None:
    if len(options.data) > 1:
        raise SettingError(
            f"A classifier learns from one image folder; got {len(options.data)} --data. Put the folders of all "
            "classes into one."
        )
    if len(options.evaluate_on) > 1:
        raise SettingError(
            f"A classifier is scored on one image folder; got {len(options.evaluate_on)} --evaluate-on. Give one."
        )
    useless = {
        "--layout": options.layout != "auto",
        "--split-index": options.split_index != 0,
        "--use-test-identities": options.use_test_identities,
    }
    given = [flag for flag, is_given in useless.items() if is_given]
    if given:
        raise SettingError(
            f"{' and '.join(given)} fits crops of people only, and a classifier reads an image folder. Leave it out."
        )


def hold_out_pictures(
    pictures: LabelledPictures, share: float, *, seed: int
) -> tuple[LabelledPictures, LabelledPictures]:
    """Take a share of each class out of the training pictures to score on.

    Args:
        pictures: Pictures to learn from; every class has at least one.
        share: Share to take out, in (0, 1), rounded to whole pictures: at least one of each class, but never a
            class's last one.
        seed: Seed for the choice.

    Returns:
        The remaining pictures and those taken out, each in their old order.

    Raises:
        RecipeError: The share is out of range, or no class has a second picture.
    """
    if not 0 < share < 1:
        raise RecipeError(f"--hold-out must lie between 0 and 1; got {share}.")
    counts = np.bincount(pictures.classes)
    limits = np.minimum(np.maximum(np.round(share * counts), 1), counts - 1)
    order = np.random.default_rng(seed).permutation(len(pictures))
    by_class = order[np.argsort(pictures.classes[order], kind="stable")]
    places = np.arange(len(pictures)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = np.zeros(len(pictures), dtype=np.bool_)
    held[by_class[places < np.repeat(limits, counts)]] = True
    if not held.any():
        raise RecipeError(f"--hold-out {share} leaves nothing to score on: every class has a single picture.")
    return pictures.select(~held), pictures.select(held)


def assess_classes(
    network: Backbone,
    head: nn.Module,
    weights: Mapping[str, Tensor],
    validation: PictureValidation,
    pixels: ByteArray,
    *,
    device: torch.device,
    ranks: Ranks,
) -> ClassificationScores:
    """Score weights and a head by top-1 and top-5. Each rank embeds a share, and all get the scores.

    Args:
        network: Network of the architecture; its weights are replaced.
        head: The classifier, in evaluation mode and float32, on the device.
        weights: Weights of the network to score.
        validation: Pictures to score them on.
        pixels: (N, H, W, 3) uint8 pixels of `PictureValidation.paths`, at the input size.
        device: Device to compute on, in float32.
        ranks: This process among the ranks of the run.

    Raises:
        EmbeddingError: A logit is not finite.
    """
    network.load_state_dict(weights)
    embeddings = embed_pixels(network.eval(), pixels, device, ranks)
    ahead = _count_classes_ahead(head, embeddings, validation.pictures.classes, device)
    return ClassificationScores(
        top1=float((ahead < 1).mean()),
        top5=float((ahead < 5).mean()),
        pictures=len(validation.pictures),
        classes=validation.class_count,
    )


@torch.inference_mode()
def _count_classes_ahead(head: nn.Module, embeddings: FloatArray, classes: IntArray, device: torch.device) -> IntArray:
    """(N,) number of classes ranked before each picture's own. Of equal logits, the lower class comes first."""
    counts = []
    for start in range(0, len(embeddings), BATCH):
        own = torch.from_numpy(classes[start : start + BATCH]).to(device)
        logits = head(torch.from_numpy(embeddings[start : start + BATCH]).to(device), own)
        if not torch.isfinite(logits).all():
            raise EmbeddingError(
                "The classifier's logits are not finite, so its pictures cannot be ranked: the network has diverged. "
                "Train again with a lower --learning-rate."
            )
        own_logits = logits.gather(1, own[:, None])
        is_lower = torch.arange(logits.shape[1], device=device) < own[:, None]
        counts.append(((logits > own_logits) | ((logits == own_logits) & is_lower)).sum(dim=1))
    return np.asarray(torch.cat(counts).cpu().numpy())
