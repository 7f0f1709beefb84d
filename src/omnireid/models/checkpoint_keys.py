"""How OSNet's weights are named: here, and in the published checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from omnireid.models.osnet import OSNet
from omnireid.models.osnet_config import OSNetConfig
from omnireid.models.zoo import find_variant

Shape = tuple[int, ...]

COUNTER = "num_batches_tracked"
"""Steps a batch norm has seen. Old checkpoints have none and nothing reads it here, so it is never missed."""

_STREAM = re.compile(r"\.streams\.(\d)\.(\d)\.")
_RENAMED = (
    (".reduce.conv.", ".conv1.conv."),
    (".reduce.norm.", ".conv1.bn."),
    (".pointwise.", ".conv1."),
    (".depthwise.", ".conv2."),
    (".gate.reduce.", ".gate.fc1."),
    (".gate.expand.", ".gate.fc2."),
    (".restore.", ".conv3."),
    (".shortcut.", ".downsample."),
    (".sum_norm.", ".IN."),
    ("fc.linear.", "fc.0."),
    ("fc.norm.", "fc.1."),
    (".norm.", ".bn."),
)


@dataclass(frozen=True)
class Layout:
    """What a complete checkpoint of one variant holds, the classifier left out.

    Attributes:
        shapes: the key in our own names to its shape, in the network's order.
        own_names: the published key to ours.
        published_names: our key to the published one.
    """

    shapes: Mapping[str, Shape]
    own_names: Mapping[str, str]
    published_names: Mapping[str, str]


@cache
def layout_of(architecture: str) -> Layout:
    """The layout of a variant of the zoo.

    Raises:
        ModelError: no such variant.
    """
    config = find_variant(architecture).config
    shapes = {key: tuple(tensor.shape) for key, tensor in OSNet(config).state_dict().items()}
    published = {key: published_name(key, config) for key in shapes}
    own = {name: key for key, name in published.items()}
    return Layout(MappingProxyType(shapes), MappingProxyType(own), MappingProxyType(published))


def published_name(key: str, config: OSNetConfig) -> str:
    """What one of our keys is called in the published checkpoints.

    OSNet and OSNet-IBN name the streams ``conv2a`` (one layer, no index) to ``conv2d`` and the transitions
    ``conv2.2.0``; OSNet-AIN names them ``conv2.<t>.layers.<i>`` and ``pool2.0``, and the instance norm
    that replaces a batch norm ``IN``.

    >>> published_name("conv2.0.streams.1.0.depthwise.weight", OSNetConfig())
    'conv2.0.conv2b.0.conv2.weight'
    >>> published_name("conv2.0.streams.1.0.depthwise.weight", OSNetConfig(normalisation="ain"))
    'conv2.0.conv2.1.layers.0.conv2.weight'
    """
    found = re.match(r"(conv\d)\.(\d)\.restore\.norm\.(\w+)$", key)
    if found and config.block_norms[found[1]][int(found[2])] == "branch":
        return f"{found[1]}.{found[2]}.IN.{found[3]}"
    if config.normalisation == "ain":
        key = _STREAM.sub(r".conv2.\1.layers.\2.", key)
        key = re.sub(r"^transition(\d)\.", r"pool\1.0.", key)
    else:
        key = _STREAM.sub(_lettered, key)
        key = re.sub(r"^transition(\d)\.", r"conv\1.2.0.", key)
    for ours, theirs in _RENAMED:
        key = key.replace(ours, theirs)
    return key


def _lettered(found: re.Match[str]) -> str:
    stream, layer = int(found[1]), found[2]
    return ".conv2a." if stream == 0 else f".conv2{'abcd'[stream]}.{layer}."
