from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.training import ranks
from tests.training.ranks import Values
from torch import Tensor, nn

from omnireid.training.synchronised_norm import SynchronisedNorm1d, SynchronisedNorm2d, synchronise_norms


@pytest.fixture(scope="module")
def found() -> tuple[Values, Values]:
    return ranks.results()


def close(one: Tensor, two: Tensor, tolerance: float = 1e-5) -> bool:
    """Equal but for rounding, beside the largest value."""
    return one.shape == two.shape and bool((one - two).abs().max() <= tolerance * (1e-3 + two.abs().max()))


@pytest.mark.parametrize("name", ranks.NETWORKS)
def test_outputs_gradients_and_statistics_are_those_of_one_process(name: str, found: tuple[Values, Values]) -> None:
    momentum, affine = ranks.NETWORKS[name]
    expected = ranks.norm_steps(ranks.normed_network(momentum, affine=affine), None)
    own = [
        {key.removeprefix(f"{name} "): torch.from_numpy(value) for key, value in rank.items() if key.startswith(name)}
        for rank in found
    ]
    assert set(own[0]) == set(own[1]) == set(expected)
    assert len(expected) >= 2 + 4 + 6  # outputs and inputs, layers with weights, two norms' buffers
    for key, value in expected.items():
        if key in ("outputs", "inputs"):
            assert close(torch.cat([rank[key] for rank in own]), value, 1e-9), key
        elif key.startswith("gradient"):
            # The loss of the whole is the sum of the ranks', and so are the gradients. A bias before a norm has none
            # but for rounding.
            scale = max(1.0, float(value.abs().max()))
            assert (own[0][key] + own[1][key] - value).abs().max() <= 1e-9 * scale, key
        else:
            assert all(close(rank[key], value, 1e-9) for rank in own), key
            assert torch.equal(own[0][key], own[1][key]), key


def test_wrapped_for_the_ranks_its_gradients_are_those_of_one_process(found: tuple[Values, Values]) -> None:
    network = ranks.normed_network().double()
    (network(ranks.images(0).double()) * ranks.weights()).sum(dim=1).mean().backward()
    expected = ranks.gradients(network)
    assert len(expected) == 8
    for name, value in expected.items():
        for rank in found:
            scale = max(1.0, float(value.abs().max()))
            assert (torch.from_numpy(rank[f"wrapped {name}"]) - value).abs().max() <= 1e-9 * scale, name


def test_a_mean_far_from_zero_keeps_its_digits(found: tuple[Values, Values]) -> None:
    """Sums of plain squares would be off by tenths here."""
    expected = nn.BatchNorm2d(3).double()((ranks.images(0) + 1000).double()).float()
    assert close(torch.cat([torch.from_numpy(rank["far"]) for rank in found]), expected, 1e-3)


def test_low_precision_and_memory_format_stay(found: tuple[Values, Values]) -> None:
    assert all(rank["low kept"] for rank in found)
    expected = nn.BatchNorm2d(3)(ranks.images(0).bfloat16().float())
    assert close(torch.cat([torch.from_numpy(rank["low"]) for rank in found]), expected, 1e-2)


def test_evaluation_is_a_batch_norms(found: tuple[Values, Values]) -> None:
    assert found[0]["evaluated"].tolist() == found[0]["evaluated plainly"].tolist()


def test_one_process_is_unchanged() -> None:
    plain, network = ranks.normed_network(), ranks.normed_network()
    synchronise_norms(network)
    expected, own = ranks.norm_steps(plain, None), ranks.norm_steps(network, None)
    assert set(own) == set(expected)
    assert all(torch.equal(own[key], expected[key]) for key in expected)
    assert torch.equal(network.eval()(ranks.images(1).double()), plain.eval()(ranks.images(1).double()))


def test_only_batch_norms_change_and_no_name_does() -> None:
    network = ranks.normed_network()
    names, parameters = list(network.state_dict()), list(network.parameters())
    synchronise_norms(network)
    assert [type(module) for module in network] == [
        *(nn.Conv2d, SynchronisedNorm2d, nn.InstanceNorm2d, nn.ReLU, nn.AdaptiveAvgPool2d, nn.Flatten),
        SynchronisedNorm1d,
    ]
    assert list(network.state_dict()) == names
    assert all(one is two for one, two in zip(network.parameters(), parameters, strict=True))
    ranks.normed_network().load_state_dict(network.state_dict())


def test_networks_on_gpus_get_torchs() -> None:
    class OnGpu(nn.Sequential):
        """Says that its weights are there; converting them needs no GPU."""

        def parameters(self, recurse: bool = True) -> Iterator[Any]:
            yield SimpleNamespace(is_cuda=True)

    network = OnGpu(nn.Sequential(nn.BatchNorm2d(3)), nn.InstanceNorm2d(3), nn.BatchNorm1d(3))
    names = list(network.state_dict())
    synchronise_norms(network)
    assert [type(module) for module in network.modules() if not isinstance(module, nn.Sequential)] == [
        *(nn.SyncBatchNorm, nn.InstanceNorm2d, nn.SyncBatchNorm)
    ]
    assert list(network.state_dict()) == names
