"""The one door for checkpoints that others made: read, recognised by keys and shapes, and taken whole or not at all.

Nothing here needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from omnireid.errors import CheckpointError, CoverageError, OmnireidError
from omnireid.files import sha256_of
from omnireid.weights.artefact import WeightsMetadata, check_architecture
from omnireid.weights.checkpoint_file import CheckpointFile, SourceFormat, read_checkpoint
from omnireid.weights.reid_folder import find_config, read_config
from omnireid.weights.stored_tensor import StoredTensor

if TYPE_CHECKING:
    from omnireid.models.coverage import CoverageReport
    from omnireid.models.layer_plan import Shape


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a file of weights is, whether or not it can be used.

    Attributes:
        path: The file.
        architecture: The network asked for, or the one its keys and shapes fit best; None where none of its keys fit.
        report: The file against that network, or against ``osnet_x1_0`` where none of its keys fit.
        refusal: Why `load_checkpoint` would refuse it; None where it would not.
        num_classes: Number of identities in its classifier; None where it has none.
        source_format: How it was written.
        wrapper: The entry the weights were under, such as ``state_dict``; empty for a bare state dict.
        prefix: What stood before the keys, such as ``module.``.
        beside: The other entries, such as ``epoch``.
        other_states: Entries that hold another complete set of the same weights, such as ``ema``.
        data_types: The types of its tensors, such as ``float32``, sorted.
        sha256: SHA-256 of its bytes.
        config: File beside it that describes it, in a folder of roboflow's ``reid``; None where there is none.
        described: What that file says; None where there is none, or where it cannot be used.
    """

    path: Path
    architecture: str | None
    report: CoverageReport
    refusal: str | None
    num_classes: int | None
    source_format: SourceFormat
    wrapper: str
    prefix: str
    beside: tuple[str, ...]
    other_states: tuple[str, ...]
    data_types: tuple[str, ...]
    sha256: str
    config: Path | None = None
    described: WeightsMetadata | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A foreign checkpoint that covers a network.

    Attributes:
        tensors: Our key to values, for every key of the network: float32 with denormal values as 0, and the step
            counters of batch norms as integers. A classifier is left out.
        architecture: Name of the network.
        inspection: What else is known of the file.
    """

    tensors: Mapping[str, npt.NDArray[np.generic]]
    architecture: str
    inspection: Inspection


def load_checkpoint(path: Path | str, architecture: str | None = None, *, state: str | None = None) -> Checkpoint:
    """Read the weights of an OSNet that others saved, whole or not at all.

    Reads files of ``torch.save`` (``.pth``, ``.pt``, ``.pth.tar``; legacy and zip format) and plain safetensors
    files: bare or wrapped state dicts, any known prefix, half precision, and a classifier of any size. Never runs a
    pickle. Keys and shapes decide what the file is. A file name that says otherwise is noted in the report. Beside
    the ``reid_config.json`` of a folder of roboflow's ``reid``, the file must be the network that this names.

    Args:
        path: The file.
        architecture: Name of the network it must be; None lets its keys and shapes decide.
        state: Entry to take the weights from, such as ``ema``; None takes the usual one.

    Raises:
        WeightsNotFoundError: No such file.
        UnsafeCheckpointError: A pickle with more than tensors in it; the message says how to convert it.
        CheckpointError: The file is unreadable or truncated, is no file of weights, has no entry `state`, or holds
            values that are not finite.
        CoverageError: The file does not cover the backbone; the message says what it probably is.
        ModelError: There is no such architecture, or a config beside the file names another one.
    """
    inspection, tensors, error = _examine(Path(path), architecture, state)
    if error is not None:
        raise error
    return Checkpoint(tensors, inspection.report.architecture, inspection)


def inspect_checkpoint(path: Path | str, architecture: str | None = None, *, state: str | None = None) -> Inspection:
    """Say what a checkpoint is, key by key, also where `load_checkpoint` would refuse it.

    Args:
        path: The file.
        architecture: Name of the network to hold it against; None takes the one it fits best.
        state: Entry to take the weights from, such as ``ema``; None takes the usual one.

    Raises:
        WeightsNotFoundError: No such file.
        UnsafeCheckpointError: A pickle with more than tensors in it. It was not run, so nothing is known of it.
        CheckpointError: The file is unreadable or truncated, is no file of weights, or has no entry `state`.
        ModelError: There is no such architecture, or a config beside the file names another one.
    """
    inspection, _, _ = _examine(Path(path), architecture, state)
    return inspection


def _examine(
    path: Path, architecture: str | None, state: str | None
) -> tuple[Inspection, dict[str, npt.NDArray[np.generic]], OmnireidError | None]:
    """What the file is, its tensors under our own keys, and the error that forbids using it."""
    from omnireid.models.coverage import best_fit, hold_against
    from omnireid.models.zoo import find_architecture

    if architecture is not None:
        find_architecture(architecture)
    file = read_checkpoint(path, state)
    config, described, error = _read_description(path, architecture)
    if described is not None:
        architecture = described.architecture
    found = {key: tensor.shape for key, tensor in file.tensors.items()}
    named = _network_in_name(path)
    best = best_fit(found, first=named)
    chosen = find_architecture(architecture or best.architecture)
    report, targets = hold_against(chosen.name, found)
    report = replace(report, notes=_notes(file, best, named))
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    if error is None and not report.is_complete:
        error = _not_covered(path, found, report, best, config)
    if error is None:
        try:
            tensors = _take_tensors(file, targets, chosen.key_layout.shapes)
        except CheckpointError as unusable:
            error = unusable
    inspection = Inspection(
        path=path,
        architecture=architecture or (best.architecture if best.loaded else None),
        report=report,
        refusal=None if error is None else str(error),
        num_classes=_count_classes(found, report.left_out, chosen.embedding_width),
        source_format=file.source_format,
        wrapper=file.wrapper,
        prefix=file.prefix,
        beside=file.beside,
        other_states=file.other_states,
        data_types=tuple(sorted({tensor.data_type for tensor in file.tensors.values()})),
        sha256=sha256_of(path),
        config=config,
        described=described,
    )
    return inspection, tensors, error


def _read_description(
    path: Path, architecture: str | None
) -> tuple[Path | None, WeightsMetadata | None, OmnireidError | None]:
    """The config beside the file, what it says, and why it cannot be used; None for what there is not.

    Raises:
        ModelError: It names another network than `architecture`.
    """
    config = find_config(path)
    if config is None:
        return None, None, None
    try:
        described = read_config(config)
    except OmnireidError as error:
        return config, None, error
    check_architecture(config, described, architecture)
    return config, described, None


def _not_covered(
    path: Path, found: Mapping[str, Shape], report: CoverageReport, best: CoverageReport, config: Path | None
) -> CoverageError:
    from omnireid.models.coverage import likely_cause, refusal

    cause = likely_cause(found, report, best)
    if config is not None and best.is_complete:
        cause = (
            f"{config.name} beside it says {report.architecture}, and these are the weights of {best.architecture}: "
            "one of the two files is of another model. Get the folder again."
        )
    return CoverageError(refusal(str(path), report, cause))


def _take_tensors(
    file: CheckpointFile, targets: Mapping[str, str], shapes: Mapping[str, Shape]
) -> dict[str, npt.NDArray[np.generic]]:
    """The network's tensors under our own keys, in the network's order. Old files lack the counters: they are 0."""
    from omnireid.models.layer_plan import COUNTER
    from omnireid.models.state import usable_values

    keys = {own: key for key, own in targets.items()}
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    for own in shapes:
        if own not in keys:
            tensors[own] = np.zeros((), dtype=np.int64)
            continue
        stored = file.tensors[keys[own]]
        if own.endswith(COUNTER) and stored.form == "dense":
            tensors[own] = stored.as_stored().astype(np.int64)
            continue
        _check_form(file.path, keys[own], stored)
        tensors[own] = usable_values(keys[own], stored.as_float32(), str(file.path))
    return tensors


def _check_form(path: Path, key: str, stored: StoredTensor) -> None:
    if not stored.is_float:
        form = "" if stored.form == "dense" else f"{stored.form}, "
        raise CheckpointError(
            f"{path}: {key} holds {stored.data_type} values in a form that cannot be used as weights ({form}and only "
            "dense floating-point tensors can). Give a plain floating-point checkpoint."
        )


def _notes(file: CheckpointFile, best: CoverageReport, named: str | None) -> tuple[str, ...]:
    notes = []
    if best.is_complete and named not in (None, best.architecture):
        notes.append(
            f"The file name says {named}, but its keys and shapes are those of {best.architecture}, which was taken."
        )
    stored = sorted({tensor.data_type for tensor in file.tensors.values() if tensor.is_float} - {"float32"})
    if stored:
        notes.append(f"Stored as {', '.join(stored)}; loaded as float32.")
    if file.other_states:
        notes.append(describe_states(file.path, file.wrapper, file.other_states))
    return tuple(notes)


def describe_states(path: Path, taken: str, others: tuple[str, ...]) -> str:
    """Say which of several complete sets of weights was taken, and how to take another."""
    used = repr(taken) if taken else "the outermost one"
    return (
        f"The file holds {1 + len(others)} complete sets of weights, and {used} was taken. To use "
        f"{' or '.join(map(repr, others))}, convert it: omnireid convert {path.name} --state {others[0]} --output "
        f"{path.name.split('.')[0]}-{others[0]}.safetensors"
    )


def _network_in_name(path: Path) -> str | None:
    """The network that a file name mentions, as in ``osnet_x0_25_msmt17.pt``; the longest name that fits."""
    from omnireid.models.zoo import ARCHITECTURES

    name = path.name.lower()
    mentioned = [known for known in ARCHITECTURES if re.search(rf"{known}(?!\d)", name)]
    return max(mentioned, key=len, default=None)


def _count_classes(found: Mapping[str, Shape], classifier: tuple[str, ...], embedding_width: int) -> int | None:
    shapes = (found[key] for key in classifier)
    return next((shape[0] for shape in shapes if len(shape) == 2 and shape[1] == embedding_width), None)
