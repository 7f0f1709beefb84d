"""Number formats: the network's, and the one that losses and statistics use at least."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from omnireid.training.recipes import TrainingPrecision

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: TrainingPrecision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which the network's forward pass runs."""
    dtype = _HALVES.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def at_least_float32(values: Tensor) -> Tensor:
    """Convert to float32, but keep float64, in which a whole run may compute."""
    return values if values.dtype == torch.float64 else values.float()
