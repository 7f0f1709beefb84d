"""A network of residual units in torch; see `omnireid.models.residual_design`.

Shapes: B images, C channels, H rows, W columns, D values of an embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnireid.errors import ShapeError
from omnireid.models.backbone import Backbone
from omnireid.models.blocks import ConvNorm, Projection, activate
from omnireid.models.layers import Linear, initialise
from omnireid.models.residual_design import SMALLEST_SIDE, ConvLayer, ResidualDesign, ResidualUnit


class Unit(nn.Module):
    """A `ResidualUnit`: (B, C, H, W) → (B, C', H', W')."""

    def __init__(self, design: ResidualUnit) -> None:
        super().__init__()
        self.design = design
        self.layers = nn.ModuleList(_conv_norm(layer) for layer in design.layers)
        self.shortcut = nn.Identity() if design.shortcut_layer is None else _conv_norm(design.shortcut_layer)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute the unit's output."""
        branch = maps
        for index, layer in enumerate(self.layers):
            branch = layer(branch)
            if index == 0 and self.design.shuffled_groups > 1:
                branch = _shuffle_channels(branch, self.design.shuffled_groups)
        if self.design.shortcut == "pooling":
            branch = torch.cat([functional.avg_pool2d(maps, 3, stride=2, padding=1), branch], dim=1)
        elif self.design.shortcut != "none":
            branch = branch + self.shortcut(maps)
        return activate(branch, self.design.activation)


class ResidualNetwork(Backbone):
    """A network of residual units: (B, 3, H, W) → (B, D), the embedding, in training and evaluation alike.

    Args:
        design: The design.
        num_classes: Number of identities the classifier tells apart; None for a network without one.
        generator: Source of the first weights, a CPU generator. None is a fresh one with seed 0. The global generator
            is never touched.

    Raises:
        ModelError: `num_classes` is below 1.
    """

    def __init__(
        self, design: ResidualDesign, *, num_classes: int | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(design.embedding_width, num_classes)
        self.design = design
        self.stem = _conv_norm(design.stem)
        self.stages = nn.Sequential(*(nn.Sequential(*map(Unit, units)) for units in design.stages))
        self.last = nn.Identity() if design.last is None else _conv_norm(design.last)
        self.fc = nn.Identity() if design.neck is None else Projection(design.maps_channels, design.neck)
        self.classifier = None if num_classes is None else Linear(design.embedding_width, num_classes)
        initialise(self, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: (B, 3, H, W), RGB, normalised as the weights require; H and W are at least 16.

        Returns:
            (B, D), ≥ 0, not normalised.

        Raises:
            ShapeError: The images have another number of axes or channels, or are too small.
        """
        embedding: Tensor = self.fc(self.forward_features(images).mean(dim=(2, 3)))
        return embedding

    def forward_features(self, images: Tensor) -> Tensor:
        """Compute the last feature maps (B, C, h, w), ≥ 0. See `forward`."""
        if images.dim() != 4 or images.shape[1] != 3:
            raise ShapeError(f"{self.design.family} takes images of shape (B, 3, H, W); got {tuple(images.shape)}.")
        if min(images.shape[2:]) < SMALLEST_SIDE:
            raise ShapeError(
                f"{self.design.family} needs images of at least {SMALLEST_SIDE}×{SMALLEST_SIDE} pixels; got "
                f"{images.shape[2]}×{images.shape[3]} (height × width). Enlarge the images; 256×128 is usual."
            )
        maps = self.stem(images)
        if self.design.pools_stem:
            maps = functional.max_pool2d(maps, 3, stride=2, padding=1)
        features: Tensor = self.last(self.stages(maps))
        return features


def _shuffle_channels(maps: Tensor, groups: int) -> Tensor:
    """Put channel i of group j at place i·groups + j, so that the next grouped layer reads from all groups."""
    batch, channels, rows, columns = maps.shape
    split = maps.view(batch, groups, channels // groups, rows, columns)
    return split.transpose(1, 2).reshape(batch, channels, rows, columns)


def _conv_norm(layer: ConvLayer) -> ConvNorm:
    return ConvNorm(
        layer.in_channels,
        layer.out_channels,
        layer.kernel,
        stride=layer.stride,
        groups=layer.groups,
        activation=layer.activation,
    )
