"""The exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """The moving average of a network's weights and running statistics, in float32.

    The decay is min(`decay`, (1 + n) / (10 + n)) at the n-th update, so that the
    untrained weights of the first steps are soon forgotten.

    Source: Polyak and Juditsky, 1992; the rising decay is TensorFlow's.

    Args:
        network: Network whose weights are averaged; it is never changed.
        decay: Decay per update, in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._network = network
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Add the network's present weights to the average. Counters are copied, not averaged."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages, present = [], []
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                averages.append(self.values[name])
                present.append(value)
            else:
                self.values[name].copy_(value)
        torch._foreach_lerp_(averages, present, 1 - decay)

    def state_dict(self) -> dict[str, object]:
        """The state for a checkpoint."""
        return {"updates": self.updates, "values": dict(self.values)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore what `state_dict` returned."""
        updates, values = state["updates"], state["values"]
        assert isinstance(updates, int)
        assert isinstance(values, Mapping)
        self.updates = updates
        for name, value in values.items():
            assert isinstance(value, Tensor)
            self.values[name].copy_(value)
