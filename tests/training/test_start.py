from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from omnireid.images.preprocess import Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.models.blocks import ChannelGate
from omnireid.models.zoo import create_model
from omnireid.training.start import revive_gates, start_from
from omnireid.weights.artefact import WeightsMetadata, write_artefact

NAME = "osnet_x0_25"
ALL_GATES = {f"conv{stage}.{block}.gate" for stage in (2, 3, 4) for block in (0, 1)}


def untrained(seed: int = 0) -> Backbone:
    return create_model(NAME, generator=torch.Generator().manual_seed(seed)).eval()


@pytest.fixture
def decayed() -> Backbone:
    """A network as weight decay can leave it: gates of conv3 and conv4 without effect, their input weights tiny."""
    network = untrained(seed=5)
    with torch.no_grad():
        for name, gate in network.named_modules():
            if isinstance(gate, ChannelGate) and not name.startswith("conv2"):
                gate.expand.weight.zero_()
                gate.reduce.weight.mul_(1e-4)
    return network


def crops() -> Tensor:
    return torch.randn(8, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def gates_that_learn(network: Backbone) -> set[str]:
    """The gates whose output weights get a gradient that is not tiny beside those of the other gates."""
    network = deepcopy(network).train()
    network(crops()).square().sum().backward()
    gradients = {
        name: float(cast(Tensor, gate.expand.weight.grad).abs().max())
        for name, gate in network.named_modules()
        if isinstance(gate, ChannelGate)
    }
    return {name for name, gradient in gradients.items() if gradient > 1e-3 * max(gradients.values())}


def test_gates_that_are_off_wake_and_change_nothing(decayed: Backbone) -> None:
    before = decayed(crops())
    assert gates_that_learn(decayed) == {"conv2.0.gate", "conv2.1.gate"}
    assert revive_gates(decayed, untrained()) == 6  # one hidden unit a gate in conv3, two in conv4
    torch.testing.assert_close(decayed(crops()), before, rtol=0, atol=0)
    assert gates_that_learn(decayed) == ALL_GATES


def test_gates_that_have_an_effect_are_left_alone() -> None:
    network = untrained()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    assert revive_gates(network, untrained(seed=1)) == 0
    for name, values in network.state_dict().items():
        assert torch.equal(values, before[name]), name


def test_a_run_wakes_the_gates_of_the_weights_it_starts_from(decayed: Backbone, tmp_path: Path) -> None:
    file = tmp_path / "decayed.safetensors"
    metadata = WeightsMetadata(NAME, embedding_dimension=512, preprocessing=Preprocessing(64, 32))
    write_artefact(file, {name: values.numpy() for name, values in decayed.state_dict().items()}, metadata)
    network, other = untrained(), untrained(seed=1)
    for each in (network, other):
        start_from(each, NAME, str(file))
        torch.testing.assert_close(each(crops()), decayed(crops()), rtol=0, atol=0)
    assert gates_that_learn(network) == ALL_GATES
    differing = {
        name for name, values in network.state_dict().items() if not torch.equal(values, other.state_dict()[name])
    }
    assert differing == {f"{gate}.reduce.weight" for gate in ALL_GATES if not gate.startswith("conv2")}
