from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from omnireid.training.averaging import MovingAverage


def network(seed: int = 0) -> nn.Module:
    """Weights, running statistics and a counter."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    change(module, torch.Generator().manual_seed(seed))
    return module


@torch.no_grad()
def change(module: nn.Module, generator: torch.Generator) -> None:
    """As a step of training would: all weights and statistics, and the counter one up."""
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator))
        else:
            value.add_(1)


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 0.9999), st.integers(0, 30), st.integers(0, 2**31))
def test_equals_a_naive_average(decay: float, updates: int, seed: int) -> None:
    module = network(seed)
    average = MovingAverage(module, decay)
    expected = {name: value.double() for name, value in copied(module).items()}
    generator = torch.Generator().manual_seed(seed + 1)
    for number in range(1, updates + 1):
        change(module, generator)
        average.update()
        kept = min(decay, (1 + number) / (10 + number))
        for name, value in module.state_dict().items():
            expected[name] = kept * expected[name] + (1 - kept) * value.double()
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(average.values[name].double(), expected[name], rtol=1e-5, atol=1e-5)
            assert average.values[name].dtype == torch.float32


def test_counters_are_copied() -> None:
    module = network()
    average = MovingAverage(module, 0.9)
    assert average.values["1.num_batches_tracked"].item() == 1
    for _ in range(3):
        change(module, torch.Generator().manual_seed(0))
        average.update()
    assert average.values["1.num_batches_tracked"].item() == 4
    assert average.values["1.num_batches_tracked"].dtype == torch.int64


def test_the_first_weights_are_soon_forgotten() -> None:
    module = network()
    average = MovingAverage(module, 0.999)
    before = average.values["0.weight"].clone()
    change(module, torch.Generator().manual_seed(1))
    average.update()
    torch.testing.assert_close(average.values["0.weight"], before * 2 / 11 + module.state_dict()["0.weight"] * 9 / 11)


def test_the_network_is_only_read() -> None:
    module = network()
    before = copied(module)
    average = MovingAverage(module, 0.5)
    for value in average.values.values():
        value.add_(1)  # they are copies
    average.update()
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(weight.grad is None and weight.requires_grad for weight in module.parameters())
    assert not any(value.requires_grad for value in average.values.values())


def test_goes_on_to_the_bit_from_its_state() -> None:
    module = network()
    average = MovingAverage(module, 0.9)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        change(module, generator)
        average.update()
    other = MovingAverage(network(9), 0.9)
    other.load_state_dict(average.state_dict())
    assert other.updates == 4
    for name, value in average.values.items():
        assert torch.equal(other.values[name], value)
        assert other.values[name].data_ptr() != value.data_ptr()

    again = MovingAverage(module, 0.9)
    again.load_state_dict(average.state_dict())
    change(module, generator)
    average.update()
    again.update()
    for name, value in average.values.items():
        assert torch.equal(again.values[name], value)
