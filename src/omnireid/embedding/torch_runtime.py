"""Running a network in PyTorch. The only file of this room that touches torch and the models, at call time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnireid.embedding.artefact import WeightsMetadata, read_artefact
from omnireid.errors import MissingDependencyError, ModelError
from omnireid.types import FloatArray

if TYPE_CHECKING:
    import torch

    from omnireid.embedding.embedder import RunNetwork
    from omnireid.models.osnet import OSNet


def load_network(
    path: Path, *, architecture: str | None = None, device: str = "auto", threads: int | None = None
) -> tuple[RunNetwork, WeightsMetadata]:
    """Load an artefact or a foreign checkpoint into torch, ready to run.

    Args:
        path: the file of weights.
        architecture: of a foreign checkpoint whose keys do not tell.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:1``.
        threads: torch threads on a CPU, for the whole process; left alone by default.

    Raises:
        WeightsError: the file cannot be used.
        ModelError: the device is not there.
        MissingDependencyError: torch is not installed.
    """
    require_torch()
    import torch

    target = _device(device)
    if threads is not None:
        if threads < 1:
            raise ModelError(f"A network needs at least one thread; got threads={threads}.")
        torch.set_num_threads(threads)
    model, metadata = load_weights(path, architecture=architecture)
    # Channels last is the layout oneDNN and cuDNN convolve fastest in.
    model = model.to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(images: FloatArray) -> FloatArray:
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(target).contiguous(memory_format=torch.channels_last)
            return np.asarray(model(batch).float().cpu().numpy())

    return run, metadata


def require_torch() -> None:
    """Check that torch is installed.

    Raises:
        MissingDependencyError: it is not.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "Reading a checkpoint or running weights in torch needs torch. Install it with: "
            "pip install 'omnireid[torch]'"
        ) from error


def load_weights(path: Path, *, architecture: str | None = None) -> tuple[OSNet, WeightsMetadata]:
    """The model (evaluation mode, float32, CPU, no classifier) and metadata of an artefact or a foreign checkpoint.

    Raises:
        WeightsError: the file cannot be used.
        MissingDependencyError: torch is not installed.
    """
    require_torch()
    from omnireid.models.checkpoint import load_checkpoint, load_state
    from omnireid.models.zoo import create_model

    if path.suffix == ".safetensors":
        tensors, metadata = read_artefact(path)
        if architecture not in (None, metadata.architecture):
            raise ModelError(
                f"{path} holds {metadata.architecture}, not {architecture}. "
                "Leave the architecture out: the file says it."
            )
        model = create_model(metadata.architecture)
        load_state(model, tensors, where=str(path))
        return model.eval(), metadata
    checkpoint = load_checkpoint(path, architecture)
    metadata = WeightsMetadata(checkpoint.architecture, origin=path.name)
    if checkpoint.known is not None:
        known = checkpoint.known
        metadata = replace(metadata, training_data=known.training_data, licence=known.licence)
    return checkpoint.model, metadata


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"No device {name!r}: use auto, cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"Device {name} is not there: torch sees {torch.cuda.device_count()} CUDA devices. Use device='cpu'."
        )
    return device
