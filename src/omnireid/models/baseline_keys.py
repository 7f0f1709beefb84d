"""How the weights of ResNet-50, MobileNetV2 and ShuffleNet are named by those who publish them."""

from __future__ import annotations

import re

from omnireid.models.residual_design import ResidualDesign

_LAYER = re.compile(r"stages\.(\d+)\.(\d+)\.(?:layers\.(\d+)|(shortcut))\.(conv|norm)\.(\w+)$")
_SIMPLE = re.compile(r"(stem|last)\.(conv|norm)\.(\w+)$")


def torchvision_resnet_name(key: str) -> str:
    """Translate one of our keys into torchvision's, and timm's, for a ResNet.

    >>> torchvision_resnet_name("stages.0.2.layers.1.norm.bias")
    'layer1.2.bn2.bias'
    """
    return torchreid_resnet_name(key).replace("classifier.", "fc.")


def torchreid_resnet_name(key: str) -> str:
    """Translate one of our keys into torchreid's for a ResNet with a layer after the pooling.

    >>> torchreid_resnet_name("fc.linear.weight")
    'fc.0.weight'
    """
    return _numbered_name(key, "layer{}", first_stage=1)


def torchreid_shufflenet_name(key: str) -> str:
    """Translate one of our keys into torchreid's for a ShuffleNet.

    >>> torchreid_shufflenet_name("stem.norm.weight")
    'conv1.1.weight'
    """
    if found := _SIMPLE.match(key):
        return f"conv1.{_index(found[2])}.{found[3]}"
    return _numbered_name(key, "stage{}", first_stage=2)


def torchvision_mobilenetv2_name(key: str, design: ResidualDesign) -> str:
    """Translate one of our keys into torchvision's for a MobileNetV2, which counts units across stages."""
    counts = [len(units) for units in design.stages]
    if found := _SIMPLE.match(key):
        place = 0 if found[1] == "stem" else 1 + sum(counts)
        return f"features.{place}.{_index(found[2])}.{found[3]}"
    if found := _LAYER.match(key):
        stage, index, layer = int(found[1]), int(found[2]), int(found[3])
        unit = f"features.{1 + sum(counts[:stage]) + index}.conv"
        is_last = layer == len(design.stages[stage][index].layers) - 1
        part = f"{layer + _index(found[5])}" if is_last else f"{layer}.{_index(found[5])}"
        return f"{unit}.{part}.{found[6]}"
    return key.replace("classifier.", "classifier.1.")


def timm_mobilenetv2_name(key: str, design: ResidualDesign) -> str:
    """Translate one of our keys into timm's for a MobileNetV2."""
    if found := _SIMPLE.match(key):
        conv, norm = ("conv_stem", "bn1") if found[1] == "stem" else ("conv_head", "bn2")
        return f"{conv if found[2] == 'conv' else norm}.{found[3]}"
    if found := _LAYER.match(key):
        layers = len(design.stages[int(found[1])][int(found[2])].layers)
        kinds = ("conv_pw", "conv_dw", "conv_pwl") if layers == 3 else ("conv_dw", "conv_pw")
        part = kinds[int(found[3])] if found[5] == "conv" else f"bn{int(found[3]) + 1}"
        return f"blocks.{found[1]}.{found[2]}.{part}.{found[6]}"
    return key


def _numbered_name(key: str, stage_name: str, *, first_stage: int) -> str:
    """The name in a network whose units number their layers: ``conv1``, ``bn1``, ``conv2`` and so on."""
    if found := _SIMPLE.match(key):
        return f"{'conv1' if found[2] == 'conv' else 'bn1'}.{found[3]}"
    if found := _LAYER.match(key):
        unit = f"{stage_name.format(int(found[1]) + first_stage)}.{found[2]}"
        if found[4]:
            return f"{unit}.downsample.{_index(found[5])}.{found[6]}"
        return f"{unit}.{'conv' if found[5] == 'conv' else 'bn'}{int(found[3]) + 1}.{found[6]}"
    return key.replace("fc.linear.", "fc.0.").replace("fc.norm.", "fc.1.")


def _index(part: str) -> int:
    """The place of a convolution, or of its norm, where the two are numbered."""
    return 0 if part == "conv" else 1
