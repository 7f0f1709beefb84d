"""What every network here offers to training, export and the torch runtime.

Shapes: B images, C channels, H rows, W columns, D values of an embedding.
"""

from __future__ import annotations

from torch import Tensor, nn

from omnireid.errors import ModelError
from omnireid.models.layers import Linear


class Backbone(nn.Module):
    """A network from images (B, 3, H, W) to embeddings (B, D), in training and evaluation alike.

    The forward pass never calls the classifier. It is here so that published checkpoints load whole; logits are
    ``model.classifier(model(images))``.

    Attributes:
        embedding_width: D.
        classifier: The layer from embeddings to identities; None in a network without one.

    Args:
        embedding_width: D.
        num_classes: Number of identities the classifier tells apart; None for a network without one.

    Raises:
        ModelError: `num_classes` is below 1.
    """

    def __init__(self, embedding_width: int, num_classes: int | None) -> None:
        super().__init__()
        if num_classes is not None and num_classes < 1:
            raise ModelError(
                f"A classifier needs at least one identity; got num_classes={num_classes}. None has no classifier."
            )
        self.embedding_width = embedding_width
        self.num_classes = num_classes
        self.classifier: Linear | None

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised RGB images (B, 3, H, W): (B, D), not normalised."""
        raise NotImplementedError

    def forward_features(self, images: Tensor) -> Tensor:
        """The last feature maps (B, C, h, w), before they are pooled."""
        raise NotImplementedError
