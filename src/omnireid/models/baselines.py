"""The networks that OSNet is compared with: ResNet-50, MobileNetV2 and ShuffleNet, from their papers.

``resnet50`` is the network of He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, with the stride
of a stage's first unit in its 3×3 convolution, as all public weights have it. ``resnet50_fc512`` is what the field
builds from it for re-identification: the last stage at stride 1 (Sun et al., "Beyond Part Models", ECCV 2018), and a
linear layer, batch norm and ReLU from the average of the maps to 512 values. The others embed by the average of their
last maps, as the baselines of the OSNet paper do.
"""

from __future__ import annotations

from collections.abc import Iterator

from omnireid.models.residual_design import ConvLayer, ResidualDesign, ResidualUnit, Shortcut


def design_resnet50(*, last_stride: int = 2, neck: int | None = None) -> ResidualDesign:
    """Design a ResNet-50.

    Args:
        last_stride: Stride of the last stage; 1 keeps twice the rows and columns.
        neck: Width of the layer after the pooling; None for no such layer.
    """
    stages = []
    before = 64
    for middle, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, last_stride)):
        units = []
        for index in range(count):
            layers = (
                ConvLayer(before, middle),
                ConvLayer(middle, middle, 3, stride=stride if index == 0 else 1),
                ConvLayer(middle, 4 * middle, activation="none"),
            )
            units.append(ResidualUnit(layers, "convolution" if index == 0 else "identity", activation="relu"))
            before = 4 * middle
        stages.append(tuple(units))
    return ResidualDesign("ResNet-50", ConvLayer(3, 64, 7, stride=2), True, tuple(stages), neck=neck)


_MOBILENETV2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, number of units and stride of each stage: table 2 of the paper."""


def design_mobilenetv2(width: float) -> ResidualDesign:
    """Design a MobileNetV2.

    Args:
        width: Multiplier of all channel numbers, which are rounded to multiples of 8; the last layer's 1280 channels
            are multiplied only by more than 1.

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
    """
    before = stem = _round_channels(32 * width)
    stages = []
    for expansion, channels, count, stride in _MOBILENETV2_STAGES:
        after = _round_channels(channels * width)
        units = []
        for index in range(count):
            units.append(_inverted_residual(before, after, expansion, stride if index == 0 else 1))
            before = after
        stages.append(tuple(units))
    last = ConvLayer(before, _round_channels(1280 * max(1.0, width)), activation="relu6")
    return ResidualDesign(
        "MobileNetV2", ConvLayer(3, stem, 3, stride=2, activation="relu6"), False, tuple(stages), last=last
    )


def _inverted_residual(before: int, after: int, expansion: int, stride: int) -> ResidualUnit:
    """A unit of MobileNetV2: 1×1 to more channels, depthwise 3×3, linear 1×1 to fewer."""
    middle = before * expansion
    expand = () if expansion == 1 else (ConvLayer(before, middle, activation="relu6"),)
    depthwise = ConvLayer(middle, middle, 3, stride=stride, groups=middle, activation="relu6")
    shortcut: Shortcut = "identity" if stride == 1 and before == after else "none"
    return ResidualUnit((*expand, depthwise, ConvLayer(middle, after, activation="none")), shortcut)


def _round_channels(channels: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth smaller."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def design_shufflenet() -> ResidualDesign:
    """Design a ShuffleNet (the first version) of width 1 with three groups.

    Source: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
    CVPR 2018, table 1, column g = 3.
    """
    stages = []
    before = 24
    for after, count in ((240, 4), (480, 8), (960, 4)):
        units = tuple(_shuffle_units(before, after, count))
        stages.append(units)
        before = after
    return ResidualDesign("ShuffleNet", ConvLayer(3, 24, 3, stride=2), True, tuple(stages))


def _shuffle_units(before: int, after: int, count: int) -> Iterator[ResidualUnit]:
    """The units of a stage of ShuffleNet. The first one halves the maps and appends its output to the pooled input."""
    groups, middle = 3, after // 4
    for index in range(count):
        is_first = index == 0
        layers = (
            # The paper does not group the first 1×1 convolution of all, because it reads few channels.
            ConvLayer(before, middle, groups=1 if before == 24 else groups),
            ConvLayer(middle, middle, 3, stride=2 if is_first else 1, groups=middle, activation="none"),
            ConvLayer(middle, after - before if is_first else after, groups=groups, activation="none"),
        )
        shortcut: Shortcut = "pooling" if is_first else "identity"
        yield ResidualUnit(layers, shortcut, activation="relu", shuffled_groups=groups)
        before = after
