"""``omnireid convert``: a checkpoint into an artefact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omnireid.commands.options import StateOption, WeightsPositional
from omnireid.weights.description import WeightsDescription

if TYPE_CHECKING:
    from omnireid.weights.artefact import WeightsMetadata


def convert(
    weights: WeightsPositional,
    *,
    output: Path,
    description: WeightsDescription = WeightsDescription(),
    state: StateOption = None,
    half: bool = False,
) -> None:
    """Turn a checkpoint into an omnireid artefact: one safe file that says what it is and how to use it.

    The artefact is a safetensors file whose metadata holds the architecture, input
    size, mean and standard deviation, distance, training data, licence and a
    checksum. A classifier is left out. An artefact is written again, with the
    values given here changed. An ONNX graph made by others becomes an artefact too
    (--output OURS.onnx); flags must say whatever the graph does not say. It is run
    first, and refused unless it gives each crop an embedding of its own.

    Example: omnireid convert osnet_x0_25_market1501.pth --output osnet_x0_25.safetensors

    Args:
        output: Artefact to write. Its name ends in .safetensors, or in .onnx for an ONNX graph.
        description: What the file does not say.
        half: Store the weights in half precision, which halves the size and hardly changes the embeddings.
    """
    from dataclasses import replace

    from omnireid.errors import ExportError
    from omnireid.files import check_output, sha256_of
    from omnireid.weights.artefact import halve, write_artefact
    from omnireid.weights.fetch import resolve_weights
    from omnireid.weights.file_kind import identify_weights
    from omnireid.weights.foreign_graph import adopt_graph
    from omnireid.weights.graph_file import write_graph
    from omnireid.weights.source import read_weights

    path = resolve_weights(weights)
    kind = identify_weights(path)
    suffix = ".onnx" if kind == "onnx" else ".safetensors"
    check_output(output, suffix=suffix, inputs=[path])
    if kind == "onnx":
        if half:
            raise ExportError(f"{path} is a graph, whose weights convert does not change: leave --half out.")
        graph = adopt_graph(path, description)
        write_graph(output, graph)
        _print_summary(output, graph.metadata.weights)
        return
    if description.output_name is not None:
        raise ExportError(f"{path} is no ONNX graph, and only a graph has outputs: leave --output-name out.")
    tensors, found = read_weights(path, architecture=description.architecture, state=state)
    size = found.preprocessing
    height = size.height if description.height is None else description.height
    width = size.width if description.width is None else description.width
    metadata = replace(
        found,
        preprocessing=replace(size, height=height, width=width),
        distance=description.distance or found.distance,
        licence=description.licence or found.licence,
        training_data=description.training_data or found.training_data,
        origin=f"{path.name if kind == 'artefact' else found.origin}, SHA-256 {sha256_of(path)}",
    )
    write_artefact(output, halve(tensors) if half else tensors, metadata)
    _print_summary(output, metadata)


def _print_summary(output: Path, metadata: WeightsMetadata) -> None:
    size = metadata.preprocessing
    print(f"{output}: {metadata.architecture}, {size.height} × {size.width}, licence: {metadata.licence}")
    if metadata.licence == "unknown":
        print("Nobody said on what terms these weights may be used. Find out, and add --licence.")
