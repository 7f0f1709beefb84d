"""What a file of weights is, whether or not it can be used. No torch is needed, and nothing in the file is executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnireid.errors import OmnireidError
from omnireid.files import sha256_of
from omnireid.weights.artefact import WeightsMetadata, check_architecture, read_artefact, sha256_of_tensors
from omnireid.weights.checkpoint import inspect_checkpoint
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.file_kind import GRAPH_KINDS, identify_weights
from omnireid.weights.graph_file import GraphMetadata, read_graph
from omnireid.weights.published import find_published_file
from omnireid.weights.shipped import DEFAULT_WEIGHTS
from omnireid.weights.source import read_weights

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, eq=False)
class WeightsExamination:
    """What there is to say about a file of weights.

    Attributes:
        facts: Label to text, in the order they are shown.
        coverage: How the file covers its network, key by key, as text.
        values: The same as plain values; see `json`.
        refusal: Why `load_embedder` would refuse the file, or None if it would not.
    """

    facts: Mapping[str, str]
    coverage: str
    values: Mapping[str, Any]
    refusal: str | None

    @property
    def usable(self) -> bool:
        """Whether `load_embedder` would take the file."""
        return self.refusal is None

    def table(self) -> str:
        """The facts, one a line, and the coverage."""
        width = max(map(len, self.facts))
        return "\n".join([*(f"{label:<{width}}  {text}" for label, text in self.facts.items()), self.coverage])

    def json(self) -> dict[str, Any]:
        """Everything as plain values, ready for ``json.dumps``."""
        return dict(self.values)


def examine(
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS, *, architecture: str | None = None, state: str | None = None
) -> WeightsExamination:
    """Say what a file of weights is, its licence, and how it covers its network.

    A file that `load_embedder` would refuse is reported key by key all the same: see `WeightsExamination.refusal`.

    Args:
        weights: A file, address or name, as for `load_embedder`.
        architecture: Name of the network to compare the file with. By default the one an artefact or a graph names,
            or the one that fits a checkpoint best.
        state: Entry of a checkpoint to take the weights from, such as ``ema``; None takes the usual one.

    Raises:
        WeightsNotFoundError: no such file or name.
        WeightsError: the file cannot be read at all, or is no file of weights.
        ModelError: no such architecture, or an artefact or graph of another one.
    """
    path = resolve_weights(weights)
    kind = identify_weights(path)
    if kind in GRAPH_KINDS:
        return _examine_graph(path, architecture)
    if kind == "artefact":
        return _examine_artefact(path, architecture)
    return _examine_checkpoint(path, architecture, state)


def _examine_artefact(path: Path, architecture: str | None) -> WeightsExamination:
    from omnireid.models.coverage import compare
    from omnireid.models.zoo import ARCHITECTURES

    tensors, metadata = read_artefact(path)
    check_architecture(path, metadata, architecture)
    refusal = report = None
    try:
        read_weights(path)
    except OmnireidError as error:
        refusal = str(error)
    shown = f"coverage      not checked: no network {metadata.architecture!r} is known here"
    if metadata.architecture in ARCHITECTURES:
        found = {name: tensor.shape for name, tensor in tensors.items()}
        report, _ = compare(metadata.architecture, found, ARCHITECTURES[metadata.architecture].key_layout.shapes)
        shown = report.table()
    parameters = sum(tensor.size for name, tensor in tensors.items() if not name.endswith(_STATISTICS))
    sha256 = sha256_of(path)
    facts = {
        "file": str(path),
        "kind": "omnireid artefact (safetensors); its tensors match their checksum",
        "sha256": sha256,
        "architecture": metadata.architecture,
        "parameters": f"{parameters:,} ({', '.join(sorted({str(tensor.dtype) for tensor in tensors.values()}))})",
        **_facts_of(metadata),
    }
    values = {
        "file": str(path),
        "kind": "artefact",
        "sha256": sha256,
        "parameters": parameters,
        "tensors_sha256": sha256_of_tensors(tensors),
        "metadata": metadata.json(),
        "coverage": None if report is None else report.json(),
    }
    return WeightsExamination(facts, shown, values, refusal)


def _examine_graph(path: Path, architecture: str | None) -> WeightsExamination:
    graph = read_graph(path)
    described, metadata = graph.metadata, graph.metadata.weights
    check_architecture(path, metadata, architecture)
    sha256 = sha256_of(path)
    takes = "(N, H, W, 3) uint8, normalised inside" if described.takes_pixels else "(N, 3, H, W) float32, normalised"
    facts = {
        "file": str(path),
        "kind": f"omnireid graph ({graph.format}, {described.precision}); it matches its checksum",
        "sha256": sha256,
        "weights": f"SHA-256 {described.weights_sha256}",
        "architecture": metadata.architecture,
        "takes": takes,
    }
    if described.precision == "int8":
        facts["in float32"] = ", ".join(described.kept_in_float) or "nothing: every layer is int8"
    if described.attributes:
        facts["attributes"] = f"second output: {', '.join(described.attributes)}"
    facts |= _facts_of(metadata)
    values = {"file": str(path), "kind": "graph", "format": graph.format, "sha256": sha256, **described.json()}
    if _is_foreign(described):
        shown = "coverage      not checked: others made the graph, and there are no weights to compare it with"
    else:
        shown = "coverage      compared with torch when it was exported"
    return WeightsExamination(facts, shown, values, None)


def _is_foreign(graph: GraphMetadata) -> bool:
    """Whether others made the graph: then what its weights came from is the graph that was converted."""
    return graph.weights.origin.endswith(f" {graph.weights_sha256}")


def _examine_checkpoint(path: Path, architecture: str | None, state: str | None) -> WeightsExamination:
    found = inspect_checkpoint(path, architecture, state=state)
    known, described = find_published_file(found.sha256), found.described
    terms = known or described
    training_data, licence = (terms.training_data, terms.licence) if terms else ("unknown", "unknown")
    wrapping = [f"under {found.wrapper!r}" if found.wrapper else "", f"prefix {found.prefix!r}" if found.prefix else ""]
    wrapping.append(f"beside {', '.join(found.beside)}" if found.beside else "")
    written = "safetensors file" if found.source_format == "safetensors" else f"{found.source_format} format"
    made_as = "checkpoint" if found.config is None else "model of roboflow's reid"
    facts = {
        "file": str(path),
        "kind": f"{made_as}, {written}, {', '.join(found.data_types)}",
        "wrapping": ", ".join(filter(None, wrapping)) or "a bare state dict",
        "sha256": found.sha256,
        "known as": known.name if known else "not one of the published files known here",
        "training data": training_data,
        "licence": "unknown: find out before you use it" if licence == "unknown" else licence,
        "classifier": f"{found.num_classes} identities" if found.num_classes else "none",
    }
    if described is not None:
        facts |= {label: text for label, text in _facts_of(described).items() if label in ("input", "embedding")}
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
        "training_data": training_data,
        "licence": licence,
        "metadata": None if described is None else described.json(),
        "coverage": found.report.json(),
    }
    return WeightsExamination(facts, found.report.table(), values, found.refusal)


def _facts_of(metadata: WeightsMetadata) -> dict[str, str]:
    size = metadata.preprocessing
    return {
        "input": f"{size.height} × {size.width} (height × width), mean {size.mean}, std {size.std}",
        "embedding": f"{metadata.embedding_dimension} values, compared by {metadata.distance} distance",
        "training data": metadata.training_data,
        "licence": metadata.licence,
        "metrics": ", ".join(f"{name} {value:.4f}" for name, value in metadata.metrics.items()) or "none stated",
        "made from": metadata.origin,
    }
