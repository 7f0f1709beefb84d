"""Graphs made by others. Somebody must say what a graph does not, and nothing is guessed or taken on trust."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from omnireid.errors import CheckpointError, WeightsNotFoundError
from omnireid.files import sha256_of
from omnireid.weights.description import WeightsDescription
from omnireid.weights.file_kind import identify_weights
from omnireid.weights.foreign_onnx import adopt_onnx
from omnireid.weights.foreign_openvino import adopt_openvino
from omnireid.weights.graph_file import Graph
from omnireid.weights.published import find_published_file

_FACTS = ("channels", "range", "mean", "std", "distance", "height", "width", "output_name")
"""What a published graph's record decides, whoever describes a copy of it."""


def adopt_graph(path: Path, description: WeightsDescription = WeightsDescription()) -> Graph:
    """Make an artefact of an ONNX or OpenVINO graph that others made.

    The graph must take one batch of images, (N, 3, H, W) float32 or (N, H, W, 3) uint8, and give the embeddings,
    (N, D). An ONNX graph must have a free batch; that of an OpenVINO graph is freed where it is fixed. The graph is run
    before it is adopted: batches of 1, 2 and 7 must give the same embeddings, finite and not all equal. Weights that an
    ONNX graph keeps in files of their own are taken inside. A graph that omnireid knows by its SHA-256 needs no
    description.

    Args:
        path: File of the graph; of OpenVINO's two files the ``.xml``.
        description: What the graph does not say itself.

    Raises:
        WeightsNotFoundError: there is no such file, or an ``.xml`` lacks its ``.bin``.
        CheckpointError: the graph is omnireid's already, has no such input and output, does not embed, or has the
            weights of another graph; or something is not said, or contradicts the graph or what is known of it. The
            message lists all that is missing.
        ShapeError: mean and std cannot belong to pixels in their range.
        MissingDependencyError: the library onnx or OpenVINO is not installed.
    """
    if not path.is_file():
        raise WeightsNotFoundError(f"No such file of weights: {path}.")
    if identify_weights(path) == "openvino":
        return adopt_openvino(path, _complete(path, description))
    return adopt_onnx(path, description)


def _complete(path: Path, description: WeightsDescription) -> WeightsDescription:
    """Add what is known of a published graph to what its user says. The two must not contradict each other."""
    published = find_published_file(sha256_of(path))
    if published is None or published.description is None:
        return description
    for file in published.files:
        beside = path.with_suffix(Path(file.name).suffix)
        if beside.is_file() and file.sha256 not in (None, sha256_of(beside)):
            raise CheckpointError(
                f"{path} is the .xml of {published.name}, but {beside.name} beside it is another file than the one "
                f"published with it (SHA-256 {file.sha256}). Get both again: --weights {published.name} downloads them."
            )
    known = published.described()
    for name in _FACTS:
        said, fact = getattr(description, name), getattr(known, name)
        if said is not None and fact is not None and said != fact:
            flag = name.replace("_", "-")
            raise CheckpointError(
                f"{path} is {published.name}, which has --{flag} {fact}; --{flag} {said} contradicts that. Leave "
                f"--{flag} out."
            )
    given = {entry.name: getattr(description, entry.name) for entry in fields(description)}
    return replace(known, **{name: value for name, value in given.items() if value is not None})
