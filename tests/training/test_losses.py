"""What one process computes; `test_distributed` has the losses across ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnireid.training.distributed import Ranks
from omnireid.training.losses import batch_hard_triplet, cross_entropy

MARGINS = [0.0, 0.3, 5.0, None]


def naive_triplet(embeddings: Sequence[Sequence[float]], identities: Sequence[int], margin: float | None) -> float:
    losses = []
    for anchor, person in enumerate(identities):
        distances = [math.dist(embeddings[anchor], other) for other in embeddings]
        others = range(len(identities))
        positives = [distances[other] for other in others if identities[other] == person and other != anchor]
        negatives = [distances[other] for other in others if identities[other] != person]
        if positives and negatives:
            difference = max(positives) - min(negatives)
            losses.append(math.log1p(math.exp(difference)) if margin is None else max(0.0, difference + margin))
    return sum(losses) / len(losses) if losses else 0.0


def triplet(embeddings: Tensor, identities: Sequence[int], margin: float | None) -> Tensor:
    return batch_hard_triplet(embeddings, torch.tensor(identities), margin=margin, ranks=Ranks())


def drawn(rows: int, width: int, seed: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.integers(1, 6),
    st.sampled_from(MARGINS),
    st.integers(0, 2**31),
)
def test_triplet_is_that_of_loops(identities: list[int], width: int, margin: float | None, seed: int) -> None:
    embeddings = drawn(len(identities), width, seed)
    expected = naive_triplet(embeddings.double().tolist(), identities, margin)
    assert triplet(embeddings, identities, margin).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("margin", MARGINS)
def test_triplet_by_hand(margin: float | None) -> None:
    # On a line: 0 and 3 are one person, 4 another's only crop. The last has no positive and counts nothing.
    embeddings = torch.tensor([[0.0], [3.0], [4.0]])
    differences = [3.0 - 4.0, 3.0 - 1.0]
    each = [math.log1p(math.exp(d)) if margin is None else max(0.0, d + margin) for d in differences]
    assert triplet(embeddings, [5, 5, 9], margin).item() == pytest.approx(sum(each) / 2)


@pytest.mark.parametrize("margin", [5.0, None])
def test_triplet_gradient_is_that_of_small_steps(margin: float | None) -> None:
    identities = [0, 0, 1, 1, 2, 2, 3]
    embeddings = drawn(7, 3, 0).requires_grad_()
    triplet(embeddings, identities, margin).backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is not None
    values = embeddings.detach().double().numpy()
    for place in np.ndindex(values.shape):
        ends = []
        for step in (1e-5, -1e-5):
            moved = values.copy()
            moved[place] += step
            ends.append(naive_triplet(moved.tolist(), identities, margin))
        assert embeddings.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-4)


@pytest.mark.parametrize("margin", MARGINS)
def test_equal_embeddings_have_a_loss_and_a_gradient_of_zero(margin: float | None) -> None:
    """The root's slope is infinite at 0: crops that are copies of each other would make every weight NaN."""
    embeddings = torch.ones(4, 3, requires_grad=True)
    loss = triplet(embeddings, [0, 0, 1, 1], margin)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(math.log(2) if margin is None else margin)
    assert embeddings.grad is not None
    assert embeddings.grad.tolist() == torch.zeros(4, 3).tolist()


@pytest.mark.parametrize("margin", MARGINS)
def test_a_copy_of_an_anchor_does_not_stop_the_others(margin: float | None) -> None:
    embeddings = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.1, 0.2], [0.4, 0.1]], requires_grad=True)
    triplet(embeddings, [0, 0, 1, 1], margin).backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad[2:].abs().min() > 0


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize(
    "identities",
    [[4, 4, 4, 4], [0, 1, 2, 3], [7]],
    ids=["one identity: no negative", "one crop an identity: no positive", "one crop"],
)
def test_where_no_anchor_counts_loss_and_gradient_are_zero(identities: list[int], margin: float | None) -> None:
    embeddings = drawn(len(identities), 3, 1).requires_grad_()
    loss = triplet(embeddings, identities, margin)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert embeddings.grad.tolist() == torch.zeros_like(embeddings).tolist()


def test_small_distances_far_from_the_origin_keep_their_digits() -> None:
    embeddings = drawn(16, 64, 2) * 0.01 + 1.5
    identities = [*range(4)] * 4
    expected = naive_triplet(embeddings.double().tolist(), identities, 0.3)
    assert triplet(embeddings, identities, 0.3).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("margin", [0.3, None])
def test_triplet_is_float32_under_autocast(kind: torch.dtype, margin: float | None) -> None:
    low = drawn(8, 16, 3).to(kind).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = triplet(low, [0, 0, 1, 1, 2, 2, 3, 3], margin)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float32
    assert loss.item() == triplet(low.detach().float(), [0, 0, 1, 1, 2, 2, 3, 3], margin).item()
    assert low.grad is not None
    assert low.grad.dtype == kind


def test_triplet_changes_nothing_it_is_given() -> None:
    embeddings, identities = drawn(6, 3, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    before = embeddings.clone()
    batch_hard_triplet(embeddings, identities, margin=0.3, ranks=Ranks())
    assert torch.equal(embeddings, before)
    assert identities.tolist() == [0, 0, 1, 1, 2, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.floats(0, 0.9), st.integers(0, 2**31))
def test_cross_entropy_is_that_of_loops(rows: int, classes: int, smoothing: float, seed: int) -> None:
    logits = drawn(rows, classes, seed)
    identities = torch.arange(rows) % classes
    losses = []
    for row, true in zip(logits.double().tolist(), identities.tolist(), strict=True):
        whole = math.log(sum(map(math.exp, row)))
        wanted = [smoothing / classes + (1 - smoothing) * (place == true) for place in range(classes)]
        losses.append(sum(share * (whole - value) for share, value in zip(wanted, row, strict=True)))
    expected = sum(losses) / rows
    assert cross_entropy(logits, identities, smoothing=smoothing).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_cross_entropy_is_float32_under_autocast() -> None:
    low = (drawn(8, 50, 5) * 10).bfloat16()
    identities = torch.arange(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(low, identities, smoothing=0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == cross_entropy(low.float(), identities, smoothing=0.1).item()
