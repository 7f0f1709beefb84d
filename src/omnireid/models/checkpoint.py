"""The one door for checkpoints that others made: read, recognised, held against a network, and loaded whole or not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from omnireid.errors import CheckpointError, CoverageError, WeightsError
from omnireid.files import sha256_of
from omnireid.models.backbone import Backbone
from omnireid.models.checkpoint_file import CheckpointFile, SourceFormat, read_checkpoint
from omnireid.models.coverage import CoverageReport, compare, likely_cause, refusal
from omnireid.models.layer_plan import COUNTER, Shape
from omnireid.models.zoo import ARCHITECTURES, create_model, find_architecture

_CLASSIFIER_WEIGHT = "classifier.weight"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A foreign checkpoint, loaded.

    Attributes:
        model: the network: evaluation mode, float32, on the CPU; without a classifier unless it was asked for.
        architecture: the variant it is.
        report: what became of every key.
        num_classes: identities of the file's classifier, whether kept or not; None where it has none.
        source_format: how torch wrote the file.
        sha256: of the file's bytes.
    """

    model: Backbone
    architecture: str
    report: CoverageReport
    num_classes: int | None
    source_format: SourceFormat
    sha256: str


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a file of weights is, whether or not it can be loaded.

    Attributes:
        path: the file.
        architecture: the variant asked for, or the one its keys and shapes fit best; None where none of its keys fit.
        report: the file against that variant, or against ``osnet_x1_0`` where none of its keys fit.
        refusal: why `load_checkpoint` would refuse it; None where it would load.
        num_classes: identities of its classifier; None where it has none.
        source_format: how torch wrote it.
        wrapper: the entry the weights were under, such as ``state_dict``; empty for a bare state dict.
        prefix: what stood before the keys, such as ``module.``.
        beside: the other entries, such as ``epoch``.
        data_types: of its tensors, such as ``float32``; sorted.
        sha256: of its bytes.
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
    data_types: tuple[str, ...]
    sha256: str


def load_checkpoint(path: Path | str, architecture: str | None = None, *, keep_classifier: bool = False) -> Checkpoint:
    """Load a public OSNet checkpoint (``.pth``, ``.pt``, ``.pth.tar``), whole or not at all.

    Reads the legacy and the zip format, bare or wrapped state dicts, any known prefix, half precision, and a
    classifier of any size. Never runs a pickle. Keys and shapes decide what the file is; a file name that says
    otherwise is noted in the report.

    Args:
        path: the file.
        architecture: the variant it must be; None lets its keys and shapes tell.
        keep_classifier: load the classifier too; by default the file's is left out.

    Raises:
        WeightsNotFoundError: no such file.
        UnsafeCheckpointError: a pickle with more than tensors in it; the message says how to convert it.
        CheckpointError: unreadable, truncated, not weights, or values that are not finite.
        CoverageError: the file does not cover the backbone; the message says what it probably is.
        ModelError: no such architecture.
    """
    inspection, tensors, error = _examine(Path(path), architecture, keep_classifier)
    if error is not None:
        raise error
    chosen = inspection.report.architecture
    model = create_model(chosen, inspection.num_classes if keep_classifier else None)
    _fill(model, tensors)
    return Checkpoint(
        model.eval(),
        chosen,
        inspection.report,
        inspection.num_classes,
        inspection.source_format,
        inspection.sha256,
    )


def inspect_checkpoint(path: Path | str, architecture: str | None = None) -> Inspection:
    """Say what a checkpoint is, key by key, also where `load_checkpoint` would refuse it.

    Args:
        path: the file.
        architecture: the variant to hold it against; None takes the one it fits best.

    Raises:
        WeightsNotFoundError: no such file.
        UnsafeCheckpointError: a pickle with more than tensors in it; it was not run, so nothing is known of it.
        CheckpointError: unreadable, truncated, or not weights.
        ModelError: no such architecture.
    """
    inspection, _, _ = _examine(Path(path), architecture, keep_classifier=False)
    return inspection


def load_state(
    model: Backbone, tensors: Mapping[str, Tensor | npt.NDArray[np.generic]], *, where: str = "This state"
) -> CoverageReport:
    """Fill `model`, in place, with tensors in our own key names, whole or not at all.

    Values become float32. A classifier that `model` has no place for is left out.

    Args:
        model: the network to fill.
        tensors: key of ``model.state_dict()`` to values, numpy or torch.
        where: what to call them in a message, such as the file they came from.

    Raises:
        CoverageError: a tensor is missing, has another shape, or belongs to another backbone.
        CheckpointError: a value is not finite, or not a float; the message names the key.
    """
    converted = {
        key: value if isinstance(value, Tensor) else torch.tensor(np.asarray(value)) for key, value in tensors.items()
    }
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in converted.items()}
    report, targets = compare(_name_of(expected), found, expected)
    if not report.is_complete:
        raise CoverageError(refusal(where, report, likely_cause(found, report, _best_fit(found))))
    _fill(model, {own: _checked(key, converted[key], where) for key, own in targets.items()})
    return report


def _examine(
    path: Path, architecture: str | None, keep_classifier: bool
) -> tuple[Inspection, dict[str, Tensor], WeightsError | None]:
    """What the file is, its tensors under our own keys, and the error that forbids loading it."""
    if architecture is not None:
        find_architecture(architecture)
    file = read_checkpoint(path)
    found = {key: tuple(tensor.shape) for key, tensor in file.tensors.items()}
    named = _named_in(path)
    best = _best_fit(found, first=named)
    chosen = architecture or best.architecture
    width = find_architecture(chosen).embedding_width
    num_classes = _count_classes(found, width)
    report, targets = _hold_against(chosen, found, num_classes if keep_classifier else None)
    report = replace(report, notes=_notes(file, best, named))
    tensors: dict[str, Tensor] = {}
    error: WeightsError | None = None
    if not report.is_complete:
        error = CoverageError(refusal(str(path), report, likely_cause(found, report, best)))
    elif keep_classifier and num_classes is None:
        error = CoverageError(f"{path} has no classifier of {width} inputs to keep. Load it without keep_classifier.")
    else:
        try:
            tensors = {own: _checked(key, file.tensors[key], str(path)) for key, own in targets.items()}
        except CheckpointError as unusable:
            error = unusable
    inspection = Inspection(
        path=path,
        architecture=architecture or (best.architecture if best.loaded else None),
        report=report,
        refusal=None if error is None else str(error),
        num_classes=num_classes,
        source_format=file.source_format,
        wrapper=file.wrapper,
        prefix=file.prefix,
        beside=file.beside,
        data_types=tuple(sorted({_type_name(tensor) for tensor in file.tensors.values()})),
        sha256=sha256_of(path),
    )
    return inspection, tensors, error


def _hold_against(
    architecture: str, found: Mapping[str, Shape], num_classes: int | None
) -> tuple[CoverageReport, dict[str, str]]:
    """The file against one variant, with a classifier of `num_classes` unless that is None."""
    known = find_architecture(architecture)
    layout, width = known.key_layout, known.embedding_width
    expected = dict(layout.shapes)
    if num_classes is not None:
        expected |= {_CLASSIFIER_WEIGHT: (num_classes, width), "classifier.bias": (num_classes,)}
    return compare(architecture, found, expected, layout.own_names)


def _best_fit(found: Mapping[str, Shape], first: str | None = None) -> CoverageReport:
    """Hold the file against every network, and return the report of the one it covers best.

    A complete one wins, `first` before the others. A partial file is held to be a part of a network in its own right,
    not of an ablation.
    """
    reports = []
    for name in sorted(ARCHITECTURES, key=lambda name: name != first):
        report, _ = _hold_against(name, found, None)
        if report.is_complete:
            return report
        if ARCHITECTURES[name].ablation_of is None:
            reports.append(report)
    return max(reports, key=lambda report: report.backbone_coverage)


def _notes(file: CheckpointFile, best: CoverageReport, named: str | None) -> tuple[str, ...]:
    notes = []
    if best.is_complete and named not in (None, best.architecture):
        notes.append(
            f"The file name says {named}, its keys and shapes say {best.architecture}: the keys were believed."
        )
    stored = sorted(
        {_type_name(tensor) for tensor in file.tensors.values() if tensor.is_floating_point()} - {"float32"}
    )
    if stored:
        notes.append(f"Stored as {', '.join(stored)}; loaded as float32.")
    return tuple(notes)


def _named_in(path: Path) -> str | None:
    """The network that the file name mentions, as in ``osnet_x0_25_msmt17.pt``; the longest name that fits."""
    name = path.name.lower()
    mentioned = [known for known in ARCHITECTURES if re.search(rf"{known}(?!\d)", name)]
    return max(mentioned, key=len, default=None)


def _name_of(shapes: Mapping[str, Shape]) -> str:
    """Which network has a state of these shapes, for a message."""
    own = {key: shape for key, shape in shapes.items() if not key.startswith("classifier.")}
    return next((name for name, known in ARCHITECTURES.items() if known.key_layout.shapes == own), "this network")


def _count_classes(found: Mapping[str, Shape], embedding_width: int) -> int | None:
    shape = found.get(_CLASSIFIER_WEIGHT, ())
    return shape[0] if len(shape) == 2 and shape[1] == embedding_width else None


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _checked(key: str, tensor: Tensor, where: str) -> Tensor:
    """The tensor as float32 (a counter as it is), after a look at its values."""
    if key.endswith(COUNTER):
        return tensor
    if not tensor.is_floating_point() or tensor.layout is not torch.strided or tensor.is_meta:
        raise CheckpointError(
            f"{where}: {key} holds {_type_name(tensor)} values in a form that cannot be used as weights "
            "(quantised, sparse or empty). Give a plain floating-point checkpoint."
        )
    values = tensor.detach().to(torch.float32)
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        raise CheckpointError(
            f"{where}: {key} has {bad} values that are not finite (NaN or infinity) out of {values.numel()}. "
            "The training that wrote it diverged, or the file is damaged: use an earlier checkpoint."
        )
    return values


@torch.no_grad()
def _fill(model: Backbone, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors of the right keys and shapes into the model, denormal values as 0.

    Weight decay leaves dead channels with denormal weights (639 of them in the public osnet_x0_25), and a processor
    multiplies those many times slower. Without them the same file embeds 1.7 times as fast, to the same embeddings
    to the last bit: benchmarks/denormals.py.
    """
    state = model.state_dict()
    smallest = torch.finfo(torch.float32).tiny
    for key, tensor in tensors.items():
        state[key].copy_(torch.where(tensor.abs() < smallest, 0, tensor) if tensor.is_floating_point() else tensor)
