from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from omnireid.embedding.torch_runtime import load_weights
from omnireid.models.backbone import Backbone
from omnireid.models.blocks import ChannelGate
from omnireid.models.zoo import create_model
from omnireid.training.start import revive_gates, start_from
from omnireid.weights.fetch import resolve_weights

NAME = "osnet_x0_25"
ALL_GATES = {f"conv{stage}.{block}.gate" for stage in (2, 3, 4) for block in (0, 1)}
OFF = "osnet_x0_25.market1501"  # weight decay has switched off the gates of its conv3 and conv4


def untrained(seed: int = 0) -> Backbone:
    return create_model(NAME, generator=torch.Generator().manual_seed(seed))


def crops() -> Tensor:
    return torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def gates_that_learn(network: Backbone) -> set[str]:
    """The gates whose output weights get a gradient that is not tiny beside those of the other gates."""
    network.zero_grad()
    network(crops()).square().sum().backward()
    gradients = {
        name: float(cast(Tensor, gate.expand.weight.grad).abs().max())
        for name, gate in network.named_modules()
        if isinstance(gate, ChannelGate)
    }
    return {name for name, gradient in gradients.items() if gradient > 1e-3 * max(gradients.values())}


def test_gates_that_are_off_wake_and_change_nothing() -> None:
    network, _ = load_weights(resolve_weights(OFF))
    network.eval()
    before = network(crops())
    assert gates_that_learn(network) == {"conv2.0.gate", "conv2.1.gate"}
    assert revive_gates(network, untrained()) == 6  # one hidden unit a gate in conv3, two in conv4
    torch.testing.assert_close(network(crops()), before, rtol=0, atol=0)
    assert gates_that_learn(network) == ALL_GATES


def test_gates_that_have_an_effect_are_left_alone() -> None:
    network = untrained()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    assert revive_gates(network, untrained(seed=1)) == 0
    for name, values in network.state_dict().items():
        assert torch.equal(values, before[name]), name


def test_a_run_starts_with_gates_of_its_own_seed() -> None:
    network, again, other = untrained(), untrained(), untrained(seed=1)
    for each in (network, again, other):
        start_from(each, NAME, OFF)
    assert gates_that_learn(network.eval()) == ALL_GATES
    woken = "conv4.0.gate.reduce.weight"
    assert torch.equal(network.state_dict()[woken], again.state_dict()[woken])
    assert not torch.equal(network.state_dict()[woken], other.state_dict()[woken])
    assert torch.equal(
        network.state_dict()["conv2.0.gate.reduce.weight"], other.state_dict()["conv2.0.gate.reduce.weight"]
    )
