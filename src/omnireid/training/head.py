"""Heads: from embeddings to one logit per identity. They are used in training only."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnireid.errors import RecipeError
from omnireid.models.layers import Linear, initialise
from omnireid.training.precision import at_least_float32
from omnireid.training.recipes import HeadName


class LinearHead(nn.Module):
    """A linear classifier on the embedding, the paper's: (B, D) → (B, C) float32."""

    def __init__(self, embedding_dimension: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = Linear(embedding_dimension, num_classes)

    def forward(self, embeddings: Tensor, identities: Tensor) -> Tensor:  # noqa: ARG002
        """Logits; `identities` are not used."""
        with torch.autocast(embeddings.device.type, enabled=False):
            logits: Tensor = self.classifier(at_least_float32(embeddings))
            return logits


class BNNeckHead(nn.Module):
    """Batch norm without shift, then a linear classifier without bias: (B, D) → (B, C) float32.

    The triplet loss sees the embedding before the norm, so that it and the cross-entropy need not agree on its scale.

    Source: Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPR workshops 2019.
    """

    def __init__(self, embedding_dimension: int, num_classes: int) -> None:
        super().__init__()
        self.neck = nn.BatchNorm1d(embedding_dimension)
        self.neck.bias.requires_grad_(False)
        self.classifier = Linear(embedding_dimension, num_classes, bias=False)

    def forward(self, embeddings: Tensor, identities: Tensor) -> Tensor:  # noqa: ARG002
        """Logits; `identities` are not used."""
        with torch.autocast(embeddings.device.type, enabled=False):
            logits: Tensor = self.classifier(self.neck(at_least_float32(embeddings)))
            return logits


class CosineHead(nn.Module):
    """Scaled cosines of embedding and identity; training subtracts a margin from the true one: (B, D) → (B, C).

    Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018.
    """

    def __init__(self, embedding_dimension: int, num_classes: int, *, scale: float, margin: float) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.classifier = Linear(embedding_dimension, num_classes, bias=False)

    def forward(self, embeddings: Tensor, identities: Tensor) -> Tensor:
        """float32 logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = functional.linear(
                functional.normalize(at_least_float32(embeddings)), functional.normalize(self.classifier.weight)
            )
            if self.margin and self.training:
                cosines = cosines - self.margin * functional.one_hot(identities.clamp(min=0), cosines.shape[1])
            return cosines * self.scale


def create_head(
    kind: HeadName,
    embedding_dimension: int,
    num_classes: int,
    *,
    generator: torch.Generator,
    scale: float = 16.0,
    margin: float = 0.0,
) -> nn.Module:
    """Create a head: a module from embeddings (B, D) and identities (B,) to (B, C) float32 logits, autocast or not.

    Args:
        kind: ``linear``, ``bnneck`` or ``cosine``.
        embedding_dimension: Number of values in an embedding, D.
        num_classes: Number of identities, C.
        generator: CPU generator for the initial weights.
        scale: Factor of the cosine head.
        margin: Margin of the cosine head.

    Raises:
        RecipeError: There is no head of this kind.
    """
    if kind not in get_args(HeadName):
        raise RecipeError(f"--head {kind!r} is not known: {', '.join(get_args(HeadName))}.")
    head: nn.Module
    if kind == "cosine":
        head = CosineHead(embedding_dimension, num_classes, scale=scale, margin=margin)
    elif kind == "bnneck":
        head = BNNeckHead(embedding_dimension, num_classes)
    else:
        head = LinearHead(embedding_dimension, num_classes)
    initialise(head, generator)
    return head


def create_projection(embedding_width: int, target_width: int, *, generator: torch.Generator) -> nn.Module:
    """Make a new linear map from a network's embeddings to a teacher's space, computed in float32.

    Args:
        embedding_width: D.
        target_width: E, the width of the teacher's embeddings.
        generator: Generator for the initial weights, on the CPU.
    """
    projection = Projection(embedding_width, target_width)
    initialise(projection, generator)
    return projection


class Projection(nn.Module):
    """A linear map in float32 whatever the network's precision: (B, D) → (B, E)."""

    def __init__(self, embedding_width: int, target_width: int) -> None:
        super().__init__()
        self.linear = Linear(embedding_width, target_width)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Project embeddings."""
        with torch.autocast(embeddings.device.type, enabled=False):
            projected: Tensor = self.linear(at_least_float32(embeddings))
            return projected
