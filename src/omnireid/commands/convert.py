"""``omnireid convert``: a checkpoint into an artefact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from omnireid.commands.options import OptionalNumber, OptionalText, WeightsPositional

if TYPE_CHECKING:
    from omnireid.weights.artefact import WeightsMetadata

ColourOption = Annotated[tuple[float, float, float] | None, tyro.conf.arg(metavar="R G B")]
DistanceOption = Annotated[Literal["euclidean", "cosine"] | None, tyro.conf.arg(metavar="{euclidean,cosine}")]


def convert(
    weights: WeightsPositional,
    *,
    output: Path,
    architecture: OptionalText = None,
    licence: OptionalText = None,
    training_data: OptionalText = None,
    distance: DistanceOption = None,
    height: OptionalNumber = None,
    width: OptionalNumber = None,
    mean: ColourOption = None,
    std: ColourOption = None,
    half: bool = False,
) -> None:
    """Turn a checkpoint into an omnireid artefact: one safe file that says what it is and how to use it.

    The artefact is a safetensors file with architecture, input size, mean and std,
    distance, training data, licence and a checksum in its metadata. A classifier is
    left out. Given an artefact, it writes it again with what is named here changed. An ONNX
    graph that others made becomes an artefact too (--output OURS.onnx); what it does not say
    of its use must be said here.

    Example: omnireid convert osnet_x0_25_market1501.pth --output osnet_x0_25.safetensors

    Args:
        weights: a checkpoint (.pth, .pt, .pth.tar), an ONNX graph, hf://owner/repository/file, https://…#sha256=…, or
            a name that ships with omnireid.
        output: the artefact to write, ending in .safetensors; of an ONNX graph, in .onnx.
        architecture: of a checkpoint whose keys do not tell.
        licence: terms of the weights in one line; by default what is known of the file.
        training_data: what they were trained on; by default what is known of the file.
        distance: how their embeddings are meant to be compared; euclidean unless the file says otherwise.
        height: input height they were trained at, in pixels; 256 unless the file says otherwise.
        width: input width they were trained at, in pixels; 128 unless the file says otherwise.
        mean: of R, G and B in [0, 1], which an ONNX graph expects to be subtracted from its input.
        std: likewise, divided by.
        half: store weights in half precision: half the size, nearly the same embeddings.
    """
    from dataclasses import replace

    from omnireid.embedding.torch_runtime import load_weights
    from omnireid.errors import ExportError, OutputError
    from omnireid.files import sha256_of
    from omnireid.weights.artefact import halve, write_artefact
    from omnireid.weights.fetch import resolve_weights

    path = resolve_weights(weights)
    suffix = ".onnx" if path.suffix == ".onnx" else ".safetensors"
    if output.suffix != suffix:
        raise OutputError(f"This artefact's name ends in {suffix}; got {output}. Try {output.with_suffix(suffix)}.")
    if path.suffix == ".onnx":
        if half:
            raise ExportError(f"{path} is a graph, which convert leaves as it is: leave --half out.")
        said = {"licence": licence, "training_data": training_data, "distance": distance}
        _adopt(path, output, architecture, (height, width), (mean, std), said)
        return
    model, found = load_weights(path, architecture=architecture)
    size = found.preprocessing
    size = replace(size, height=size.height if height is None else height, width=size.width if width is None else width)
    metadata = replace(
        found,
        preprocessing=size,
        distance=distance or found.distance,
        licence=licence or found.licence,
        training_data=training_data or found.training_data,
        origin=f"{path.name}, SHA-256 {sha256_of(path)}",
    )
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    write_artefact(output, halve(tensors) if half else tensors, metadata)
    _tell(output, metadata)


def _adopt(
    path: Path,
    output: Path,
    architecture: str | None,
    size: tuple[int | None, int | None],
    colours: tuple[tuple[float, float, float] | None, tuple[float, float, float] | None],
    said: dict[str, str | None],
) -> None:
    """Make an artefact of an ONNX graph that others made."""
    from omnireid.weights.artefact import WeightsMetadata
    from omnireid.weights.foreign_graph import adopt_graph
    from omnireid.weights.graph_file import write_graph

    known = WeightsMetadata("", **{name: value for name, value in said.items() if value is not None})  # type: ignore[arg-type]
    graph = adopt_graph(
        path,
        architecture=architecture,
        height=size[0],
        width=size[1],
        mean=colours[0],
        std=colours[1],
        metadata=known,
    )
    write_graph(output, graph)
    _tell(output, graph.metadata.weights)


def _tell(output: Path, metadata: WeightsMetadata) -> None:
    size = metadata.preprocessing
    print(f"{output}: {metadata.architecture}, {size.height} × {size.width}, licence: {metadata.licence}")
    if metadata.licence == "unknown":
        print("Nobody said on what terms these weights may be used. Find out, and say so with --licence.")
