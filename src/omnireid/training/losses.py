"""Losses, computed in float32 whatever precision the network runs in."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from omnireid.data.training_data import NO_IDENTITY
from omnireid.training.distributed import Ranks, gather, gather_with_gradient, sum_over_ranks
from omnireid.training.precision import at_least_float32


def cross_entropy(logits: Tensor, identities: Tensor, *, smoothing: float) -> Tensor:
    """Mean cross-entropy of (B, C) logits with label smoothing.

    A crop without an identity (`NO_IDENTITY`) adds 0 to the mean. So a labelled crop weighs the same in every batch.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016.
    """
    with torch.autocast(logits.device.type, enabled=False):
        each = functional.cross_entropy(
            at_least_float32(logits), identities, label_smoothing=smoothing, ignore_index=NO_IDENTITY, reduction="none"
        )
        return each.mean()


def batch_hard_triplet(embeddings: Tensor, identities: Tensor, *, margin: float | None, ranks: Ranks) -> Tensor:
    """Batch-hard triplet loss by Euclidean distance, mined across ranks.

    Each embedding is an anchor. Its farthest embedding of the same identity is compared with its nearest of another
    identity, among the batches of all ranks. An anchor without another crop of its identity, or without another
    identity, is not counted. If no anchor is counted, the loss is 0.

    The mean of the values that the ranks return is the loss of the whole batch in one process. The same holds for the
    gradients.

    Args:
        embeddings: (B, D) embeddings of a rank's share; B must be the same on all ranks.
        identities: (B,) identities.
        margin: Margin in units of distance; None means the soft margin, log(1 + exp(positive - negative)).
        ranks: This process among the ranks of the run.

    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        anchors = at_least_float32(embeddings)
        candidates = gather_with_gradient(anchors, ranks)
        others = gather(identities, ranks)
        same = identities[:, None] == others[None, :]
        rows = torch.arange(len(anchors), device=anchors.device)
        itself = torch.zeros_like(same)
        itself[rows, rows + ranks.rank * len(anchors)] = True
        positive = same & ~itself
        is_counted = positive.any(dim=1) & (~same).any(dim=1)
        with torch.no_grad():
            found = torch.cdist(anchors, candidates, compute_mode="donot_use_mm_for_euclid_dist")
            farthest = found.masked_fill(~positive, float("-inf")).argmax(dim=1)
            nearest = found.masked_fill(same, float("inf")).argmin(dim=1)
        difference = _distances(anchors, candidates, farthest) - _distances(anchors, candidates, nearest)
        each = functional.softplus(difference) if margin is None else functional.relu(difference + margin)
        total = sum_over_ranks(at_least_float32(is_counted.sum()), ranks).clamp(min=1)
        return torch.where(is_counted, each, 0).sum() * ranks.world_size / total


def attribute_loss(logits: Tensor, attributes: Tensor) -> Tensor:
    """Weighted sigmoid cross-entropy, averaged over crops and attributes.

    A crop whose attributes are not known has weight 0 and adds 0 to the mean, like a crop without an identity.

    Args:
        logits: (B, K).
        attributes: (B, 2, K) values, 0 or 1, and weights; see `omnireid.training.attribute_targets`.
    """
    with torch.autocast(logits.device.type, enabled=False):
        values, weights = at_least_float32(attributes).unbind(dim=1)
        wanted = at_least_float32(logits)
        return functional.binary_cross_entropy_with_logits(
            wanted, values.to(wanted.dtype), weight=weights.to(wanted.dtype)
        )


def _distances(anchors: Tensor, candidates: Tensor, chosen: Tensor) -> Tensor:
    """(B,) Euclidean distance of each anchor to its chosen candidate; the gradient between equal ones is 0."""
    # By subtraction, since |a|² + |b|² - 2ab loses the digits of small distances.
    squared = (anchors - functional.embedding(chosen, candidates)).square().sum(dim=1)
    is_positive = squared > 0
    return torch.where(is_positive, torch.where(is_positive, squared, 1).sqrt(), 0)
