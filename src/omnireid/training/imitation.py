"""Losses that pull a network's embeddings towards a teacher's, in float32 whatever precision the network runs in."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from omnireid.training.distributed import Ranks, gather, gather_with_gradient
from omnireid.training.precision import at_least_float32


def cosine_loss(projected: Tensor, targets: Tensor) -> Tensor:
    """Mean of 1 − cosine between each projected embedding and its target, in [0, 2].

    Args:
        projected: (B, D) projections of the student's embeddings into the teacher's space.
        targets: (B, D) the teacher's embeddings, of unit length.
    """
    with torch.autocast(projected.device.type, enabled=False):
        return (1 - functional.cosine_similarity(at_least_float32(projected), at_least_float32(targets), dim=1)).mean()


def similarity_graph_loss(embeddings: Tensor, targets: Tensor, *, temperature: float, ranks: Ranks) -> Tensor:
    """How far the batch's similarities are from the teacher's: mean Kullback–Leibler divergence of the rows.

    A row is the softmax of one crop's cosine similarities to all other crops of the batch, divided by
    `temperature`; the teacher's row is the target. The batch is that of all ranks together: the mean of what the
    ranks return is the loss of the whole batch in one process, and so are the gradients after their mean over ranks.
    A batch of a single crop has no similarities, and the loss is 0.

    Args:
        embeddings: (B, D) the student's embeddings, a rank's share, of one size on all ranks.
        targets: (B, E) the teacher's embeddings, of unit length.
        temperature: Divisor of the similarities, above 0; a small one looks at the nearest crops only.
        ranks: This process among the others.

    Source: Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018,
    with a softmax over cosines in the place of the kernel.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        own = functional.normalize(at_least_float32(embeddings), dim=1)
        others = gather_with_gradient(own, ranks)
        own_targets = at_least_float32(targets)
        all_targets = gather(own_targets, ranks)
        if len(others) < 2:
            return own.sum() * 0
        rows = torch.arange(len(own), device=own.device)
        itself = torch.zeros(len(own), len(others), dtype=torch.bool, device=own.device)
        itself[rows, rows + ranks.rank * len(own)] = True
        wanted = _log_rows(own_targets @ all_targets.T, itself, temperature)
        found = _log_rows(own @ others.T, itself, temperature)
        return functional.kl_div(found, wanted, reduction="none", log_target=True).masked_fill(itself, 0).sum(1).mean()


def _log_rows(similarities: Tensor, itself: Tensor, temperature: float) -> Tensor:
    """Log-softmax of each row without the crop itself, whose entry is finite but means nothing."""
    scaled = (similarities / temperature).masked_fill(itself, torch.finfo(similarities.dtype).min)
    return functional.log_softmax(scaled, dim=1)
