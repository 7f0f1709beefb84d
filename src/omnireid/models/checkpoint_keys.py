"""The keys of a network's state: what a complete checkpoint holds, and what publishers call each of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from omnireid.models.layer_plan import PlannedLayer, Shape, state_shapes


@dataclass(frozen=True)
class KeyLayout:
    """What a complete checkpoint of one network holds, the classifier left out.

    Attributes:
        shapes: Key in our own names to its shape, in the network's order.
        own_names: Published key to our key; empty for a network that nobody has published under other names.
        published_names: Our key to the published one; empty for the same networks as `own_names`.
    """

    shapes: Mapping[str, Shape]
    own_names: Mapping[str, str]
    published_names: Mapping[str, str]


def make_key_layout(layers: Iterable[PlannedLayer], published_name: Callable[[str], str] | None) -> KeyLayout:
    """Lay out the keys of a network.

    Args:
        layers: The network's layers, in the order of its state.
        published_name: Translates our key into the published one; None where there is no published checkpoint.
    """
    shapes = state_shapes(layers)
    published = {} if published_name is None else {key: published_name(key) for key in shapes}
    own = {name: key for key, name in published.items()}
    return KeyLayout(MappingProxyType(shapes), MappingProxyType(own), MappingProxyType(published))
