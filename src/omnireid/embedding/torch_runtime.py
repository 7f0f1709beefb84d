"""Running a network in PyTorch. Only this file of the room touches torch and the models, at call time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.embedding.network import (
    Network,
    blank_crop,
    check_threads,
    count_threads,
    no_memory,
    not_after_fork,
)
from omnireid.embedding.options import Precision
from omnireid.errors import DeviceMemoryError, ModelError, require
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray
from omnireid.weights.artefact import WeightsMetadata
from omnireid.weights.runtime_start import FIRST_USE
from omnireid.weights.source import read_weights

if TYPE_CHECKING:
    import torch

    from omnireid.models.backbone import Backbone

_PRECISION = Lock()  # torch keeps the precision in globals, and two threads would restore each other's

_LOADED_IN: set[int] = set()
"""The processes in which a network was loaded, this one and those it was forked from."""


def load_network(
    path: Path,
    *,
    architecture: str | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> tuple[Network, WeightsMetadata]:
    """Load an artefact or a foreign checkpoint into torch, ready to run.

    Args:
        path: File of weights.
        architecture: Name of the network, needed only for a checkpoint whose keys fit several networks.
        precision: ``fp32`` (also ``auto``), ``bf16``, or ``fp16`` on a GPU.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``.
        threads: Number of torch threads on a CPU, for the whole process. None leaves it as it is.

    Raises:
        WeightsError: the file cannot be used.
        ModelError: the device is not there or lacks the precision, or the process was forked after torch had run.
        MissingDependencyError: torch is not installed.
    """
    require_torch()
    import torch

    target = _device(device)
    chosen = _precision(precision, target)
    if threads is not None:
        torch.set_num_threads(check_threads(threads))
    where = count_threads(torch.get_num_threads()) if target.type == "cpu" else str(target)
    if _LOADED_IN:
        _check_fork(_LOADED_IN, target)
    process = os.getpid()
    model, metadata = load_weights(path, architecture=architecture)
    # Channels last is the layout oneDNN and cuDNN convolve fastest in.
    model = model.to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]
    preprocessing = metadata.preprocessing
    std = 255 * torch.tensor(preprocessing.std, device=target).view(1, 3, 1, 1)
    shift = torch.tensor(preprocessing.mean, device=target).view(1, 3, 1, 1) * 255 / std
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(chosen)

    def run(pixels: RgbArray) -> FloatArray:
        _check_fork({process}, target)
        try:
            with torch.inference_mode(), full_precision(target):
                batch = torch.from_numpy(pixels).to(target).permute(0, 3, 1, 2)  # in memory: channels last already
                images = batch.float().div_(std).sub_(shift)
                with torch.autocast(target.type, low) if low is not None else nullcontext():
                    embeddings = model(images)
                return np.asarray(embeddings.float().cpu().numpy())
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise DeviceMemoryError(no_memory(str(target), pixels)) from error
            raise

    with FIRST_USE:
        run(blank_crop(preprocessing))
    _LOADED_IN.add(process)
    return Network("torch", chosen, where, run), metadata


def _check_fork(processes: set[int], device: torch.device) -> None:
    """Check that this process is one of `processes`; a fork of them hangs in torch unless it has one CPU thread."""
    if os.getpid() in processes:
        return
    import torch

    if device.type != "cpu" or torch.get_num_threads() > 1:
        raise not_after_fork("torch", "more than one thread" if device.type == "cpu" else str(device))


def _precision(precision: Precision, device: torch.device) -> Precision:
    if precision in ("auto", "fp32"):
        return "fp32"
    if precision == "int8":
        raise ModelError(
            "torch runs no int8 here. Export the weights with omnireid export --precision int8, and run the file in "
            "onnxruntime or openvino."
        )
    if precision == "fp16" and device.type == "cpu":
        raise ModelError("torch computes in fp16 on a GPU only. Use --precision fp32 or bf16.")
    return precision


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch raised `error` for want of memory, on a GPU or a CPU."""
    import torch

    # A GPU's allocator has an error of its own; the CPU's is known by its name in the text.
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def require_torch() -> None:
    """Check that torch is installed.

    Raises:
        MissingDependencyError: it is not.
    """
    require("torch", "torch", "Reading a checkpoint or running weights in torch")


def load_weights(path: Path, *, architecture: str | None = None) -> tuple[Backbone, WeightsMetadata]:
    """Build the network of an artefact or a foreign checkpoint in torch: evaluation mode, float32, CPU, no classifier.

    Raises:
        WeightsError: The file cannot be used.
        ModelError: The file is a graph, or of another architecture.
        MissingDependencyError: torch is not installed.
    """
    require_torch()
    from omnireid.models.state import load_state
    from omnireid.models.zoo import create_model

    tensors, metadata = read_weights(path, architecture=architecture)
    model = create_model(metadata.architecture)
    load_state(model, tensors, where=str(path))
    return model.eval(), metadata


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in float32 on a GPU while the body runs, so that it gives what a CPU gives.

    By default cuDNN convolves in TF32, with 10 bits after the point of float32's 23.
    """
    if device.type != "cuda":
        yield
        return
    with _PRECISION:
        changed = _turn_off_tf32()
        try:
            yield
        finally:
            for owner, name, before in changed:
                setattr(owner, name, before)


def _turn_off_tf32() -> list[tuple[Any, str, object]]:
    """Turn TF32 off where it is on: what was changed, its name, and its value before."""
    from torch import backends

    cudnn, matmul = backends.cudnn, backends.cuda.matmul
    places: tuple[tuple[Any, Any], ...] = ((cudnn, getattr(cudnn, "conv", None)), (matmul, matmul))
    changed: list[tuple[Any, str, object]] = []
    for owner, newer in places:
        try:
            setting = (owner, "allow_tf32", owner.allow_tf32)
        except RuntimeError:  # it was set through fp32_precision, which torch has since 2.9
            setting = (newer, "fp32_precision", newer.fp32_precision)
        if setting[2] in (True, "tf32"):
            setattr(setting[0], setting[1], False if setting[2] is True else "ieee")
            changed.append(setting)
    return changed


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = re.fullmatch(r"cpu|cuda(?::(0|[1-9][0-9]*))?", name)
    if found is None:
        raise ModelError(f"No device {name!r}: use auto, cpu, cuda or cuda:1.")
    if name != "cpu" and int(found[1] or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"Device {name} is not there: torch sees {torch.cuda.device_count()} CUDA devices. Use device='cpu'."
        )
    return torch.device(name)
