"""``omnireid inspect``: what a file of weights is."""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.commands.options import ArchitectureOption, StateOption, WeightsPositional
from omnireid.weights.shipped import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from omnireid.weights.artefact import Tensors, WeightsMetadata


@dataclass(frozen=True)
class _Findings:
    """What there is to say of a file of weights, as labelled lines and as plain values."""

    lines: dict[str, str]
    report: str
    values: dict[str, Any]
    refusal: str | None


def inspect(
    weights: WeightsPositional = DEFAULT_WEIGHTS,
    *,
    architecture: ArchitectureOption = None,
    state: StateOption = None,
    json: bool = False,
) -> None:
    """Say what a file of weights is, its licence, and how it covers its network.

    Nothing in the file is executed. A file that cannot be used is reported key by
    key all the same, and the exit code is 2.

    Example: omnireid inspect osnet_x0_25_market1501.pth

    Args:
        json: Print JSON instead of text.
    """
    from omnireid.errors import WeightsError
    from omnireid.weights.fetch import resolve_weights
    from omnireid.weights.file_kind import GRAPH_KINDS, identify_weights

    path = resolve_weights(weights)
    kind = identify_weights(path)
    if kind in GRAPH_KINDS:
        found = _of_graph(path, architecture)
    elif kind == "artefact":
        found = _of_artefact(path, architecture)
    else:
        found = _of_checkpoint(path, architecture, state)
    if json:
        print(json_format.dumps(found.values, indent=2))
    else:
        width = max(map(len, found.lines))
        for label, text in found.lines.items():
            print(f"{label:<{width}}  {text}")
        print(found.report)
    if found.refusal is not None:
        raise WeightsError(found.refusal)


def _of_artefact(path: Path, architecture: str | None) -> _Findings:
    from omnireid.files import sha256_of
    from omnireid.weights.artefact import check_architecture, read_artefact, sha256_of_tensors

    tensors, metadata = read_artefact(path)
    check_architecture(path, metadata, architecture)
    coverage, table, refusal = _coverage_of_artefact(path, metadata.architecture, tensors)
    parameters = sum(tensor.size for name, tensor in tensors.items() if not _is_statistic(name))
    lines = {
        "file": str(path),
        "kind": "omnireid artefact (safetensors); its tensors are those it was written with",
        "sha256": sha256_of(path),
        "architecture": metadata.architecture,
        "parameters": f"{parameters:,} ({', '.join(sorted({str(tensor.dtype) for tensor in tensors.values()}))})",
        **_lines_of(metadata),
    }
    values = {"file": str(path), "kind": "artefact", "sha256": lines["sha256"], "parameters": parameters}
    values |= {"tensors_sha256": sha256_of_tensors(tensors), "metadata": metadata.json()}
    values["coverage"] = coverage
    return _Findings(lines, table, values, refusal)


def _lines_of(metadata: WeightsMetadata) -> dict[str, str]:
    size = metadata.preprocessing
    return {
        "input": f"{size.height} × {size.width} (height × width), mean {size.mean}, std {size.std}",
        "embedding": f"{metadata.embedding_dimension} values, compared by {metadata.distance} distance",
        "training data": metadata.training_data,
        "licence": metadata.licence,
        "metrics": ", ".join(f"{name} {value:.4f}" for name, value in metadata.metrics.items()) or "none stated",
        "made from": metadata.origin,
    }


def _of_graph(path: Path, architecture: str | None) -> _Findings:
    from omnireid.files import sha256_of
    from omnireid.weights.artefact import check_architecture
    from omnireid.weights.graph_file import read_graph

    graph = read_graph(path)
    described, metadata = graph.metadata, graph.metadata.weights
    check_architecture(path, metadata, architecture)
    takes = "(N, H, W, 3) uint8, normalised inside" if described.takes_pixels else "(N, 3, H, W) float32, normalised"
    lines = {
        "file": str(path),
        "kind": f"omnireid graph ({graph.format}, {described.precision}); it is as it was written",
        "sha256": sha256_of(path),
        "weights": f"SHA-256 {described.weights_sha256}",
        "architecture": metadata.architecture,
        "takes": takes,
        "in float32": ", ".join(described.kept_in_float) or "nothing was kept out of int8",
        **_lines_of(metadata),
    }
    if described.precision != "int8":
        del lines["in float32"]
    values = {"file": str(path), "kind": "graph", "format": graph.format, "sha256": lines["sha256"]}
    return _Findings(lines, "coverage      held against torch when it was exported", values | described.json(), None)


def _coverage_of_artefact(
    path: Path, architecture: str, tensors: Tensors
) -> tuple[dict[str, object] | None, str, str | None]:
    """Its coverage as plain values and as text, and why `load_embedder` would refuse it; None where it would not."""
    from omnireid.errors import OmnireidError
    from omnireid.models.coverage import compare
    from omnireid.models.zoo import ARCHITECTURES
    from omnireid.weights.source import read_weights

    refusal = None
    try:
        read_weights(path)
    except OmnireidError as error:
        refusal = str(error)
    if architecture not in ARCHITECTURES:
        return None, f"coverage      not checked: no network {architecture!r} is known here", refusal
    found = {name: tensor.shape for name, tensor in tensors.items()}
    report, _ = compare(architecture, found, ARCHITECTURES[architecture].key_layout.shapes)
    return report.json(), report.table(), refusal


def _is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _of_checkpoint(path: Path, architecture: str | None, state: str | None) -> _Findings:
    from omnireid.weights.checkpoint import inspect_checkpoint
    from omnireid.weights.published import find_published_file

    found = inspect_checkpoint(path, architecture, state=state)
    known = find_published_file(found.sha256)
    wrapping = [f"under {found.wrapper!r}" if found.wrapper else "", f"prefix {found.prefix!r}" if found.prefix else ""]
    wrapping.append(f"beside {', '.join(found.beside)}" if found.beside else "")
    written = "safetensors file" if found.source_format == "safetensors" else f"{found.source_format} format"
    lines = {
        "file": str(path),
        "kind": f"checkpoint, {written}, {', '.join(found.data_types)}",
        "wrapping": ", ".join(filter(None, wrapping)) or "a bare state dict",
        "sha256": found.sha256,
        "known as": known.name if known else "not one of the published files known here",
        "training data": known.training_data if known else "unknown",
        "licence": known.licence if known else "unknown: find out before you use it",
        "classifier": f"{found.num_classes} identities" if found.num_classes else "none",
    }
    values = {
        "file": str(path),
        "kind": "checkpoint",
        "sha256": found.sha256,
        "architecture": found.architecture,
        "source_format": found.source_format,
        "wrapper": found.wrapper,
        "prefix": found.prefix,
        "beside": list(found.beside),
        "other_states": list(found.other_states),
        "data_types": list(found.data_types),
        "num_classes": found.num_classes,
        "known": known.name if known else None,
        "training_data": lines["training data"],
        "licence": known.licence if known else "unknown",
        "coverage": found.report.json(),
    }
    return _Findings(lines, found.report.table(), values, found.refusal)
