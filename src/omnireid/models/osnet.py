"""OSNet: omni-scale feature learning for person re-identification.

Shapes: B images, T streams, C channels, H rows, W columns.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnireid.errors import ModelError, ShapeError
from omnireid.models.backbone import Backbone
from omnireid.models.blocks import ConvNorm, OmniScaleBlock, Projection, WeightedAverage
from omnireid.models.layers import Linear, initialise
from omnireid.models.osnet_config import STRIDE, OSNetConfig


class OSNet(Backbone):
    """OSNet: (B, 3, H, W) → (B, D), the embedding, in training and evaluation alike. D is 512 in the papers' designs.

    ::

        conv1        7×7 stride 2, norm, ReLU; 3×3 max-pool stride 2   H/4 × W/4
        conv2        two omni-scale blocks                             H/4 × W/4
        transition2  1×1, batch norm, ReLU; 2×2 average pool           H/8 × W/8
        conv3        two omni-scale blocks                             H/8 × W/8
        transition3  1×1, batch norm, ReLU; 2×2 average pool           H/16 × W/16
        conv4        two omni-scale blocks                             H/16 × W/16
        conv5        1×1, batch norm, ReLU                             H/16 × W/16
        fc           global average; linear, batch norm, ReLU          512

    Args:
        config: The design.
        num_classes: Number of identities the classifier tells apart; None for a network without one.
        generator: Source of the first weights, a CPU generator. None is a fresh one with seed 0, so that two
            networks built alike are equal. The global generator is never touched.

    Raises:
        ModelError: `num_classes` is below 1.

    Source: Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019.

    >>> OSNet(OSNetConfig(width=0.25)).eval()(torch.zeros(2, 3, 64, 32)).shape
    torch.Size([2, 512])
    """

    def __init__(
        self, config: OSNetConfig, *, num_classes: int | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config.embedding_width, num_classes)
        self.config = config
        stem, *stages = config.channels
        self.conv1 = ConvNorm(3, stem, 7, stride=2, instance=config.normalisation != "batch")
        self.conv2 = _stage(config, "conv2", stem, stages[0])
        self.transition2 = ConvNorm(stages[0], stages[0], 1)
        self.conv3 = _stage(config, "conv3", stages[0], stages[1])
        self.transition3 = ConvNorm(stages[1], stages[1], 1)
        self.conv4 = _stage(config, "conv4", stages[1], stages[2])
        self.conv5 = ConvNorm(stages[2], stages[2], 1)
        is_weighted = config.head == "weighted"
        self.average = WeightedAverage(stages[2]) if is_weighted else None
        self.fc = Projection(stages[2], self.embedding_width, activation="none" if is_weighted else "relu")
        self.classifier = None if num_classes is None else Linear(self.embedding_width, num_classes)
        initialise(self, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: (B, 3, H, W), RGB, normalised as the weights require; H and W are at least 16.

        Returns:
            (B, D), not normalised; ≥ 0 in the papers' designs.

        Raises:
            ShapeError: The images have another number of axes or channels, or are smaller than the network's stride.
        """
        maps = self.forward_features(images)
        features = maps.mean(dim=(2, 3)) if self.average is None else self.average(maps)
        embedding: Tensor = self.fc(features)
        return embedding

    def forward_features(self, images: Tensor) -> Tensor:
        """Compute the feature maps of conv5: (B, C, h, w), ≥ 0, 16×8 for images of 256×128. See `forward`."""
        maps = functional.avg_pool2d(self.transition2(self.conv2(self._stem(images))), 2)
        maps = functional.avg_pool2d(self.transition3(self.conv3(maps)), 2)
        last: Tensor = self.conv5(self.conv4(maps))
        return last

    def forward_gates(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the gate weights of every block, for inspection.

        In training mode this moves the running statistics, as any forward pass does, so use evaluation mode.

        Returns:
            Block name (``conv2.0`` … ``conv4.1``, from input to output) to (B, T, C) weights in (0, 1), with the
            streams in order of growing depth. C is 1 where the design has a single weight per stream.

        Raises:
            ModelError: The design has no gates.
            ShapeError: As in `forward`.
        """
        if "none" in self.config.gates:
            raise ModelError(f"This network has no gates to inspect: its streams are fused by {self.config.fusion}.")
        gates: dict[str, Tensor] = {}
        maps = self._stem(images)
        for name, stage, transition in (
            ("conv2", self.conv2, self.transition2),
            ("conv3", self.conv3, self.transition3),
            ("conv4", self.conv4, None),
        ):
            for index, block in enumerate(stage):
                maps, gates[f"{name}.{index}"] = cast(OmniScaleBlock, block).forward_gates(maps)
            if transition is not None:
                maps = functional.avg_pool2d(transition(maps), 2)
        return gates

    def _stem(self, images: Tensor) -> Tensor:
        """Check the shape, then run conv1 and its pooling."""
        if images.dim() != 4 or images.shape[1] != 3:
            raise ShapeError(f"OSNet takes images of shape (B, 3, H, W); got {tuple(images.shape)}.")
        if images.shape[2] < STRIDE or images.shape[3] < STRIDE:
            raise ShapeError(
                f"OSNet's stride is {STRIDE}: an image needs at least {STRIDE}×{STRIDE} pixels; got "
                f"{images.shape[2]}×{images.shape[3]} (height × width). Enlarge the images; 256×128 is usual."
            )
        if self.config.normalisation == "ain" and max(images.shape[2:]) < 2 * STRIDE:
            # conv4 would be a single pixel, and an instance norm over one value returns its shift for every image.
            raise ShapeError(
                f"OSNet-AIN needs a side of at least {2 * STRIDE} pixels; got {images.shape[2]}×{images.shape[3]} "
                "(height × width). Enlarge the images; 256×128 is usual."
            )
        return functional.max_pool2d(self.conv1(images), 3, stride=2, padding=1)


def _stage(config: OSNetConfig, name: str, in_channels: int, out_channels: int) -> nn.Sequential:
    """The two omni-scale blocks of a stage."""
    first, second = (
        OmniScaleBlock(
            channels,
            out_channels,
            depths=config.depths,
            convolution=config.convolution,
            fusion=config.fusion,
            gate=gate,
            instance=instance,
        )
        for channels, gate, instance in zip(
            (in_channels, out_channels), config.gates, config.block_norms[name], strict=True
        )
    )
    return nn.Sequential(first, second)
