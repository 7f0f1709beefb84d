"""What the network computes in, and what losses and statistics do whatever it is."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from omnireid.training.recipes import TrainingPrecision

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: TrainingPrecision, device: torch.device) -> AbstractContextManager[object]:
    """The context the network's forward pass runs in."""
    dtype = _HALVES.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def at_least_float32(values: Tensor) -> Tensor:
    """float32; float64 where the whole run is in it."""
    return values if values.dtype == torch.float64 else values.float()
