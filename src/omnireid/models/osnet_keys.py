"""How OSNet's weights are named in the published checkpoints."""

from __future__ import annotations

import re

from omnireid.models.osnet_config import OSNetConfig

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


def published_name(key: str, config: OSNetConfig) -> str:
    """Translate one of our keys into the published checkpoints' name for it.

    OSNet and OSNet-IBN name the streams ``conv2a`` (one layer, no index) to ``conv2d`` and the transitions
    ``conv2.2.0``. OSNet-AIN names them ``conv2.<t>.layers.<i>`` and ``pool2.0``, and calls an instance norm that
    replaces a batch norm ``IN``.

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
    """The published letter of a stream, and the index of its layer where the stream has several."""
    stream, layer = int(found[1]), found[2]
    return ".conv2a." if stream == 0 else f".conv2{'abcd'[stream]}.{layer}."
