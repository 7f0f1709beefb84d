from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from omnireid.models.blocks import ContextGate, WeightedAverage
from omnireid.models.osnet import OSNet
from omnireid.models.osnet_config import OSNetConfig
from omnireid.models.place_weights import last_map_size, spread_weights


def test_weights_of_one_are_the_plain_average_at_every_size() -> None:
    average = WeightedAverage(3)
    for size in ((16, 8), (12, 6), (4, 2), (20, 9)):
        maps = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(average(maps), maps.mean(dim=(2, 3)), atol=1e-6)


def test_a_place_counts_by_its_weight() -> None:
    average = WeightedAverage(1)
    with torch.no_grad():
        average.weight.zero_()
        average.weight[0, 2, 5] = 128.0
    maps = torch.arange(128.0).reshape(1, 1, 16, 8)
    assert float(average(maps).detach()) == 2 * 8 + 5


@pytest.mark.parametrize("size", [(16, 8), (12, 6), (32, 16), (5, 3)])
def test_weights_are_spread_as_torch_interpolates_pictures(size: tuple[int, int]) -> None:
    weights = np.random.default_rng(0).normal(size=(16, 8))
    rows, columns = spread_weights(*size)
    expected = functional.interpolate(torch.from_numpy(weights)[None, None], size, mode="bilinear", align_corners=False)
    assert np.allclose(rows @ weights @ columns.T, expected[0, 0].numpy(), atol=1e-12)


@pytest.mark.parametrize("size", [(256, 128), (192, 96), (160, 64), (77, 50), (16, 31)])
def test_the_size_of_the_last_maps_is_known_without_the_network(size: tuple[int, int]) -> None:
    with torch.no_grad():
        maps = OSNet(OSNetConfig(width=0.25)).eval().forward_features(torch.zeros(1, 3, *size))
    assert maps.shape[2:] == last_map_size(*size)


def test_a_context_gate_compares_the_channels_of_a_group_only() -> None:
    gate = ContextGate(32)  # 16 groups of two channels
    with torch.no_grad():
        gate.weight.fill_(1.0)
        gate.bias[:2] = 1.0
    averages = torch.zeros(1, 32)
    averages[0, :4] = torch.tensor([1.0, 3.0, 5.0, 5.0])
    maps = averages[:, :, None, None].expand(1, 32, 4, 4)
    found = gate(maps)[0, :4, 0, 0].detach()
    expected = torch.sigmoid(torch.tensor([0.0, 2.0, 0.0, 0.0]))  # ±1 in the first group, plus a shift of 1; then 0
    assert torch.allclose(found, expected, atol=1e-4)
