"""Layers without first values of their own, and the one function that gives every weight of a network its first value.

torch fills new layers from its global generator. These leave the memory as it is, and `initialise` fills all of it
from a generator of the caller's, so that building a network neither reads nor moves any global state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """torch's convolution, created without values."""

    def reset_parameters(self) -> None:
        """Leave the memory as it is; see `initialise`."""


class GateInput(Conv2d):
    """The first layer of a gate. It reads averages of maps that are never negative; see `initialise`."""


class Linear(nn.Linear):
    """torch's linear layer, created without values."""

    def reset_parameters(self) -> None:
        """Leave the memory as it is; see `initialise`."""


def instance_norm(channels: int) -> nn.InstanceNorm2d:
    """An instance norm with learned scale and shift and no running statistics."""
    return nn.InstanceNorm2d(channels, affine=True)


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Give every weight its first value, in place.

    Convolutions are Kaiming-normal (fan-out, ReLU), linear layers N(0, 0.01), biases 0, norms 1 and 0. Parameters of
    any other module, such as fixed gates, keep the value they were created with.

    A hidden unit of a gate whose weights have a negative sum is turned round. It reads averages ≥ 0, so it would be off
    for nearly all images, and a unit that is always off gets no gradient. At width 0.25 a gate has one or two
    units, and with the signs as they are drawn, half of the gates would never learn.

    Args:
        model: A network, or a part of one such as a new classifier.
        generator: A CPU generator. None is a fresh one with seed 0.
    """
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            if isinstance(module, GateInput):
                module.weight *= torch.where(module.weight.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01, generator=generator)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)
