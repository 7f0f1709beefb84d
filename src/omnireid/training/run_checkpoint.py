"""Checkpoints of a run: everything it takes to go on as if nothing had happened.

One safetensors file: the tensors of network, head, moving average and optimiser
by name, and the rest (step, best score, what the run is) as JSON
in its metadata. No pickle, so nothing in it can run.
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

from omnireid.errors import CheckpointError, ResumeError
from omnireid.files import atomic_output

FORMAT_VERSION = 1
_KEY = "omnireid-run"
_SEPARATOR = "/"


@dataclass(frozen=True)
class RunIdentity:
    """What must be the same for a run to go on.

    Attributes:
        recipe: its values by name.
        data: names and fingerprint of the training data.
        start: SHA-256 of the weights it began from; None from random weights.
        world_size: number of ranks.
    """

    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    start: str | None
    world_size: int

    def differences(self, other: RunIdentity) -> list[str]:
        """What `other`, the run asked for, has different from this one: a line each."""
        lines = []
        for name in sorted({*self.recipe, *other.recipe}):
            mine, theirs = self.recipe.get(name), other.recipe.get(name)
            if mine != theirs:
                lines.append(f"--{name.replace('_', '-')}: it has {mine}, asked for is {theirs}")
        for name in sorted({*self.data, *other.data}):
            mine, theirs = self.data.get(name), other.data.get(name)
            if mine != theirs:
                lines.append(f"data set ({name}): it has {mine}, asked for is {theirs}")
        if self.start != other.start:
            lines.append(f"--weights: it began from {self.start or 'random weights'}, asked for is {other.start}")
        if self.world_size != other.world_size:
            lines.append(
                f"ranks: it has {self.world_size}, started are {other.world_size}; batch norms see a rank's share of "
                f"a batch, so start it again with torchrun --nproc-per-node {self.world_size}"
            )
        return lines


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: steps done.
        seconds: spent on them, over all sessions.
        best: the best score so far on the recipe's metric, a fraction; None before the first evaluation.
        best_epoch: when it was reached, in epochs.
    """

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: float | None = None


def write_checkpoint(path: Path, state: Mapping[str, Any], progress: Progress, identity: RunIdentity) -> None:
    """Write a run's state; the old checkpoint stays until the new one is whole.

    Args:
        path: ends in ``.safetensors``.
        state: state dictionaries by name, such as ``{"network": …, "optimiser": …}``, of any depth.
        progress: how far the run is.
        identity: what the run is.

    Raises:
        OutputError: the file cannot be written; `DiskFullError` where the disk is full.
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
    content = save(tensors, metadata={_KEY: json.dumps(record, sort_keys=True)})
    with atomic_output(path) as temporary:
        temporary.write_bytes(content)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Progress, RunIdentity]:
    """Read what `write_checkpoint` wrote; tensors come on the CPU.

    Raises:
        ResumeError: there is no such file.
        CheckpointError: not a whole checkpoint of a run, altered, or of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ResumeError(f"No checkpoint {path}: there is nothing to go on with. Start the run without --resume.")
    try:
        with safe_open(path, framework="pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        record = json.loads(header[_KEY])
        version = int(record["format_version"])
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path} was written by a newer omnireid (format {version}, this one reads up to {FORMAT_VERSION}). "
                "Upgrade with: pip install --upgrade omnireid"
            )
        if record["digest"] != _digest(tensors):
            raise CheckpointError(f"The tensors of {path} are not those it was written with: the file is damaged.")
        if record["record_digest"] != _record_digest(record):
            raise CheckpointError(f"The record of {path} is not the one it was written with: the file is damaged.")
        return _unflatten(tensors, record["plain"]), Progress(**record["progress"]), RunIdentity(**record["identity"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole checkpoint of a run ({error!r}). Start the run again in another folder."
        ) from error


def check_identity(found: RunIdentity, asked: RunIdentity, where: Path) -> None:
    """Check that a run asked to go on is the run that was begun.

    Raises:
        ResumeError: it is not; the message lists every difference.
    """
    differences = found.differences(asked)
    if differences:
        listed = "\n".join(f"  {line}" for line in differences)
        raise ResumeError(
            f"The run in {where} cannot go on, because it is another one:\n{listed}\nGive it the same flags, or start "
            "a new run in another --output."
        )


def _flatten(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and everything else, by path through the nested state."""
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
        place = state
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return state


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, of bfloat16 too, which numpy and so an artefact does not have."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _record_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 over everything else of a record, as JSON: a changed step or recipe would go unseen without it."""
    rest = {name: value for name, value in record.items() if name != "record_digest"}
    rest = json.loads(json.dumps(rest))  # as it will be read: keys that are numbers become text, and sort otherwise
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
