"""How a model is run: which network, where, in which runtime and in which precision. No heavy imports."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal, get_args

from omnireid.errors import ModelError, SettingError

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

    def __post_init__(self) -> None:
        if not isinstance(self.device, str):
            raise SettingError(f"device must be a name such as 'cpu' or 'cuda:1'; got {self.device!r}.")
        if self.architecture is not None and not isinstance(self.architecture, str):
            raise SettingError(f"architecture must be the name of a network; got {self.architecture!r}.")
        if self.threads is not None:
            object.__setattr__(self, "threads", check_whole_number("threads", self.threads))


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
        SettingError: the batch size is below 1, or a value has the wrong type.

    >>> RuntimeOptions(precision="fp32").runtime
    'auto'
    """

    runtime: RuntimeName = "auto"
    precision: Precision = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.runtime not in RUNTIMES:
            raise ModelError(f"No runtime {self.runtime!r}. Known: {', '.join(RUNTIMES)}.")
        if self.precision not in PRECISIONS:
            raise ModelError(f"No precision {self.precision!r}. Known: {', '.join(PRECISIONS)}.")
        object.__setattr__(self, "batch_size", check_batch_size(self.batch_size))


def check_batch_size(batch_size: int | None) -> int | None:
    """The batch size as an int, or None.

    Raises:
        SettingError: it is no whole number, or below 1.
    """
    if batch_size is None:
        return None
    batch_size = check_whole_number("batch_size", batch_size)
    if batch_size < 1:
        raise SettingError(f"A batch has at least one crop; got batch_size={batch_size}.")
    return batch_size


def check_whole_number(name: str, value: object) -> int:
    """The value as an int. NumPy's integers are taken; ``2.0`` and ``"2"`` are not.

    Raises:
        SettingError: it is no whole number; the message names the parameter.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise SettingError(f"{name} must be a whole number; got {value!r}.") from None
