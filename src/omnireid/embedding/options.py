"""How a model is run: which network, where, in which runtime and in which precision. No heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from omnireid.errors import ModelError, ShapeError

RuntimeName = Literal["auto", "onnxruntime", "openvino", "torch"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
"""The number format a network computes in. ``auto`` is the file's own precision, or a faster one that passes the
parity gate."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Which network the weights are for, and where it runs.

    Attributes:
        architecture: Name of the network, needed only for a checkpoint whose keys fit several networks.
        device: Where the network runs: auto, cpu, cuda or cuda:1. ONNX Runtime also knows coreml and dml.
        threads: CPU threads for the network. Uses every core by default.
    """

    architecture: str | None = None
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions(NetworkOptions):
    """How a model is run. Every field has a default that suits most machines.

    Attributes:
        runtime: Library that runs the network. With auto, the installed ones are tried once and the fastest that
            passes the parity gate is remembered for these weights and this machine.
        precision: Number format the network computes in. With auto, the trial of the runtimes decides this too.
        batch_size: Crops per step of the network. The runtime chooses by default.

    Raises:
        ModelError: there is no such runtime or precision.
        ShapeError: the batch size is below 1.

    >>> RuntimeOptions(precision="fp32").runtime
    'auto'
    """

    runtime: RuntimeName = "auto"
    precision: Precision = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ModelError(f"No runtime {self.runtime!r}. Known: {', '.join(RUNTIMES)}.")
        if self.precision not in PRECISIONS:
            raise ModelError(f"No precision {self.precision!r}. Known: {', '.join(PRECISIONS)}.")
        if self.batch_size is not None and self.batch_size < 1:
            raise ShapeError(f"A batch has at least one crop; got batch_size={self.batch_size}.")
