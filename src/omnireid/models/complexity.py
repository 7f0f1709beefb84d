"""What a built network costs: parameters and multiply-adds."""

from __future__ import annotations

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module) -> int:
    """Count the learned values of `model`, a shared one once. Running statistics are not learned."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, height: int = 256, width: int = 128) -> int:
    """Count the multiply-adds of one forward pass of one image, as the OSNet paper does.

    Convolutions and linear layers count as often as they run. Norms, activations, pooling, biases and the products
    with gate weights do not count, nor does a layer that the forward pass never calls, such as a classifier.
    `model` is left as it was: a copy of it embeds one blank image on the CPU.

    Args:
        model: Any module that takes (1, 3, height, width) images.
        height: Image height in pixels.
        width: Image width in pixels.

    Raises:
        ShapeError: The image is too small for the network.
    """
    shadow = copy.deepcopy(model).cpu().eval()
    counts: list[int] = []
    for module in shadow.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(partial(_count, counts))
    with torch.no_grad():
        shadow(torch.zeros(1, 3, height, width))
    return sum(counts)


def _count(counts: list[int], module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if isinstance(module, nn.Conv2d):
        counts.append(output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size))
    elif isinstance(module, nn.Linear):
        counts.append(output.numel() * module.in_features)
