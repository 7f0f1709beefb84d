"""Number formats: the network's, and the one that losses and statistics use at least."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from omnireid.machine import has_bfloat16
from omnireid.training.recipes import TrainingPrecision

_AUTOCAST_TYPES = {"fp64": None, "fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(precision: TrainingPrecision, device: torch.device) -> TrainingPrecision:
    """What ``auto`` means on a device; any other precision stays as it is.

    A processor without instructions for bfloat16 emulates it, and osnet_x0_25 then trains five times slower.
    """
    if precision != "auto":
        return precision
    native = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else has_bfloat16()
    return "bf16" if native else "fp32"


def autocast(precision: TrainingPrecision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which the network's forward pass runs; ``auto`` must have been chosen before."""
    dtype = _AUTOCAST_TYPES[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def at_least_float32(values: Tensor) -> Tensor:
    """Convert to float32, but keep float64, in which a whole run may compute."""
    return values if values.dtype == torch.float64 else values.float()
