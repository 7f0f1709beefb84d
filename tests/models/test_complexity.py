from __future__ import annotations

import pytest
import torch
from torch import nn

from omnireid.errors import ShapeError
from omnireid.models.complexity import count_multiply_adds, count_parameters
from omnireid.models.osnet import OSNet
from omnireid.models.osnet_config import OSNetConfig


def test_a_small_network_counts_what_it_counts_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    assert count_parameters(model) == (3 * 8 * 9 + 8) + 16 + 8 * 9 + (8 * 5 + 5)
    assert count_multiply_adds(model, 8, 4) == 8 * (4 * 2) * 27 + 8 * (4 * 2) * 9 + 8 * 5


def test_a_shared_layer_has_its_parameters_once_and_its_work_as_often_as_it_runs() -> None:
    layer = nn.Conv2d(3, 3, 1, bias=False)
    model = nn.Sequential(layer, layer)
    assert count_parameters(model) == 9
    assert count_multiply_adds(model, 2, 2) == 2 * 4 * 9


# The paper's width and resolution table (β, γ).
@pytest.mark.parametrize(
    ("width", "height", "columns", "published"),
    [
        (1.0, 192, 96, 550.7e6),
        (1.0, 128, 64, 244.9e6),
        (1.0, 64, 32, 61.5e6),
        (0.25, 128, 64, 20.6e6),
        (0.25, 64, 32, 5.2e6),
    ],
)
def test_costs_at_other_resolutions_are_the_papers(width: float, height: int, columns: int, published: float) -> None:
    counted = count_multiply_adds(OSNet(OSNetConfig(width=width)), height, columns)
    assert abs(counted - published) <= max(0.001 * published, 0.05e6)  # the paper prints one decimal of a million


def test_counting_leaves_the_model_as_it_was() -> None:
    model = OSNet(OSNetConfig(width=0.25)).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    count_multiply_adds(model, 64, 32)
    assert model.training
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert all(not module._forward_hooks for module in model.modules())


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(ShapeError, match="got 8×8"):
        count_multiply_adds(OSNet(OSNetConfig(width=0.25)), 8, 8)
