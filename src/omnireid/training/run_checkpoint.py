"""Checkpoints of a run: everything needed to resume it as if nothing had happened.

A checkpoint is one safetensors file. The tensors of network, head, moving average
and optimiser stand in it by name; the rest (step, best score, which run it is) is
JSON in its metadata. It holds no pickle, so nothing in it can run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnireid.errors import CheckpointError, ResumeError, newer_format
from omnireid.files import atomic_output
from omnireid.training.recipes import flag_values

FORMAT_VERSION = 1
_METADATA_KEY = "omnireid-run"
_SEPARATOR = "/"


@dataclass(frozen=True)
class RunIdentity:
    """What must be the same for a run to be resumed.

    Attributes:
        recipe: The recipe's JSON.
        data: Names and fingerprint of the training data.
        start: SHA-256 of the weights the run began from; None for random weights.
        world_size: Number of ranks.
        scored_on: Fingerprint of each data set that the run is scored on, by name: a best score on one says nothing
            about the best on another. None in checkpoints from before it was noted.
    """

    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    start: str | None
    world_size: int
    scored_on: Mapping[str, str] | None = None

    def differences(self, other: RunIdentity) -> list[str]:
        """One line for each difference between this run, which was begun, and `other`, which was asked for."""
        lines = [
            f"--{name.replace('_', '-')}: {values}"
            for name, values in _differing_values(flag_values(self.recipe), flag_values(other.recipe))
        ]
        lines += [f"data set ({name}): {values}" for name, values in _differing_values(self.data, other.data)]
        if self.start != other.start:
            lines.append(f"--weights: it began from {self.start or 'random weights'}, asked for is {other.start}")
        if self.scored_on is not None and self.scored_on != other.scored_on:
            mine, theirs = (
                ", ".join(f"{name} ({digest[:8]}…)" for name, digest in (one.scored_on or {}).items()) or "nothing"
                for one in (self, other)
            )
            lines.append(f"--evaluate-on: it is scored on {mine}, asked for is {theirs}")
        if self.world_size != other.world_size:
            lines.append(
                f"ranks: it has {self.world_size}, started are {other.world_size}; batch norms see a rank's share of "
                f"a batch, so start it again with torchrun --nproc-per-node {self.world_size}"
            )
        return lines


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: Number of steps done.
        seconds: Time they took, over all sessions.
        best: Best score so far on the recipe's metric, a fraction; None before the first evaluation.
        best_epoch: Epoch at which the best score was reached, with a fraction.
    """

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: float | None = None


def write_checkpoint(path: Path, state: Mapping[str, Any], progress: Progress, identity: RunIdentity) -> None:
    """Write a run's state. The old checkpoint stays until the new one is complete.

    Args:
        path: A name that ends in ``.safetensors``.
        state: State dictionaries by name, such as ``{"network": …, "optimiser": …}``, nested to any depth.
        progress: How far the run has come.
        identity: Which run it is.

    Raises:
        OutputError: The file cannot be written; `DiskFullError` if the disk is full.
    """
    from safetensors.torch import save

    tensors, plain = _flatten(state)
    record = {
        "format_version": FORMAT_VERSION,
        "progress": vars(progress),
        "identity": vars(identity),
        "plain": plain,
        "digest": _digest(tensors),
    }
    record["record_digest"] = _record_digest(record)
    content = save(tensors, metadata={_METADATA_KEY: json.dumps(record, sort_keys=True)})
    with atomic_output(path) as temporary:
        temporary.write_bytes(content)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Progress, RunIdentity]:
    """Read what `write_checkpoint` wrote, with all tensors on the CPU.

    Raises:
        ResumeError: There is no such file.
        CheckpointError: The file is no complete checkpoint of a run, was altered, or comes from a newer version.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ResumeError(f"No checkpoint {path}: there is nothing to resume. Start the run without --resume.")
    try:
        with safe_open(path, framework="pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        record = json.loads(header[_METADATA_KEY])
        version = int(record["format_version"])
        if version > FORMAT_VERSION:
            raise CheckpointError(newer_format(path, version, FORMAT_VERSION))
        if record["digest"] != _digest(tensors):
            raise CheckpointError(f"The tensors of {path} do not match their checksum: the file is damaged.")
        if record["record_digest"] != _record_digest(record):
            raise CheckpointError(f"The metadata of {path} does not match its checksum: the file is damaged.")
        return _unflatten(tensors, record["plain"]), Progress(**record["progress"]), RunIdentity(**record["identity"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no complete checkpoint of a run ({error!r}). Start the run again in another folder."
        ) from error


def check_identity(found: RunIdentity, asked: RunIdentity, where: Path) -> None:
    """Check that the run to be resumed is the run that was begun.

    Raises:
        ResumeError: It is another run; the message lists every difference.
    """
    differences = found.differences(asked)
    if differences:
        listed = "\n".join(f"  {line}" for line in differences)
        raise ResumeError(
            f"The run in {where} cannot be resumed with these settings:\n{listed}\nGive it the same flags, or start "
            "a new run in another --output."
        )


def _differing_values(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names whose values differ, and both values as a sentence."""
    return [
        (name, f"it has {begun.get(name)}, asked for is {asked.get(name)}")
        for name in sorted({*begun, *asked})
        if begun.get(name) != asked.get(name)
    ]


def _flatten(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split a nested state into tensors and everything else, each by its path."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, Tensor):
            tensors[path] = value.detach().cpu().contiguous()
        elif isinstance(value, Mapping):
            for key, child in value.items():
                walk(f"{path}{_SEPARATOR}{key}" if path else str(key), child)
        else:
            plain[path] = value

    walk("", state)
    return tensors, plain


def _unflatten(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for path, value in (*tensors.items(), *plain.items()):
        *parents, last = path.split(_SEPARATOR)
        level = state
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return state


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes. Works for bfloat16, which NumPy lacks."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _record_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 over the rest of a record as JSON, so that a changed step or recipe is noticed."""
    rest = {name: value for name, value in record.items() if name != "record_digest"}
    rest = json.loads(json.dumps(rest))  # as it is read back: numeric keys become text and sort differently
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
