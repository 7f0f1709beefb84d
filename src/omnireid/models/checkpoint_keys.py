"""The keys of a network's state: what a complete checkpoint holds, and what publishers call each of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from omnireid.models.layer_plan import PlannedLayer, Shape, state_shapes

CLASSIFIER = "classifier."
"""What the keys of a classifier begin with in our own names."""


@dataclass(frozen=True)
class KeyLayout:
    """What a complete checkpoint of one network holds.

    Attributes:
        shapes: Key in our own names to its shape, in the network's order, the classifier left out.
        published_names: Publisher to what it calls each of those keys; empty for a network that nobody has published
            under other names.
        own_names: Publisher to our key for each of its keys, a classifier's among them.
    """

    shapes: Mapping[str, Shape]
    published_names: Mapping[str, Mapping[str, str]]
    own_names: Mapping[str, Mapping[str, str]]

    def find_own_names(self, found: Iterable[str]) -> Mapping[str, str]:
        """Our key for each key of the publisher that wrote most of `found`; empty where nobody has published any."""
        keys = list(found)
        candidates = self.own_names.values()
        return max(candidates, key=lambda names: sum(key in names for key in keys), default=MappingProxyType({}))


def make_key_layout(layers: Iterable[PlannedLayer], publishers: Mapping[str, Callable[[str], str]]) -> KeyLayout:
    """Lay out the keys of a network.

    Args:
        layers: The network's layers, in the order of its state.
        publishers: Publisher to what translates our key into its own.
    """
    shapes = state_shapes(layers)
    classifier = (f"{CLASSIFIER}weight", f"{CLASSIFIER}bias")
    published = {publisher: {key: name(key) for key in shapes} for publisher, name in publishers.items()}
    own = {publisher: {name(key): key for key in (*shapes, *classifier)} for publisher, name in publishers.items()}
    return KeyLayout(MappingProxyType(shapes), MappingProxyType(published), MappingProxyType(own))
