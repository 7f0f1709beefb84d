from __future__ import annotations

import re
from typing import Any, cast, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from omnireid.errors import RecipeError
from omnireid.training.head import BNNeckHead, CosineHead, LinearHead, create_head
from omnireid.training.recipes import HeadName

KINDS = get_args(HeadName)


def made(kind: HeadName, seed: int = 0, **values: float) -> Any:
    return create_head(kind, 6, 4, generator=torch.Generator().manual_seed(seed), **values)


def batch(rows: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(9)), torch.arange(rows) % 4


@pytest.mark.parametrize(
    ("kind", "expected", "names"),
    [
        ("linear", LinearHead, {"classifier.weight", "classifier.bias"}),
        ("bnneck", BNNeckHead, {"neck.weight", "neck.bias", "classifier.weight"}),
        ("cosine", CosineHead, {"classifier.weight"}),
    ],
)
def test_kinds_and_their_parameters(kind: HeadName, expected: type[nn.Module], names: set[str]) -> None:
    head = made(kind)
    assert type(head) is expected
    assert {name for name, _ in head.named_parameters()} == names
    assert head(*batch()).shape == (5, 4)


def test_no_such_kind() -> None:
    message = "--head 'arc' is not known: linear, bnneck, cosine."
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        made(cast(HeadName, "arc"))


@pytest.mark.parametrize("kind", KINDS)
def test_first_weights_are_the_seeds(kind: HeadName) -> None:
    before = torch.get_rng_state()
    first, again, other = made(kind, 3), made(kind, 3), made(kind, 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert all(values.isfinite().all() for values in first.state_dict().values())


@pytest.mark.parametrize("kind", KINDS)
def test_float32_under_autocast(kind: HeadName) -> None:
    head = made(kind, scale=16.0)
    embeddings, identities = batch()
    low = embeddings.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(low, identities)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, made(kind, scale=16.0)(low.detach().float(), identities))
    logits.square().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in head.parameters() if parameter.requires_grad)


def test_linear_is_the_papers() -> None:
    head = made("linear")
    embeddings, identities = batch()
    assert head.classifier.bias.tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(head(embeddings, identities), embeddings @ head.classifier.weight.T)


def test_bnneck_normalises_and_its_shift_stays_zero() -> None:
    head = made("bnneck")
    embeddings, identities = batch()
    deviation = embeddings.var(dim=0, correction=0) + head.neck.eps
    normalised = (embeddings - embeddings.mean(dim=0)) / deviation.sqrt()
    torch.testing.assert_close(head(embeddings, identities), normalised @ head.classifier.weight.T)
    assert not head.neck.bias.requires_grad
    weight = head.neck.weight.detach().clone()
    optimiser = torch.optim.SGD(head.parameters(), lr=1.0, weight_decay=0.1)
    functional.cross_entropy(head(embeddings + 3, identities), identities).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    assert head.neck.bias.tolist() == [0.0] * 6
    assert not torch.equal(head.neck.weight, weight)


def test_cosine_margin_only_in_training() -> None:
    head = made("cosine", scale=20.0, margin=0.25)
    embeddings, identities = batch()
    cosines = functional.cosine_similarity(embeddings[:, None], head.classifier.weight[None], dim=2)
    trained, evaluated = head(embeddings, identities), head.eval()(embeddings, identities)
    torch.testing.assert_close(evaluated, 20 * cosines)
    lessened = cosines.detach().clone()
    for row, identity in enumerate(identities.tolist()):
        lessened[row, identity] -= 0.25
    torch.testing.assert_close(trained.detach(), 20 * lessened)


def test_cosine_knows_no_length() -> None:
    head = made("cosine", scale=16.0)
    embeddings, identities = batch()
    torch.testing.assert_close(head(embeddings * 7, identities), head(embeddings, identities))
    assert head(embeddings, identities).abs().max() <= 16
    assert torch.equal(head(torch.zeros(1, 6), identities[:1]), torch.zeros(1, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_identities_matter_to_a_margin_only(kind: HeadName) -> None:
    embeddings, identities = batch()
    head = made(kind, margin=0.5)
    assert torch.equal(head(embeddings, identities), head(embeddings, (identities + 1) % 4)) == (kind != "cosine")
