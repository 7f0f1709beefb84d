"""Losses towards a teacher, against loops; `test_distributed` has the losses across ranks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from omnireid.training.distributed import Ranks
from omnireid.training.imitation import cosine_loss, similarity_graph_loss


def drawn(rows: int, width: int, seed: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def unit(rows: int, width: int, seed: int) -> Tensor:
    return functional.normalize(drawn(rows, width, seed), dim=1)


def graph_loss(embeddings: Tensor, targets: Tensor, temperature: float = 0.1) -> Tensor:
    return similarity_graph_loss(embeddings, targets, temperature=temperature, ranks=Ranks())


def naive_graph_loss(embeddings: Tensor, targets: Tensor, temperature: float) -> float:
    def row(vectors: Tensor, anchor: int) -> dict[int, float]:
        scaled = {
            other: float(functional.cosine_similarity(vectors[anchor], vectors[other], dim=0)) / temperature
            for other in range(len(vectors))
            if other != anchor
        }
        total = sum(math.exp(value) for value in scaled.values())
        return {other: math.exp(value) / total for other, value in scaled.items()}

    total = 0.0
    for anchor in range(len(embeddings)):
        wanted, found = row(targets.double(), anchor), row(embeddings.double(), anchor)
        total += sum(p * math.log(p / found[other]) for other, p in wanted.items())
    return total / len(embeddings)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(2, 6), st.sampled_from([0.1, 0.5, 2.0]), st.integers(0, 2**31))
def test_the_graph_loss_is_that_of_loops(rows: int, width: int, temperature: float, seed: int) -> None:
    embeddings, targets = drawn(rows, width, seed), unit(rows, width + 1, seed + 1)
    expected = naive_graph_loss(embeddings, targets, temperature)
    assert graph_loss(embeddings, targets, temperature).item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_student_with_the_similarities_of_its_teacher_has_no_graph_loss() -> None:
    targets = unit(6, 4, 0)
    rotation = torch.linalg.qr(drawn(4, 4, 1)).Q
    lengths = torch.linspace(0.5, 3, 6)[:, None]
    assert graph_loss(targets @ rotation * lengths, targets).item() == pytest.approx(0, abs=1e-5)


def test_the_graph_loss_falls_along_its_gradient() -> None:
    embeddings, targets = drawn(8, 5, 2).requires_grad_(), unit(8, 3, 3)
    before = graph_loss(embeddings, targets)
    before.backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()
    assert graph_loss(embeddings - 0.05 * embeddings.grad, targets) < before


def test_a_single_crop_has_no_similarities() -> None:
    embedding = drawn(1, 5, 0).requires_grad_()
    loss = graph_loss(embedding, unit(1, 3, 0))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert embedding.grad is not None
    assert not embedding.grad.any()


@pytest.mark.parametrize(("projected", "expected"), [([2.0, 0.0], 0.0), ([0.0, 5.0], 1.0), ([-1.0, 0.0], 2.0)])
def test_the_cosine_loss_looks_at_directions_only(projected: list[float], expected: float) -> None:
    assert cosine_loss(torch.tensor([projected]), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(expected)
