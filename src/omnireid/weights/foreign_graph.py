"""ONNX graphs made by others. Somebody must say what a graph does not, and nothing is guessed or taken on trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.errors import CheckpointError, WeightsNotFoundError, first_line, require
from omnireid.files import sha256_of
from omnireid.images.preprocess import Preprocessing
from omnireid.images.probes import probe_crops
from omnireid.types import FloatArray
from omnireid.weights.artefact import METADATA_KEY, WeightsMetadata
from omnireid.weights.description import WeightsDescription
from omnireid.weights.graph_file import Graph, GraphMetadata, open_bare, seal_onnx

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_CHANNELS = 3
_MOST = 7  # crops of the largest batch that is tried
_TOLERANCE = 1e-3
"""How far a crop's embedding may move with the size of its batch, relative to its length: sums round differently."""


@dataclass(frozen=True)
class _Interface:
    """What a graph takes and gives, as far as it says so itself."""

    takes_pixels: bool
    height: int | None
    width: int | None
    output: str
    dimension: int


def adopt_graph(path: Path, description: WeightsDescription = WeightsDescription()) -> Graph:
    """Make an artefact of an ONNX graph that others made.

    The graph must take one batch of images, (N, 3, H, W) float32 or (N, H, W, 3) uint8, with N free, and give the
    embeddings, (N, D). It is run before it is adopted: batches of 1, 2 and 7 must give the same embeddings, finite and
    not all equal. Weights that the graph keeps in files of their own are taken inside.

    Args:
        path: File of the graph.
        description: What the graph does not say itself.

    Raises:
        WeightsNotFoundError: there is no such file.
        CheckpointError: the graph is omnireid's already, has no such input and output, does not embed, or lacks its
            weights; or something is not said, or said differently by the graph. The message lists all that is missing.
        ShapeError: mean and std cannot belong to pixels in [0, 1].
        MissingDependencyError: the library onnx is not installed.
    """
    if not path.is_file():
        raise WeightsNotFoundError(f"No such file of weights: {path}.")
    model = _read_whole_model(path)
    session = open_bare(model.SerializeToString(), str(path))
    if METADATA_KEY in session.get_modelmeta().custom_metadata_map:
        raise CheckpointError(
            f"{path} is an omnireid graph already, and describes itself (omnireid inspect). To change its description, "
            "convert the weights it was made from, and export those with: omnireid export"
        )
    interface = _read_interface(session, path, description.output_name)
    preprocessing = _combine(interface, description, path)
    outputs = [output for output in model.graph.output if output.name == interface.output]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    weights = WeightsMetadata(
        description.architecture or "",
        interface.dimension,
        preprocessing,
        distance=description.distance or "euclidean",
        training_data=description.training_data or "unknown",
        licence=description.licence or "unknown",
        origin=f"{path.name}, SHA-256 {sha256_of(path)}",
    )
    metadata = GraphMetadata(weights, "fp32", interface.takes_pixels, sha256_of(path))
    content = seal_onnx(model.SerializeToString(), metadata)
    _check_embeddings(open_bare(content, str(path)), metadata, path)
    return Graph("onnx", content, metadata, where=str(path))


def _read_whole_model(path: Path) -> onnx.ModelProto:
    """Read a graph, with the weights that it keeps in other files."""
    require("onnx", None, "Reading a graph made by others")
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as an ONNX graph ({first_line(error)}). Was the download or copy cut short? Get it "
            "again."
        ) from error
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:
        raise CheckpointError(
            f"{path} keeps its weights in a file of its own, which cannot be read: {first_line(error)}. Put that file "
            "beside the graph, under its original name."
        ) from error
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise CheckpointError(f"{path} is larger than an ONNX file with its weights inside can be (2 GiB).")
    return model


def _read_interface(session: onnxruntime.InferenceSession, path: Path, output_name: str | None) -> _Interface:
    inputs = session.get_inputs()
    output = _choose_output(session.get_outputs(), path, output_name)
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    kind = inputs[0].type if shape else ""
    takes_pixels = kind == "tensor(uint8)" and len(shape) == 4 and shape[3] == _CHANNELS
    takes_floats = kind == "tensor(float)" and len(shape) == 4 and shape[1] == _CHANNELS
    dimension = output.shape[-1] if len(output.shape) == 2 else None
    if not (takes_pixels or takes_floats) or isinstance(shape[0], int) or not isinstance(dimension, int):
        found = ", ".join(f"{one.type} {one.shape}" for one in [*inputs, output])
        raise CheckpointError(
            f"{path} cannot be used for embedding: it must take one batch of any size, (N, 3, H, W) float32 or "
            f"(N, H, W, 3) uint8, and give (N, D); its input and output are {found}. Export it again with a free batch."
        )
    rows, columns = shape[1:3] if takes_pixels else shape[2:4]
    height, width = (axis if isinstance(axis, int) else None for axis in (rows, columns))
    return _Interface(takes_pixels, height, width, output.name, dimension)


def _choose_output(outputs: Sequence[Any], path: Path, name: str | None) -> Any:
    """The output with the embeddings. Several outputs, such as embeddings and logits, are told apart by name only."""
    by_name = {output.name: output for output in outputs}
    listed = ", ".join(f"{output.name} {output.shape}" for output in outputs)
    if name is not None and name not in by_name:
        raise CheckpointError(f"{path} has no output {name!r}. Its outputs are: {listed}.")
    if name is None and len(outputs) != 1:
        raise CheckpointError(
            f"{path} has {len(outputs)} outputs, and nothing is guessed: {listed}. Name the one with the embeddings: "
            "--output-name NAME"
        )
    return outputs[0] if name is None else by_name[name]


def _combine(interface: _Interface, description: WeightsDescription, path: Path) -> Preprocessing:
    """What the graph and the user say of its input together. They must not disagree, and nothing may be missing."""
    for flag, said, axis in (
        ("--height", description.height, interface.height),
        ("--width", description.width, interface.width),
    ):
        if said is not None and axis is not None and axis != said:
            raise CheckpointError(
                f"{path} takes crops of {interface.height} × {interface.width} only, not {flag} {said}. "
                f"Leave {flag} out."
            )
    height, width = interface.height or description.height, interface.width or description.width
    wanted: dict[str, object] = {"--architecture": description.architecture, "--height": height, "--width": width}
    if not interface.takes_pixels:
        wanted |= {"--mean": description.mean, "--std": description.std}
    if missing := [flag for flag, value in wanted.items() if value is None]:
        raise CheckpointError(
            f"{path} does not say all that its use needs, and nothing is guessed. Say {', '.join(missing)}: whoever "
            "made it knows."
        )
    assert height is not None
    assert width is not None
    preprocessing = Preprocessing(height, width)
    if description.mean is not None and description.std is not None:
        return replace(preprocessing, mean=description.mean, std=description.std)
    return preprocessing


def _check_embeddings(session: onnxruntime.InferenceSession, metadata: GraphMetadata, path: Path) -> None:
    """Run a graph on drawn crops, and check that it gives each crop an embedding of its own."""
    size = metadata.weights.preprocessing
    crops = probe_crops(_MOST, size.height, size.width)
    images = crops if metadata.takes_pixels else size.normalise(crops)
    whole = _run(session, images, metadata, path)
    if np.ptp(whole, axis=0).max() <= 1e-6 * np.abs(whole).max():
        raise CheckpointError(
            f"{path} gives {_MOST} different crops the same embedding, so nothing can be told apart by it. Is it "
            "trained, and are mean and std right?"
        )
    single = np.concatenate([_run(session, images[i : i + 1], metadata, path) for i in range(_MOST)])
    pair = _run(session, images[:2], metadata, path)
    lengths = np.linalg.norm(whole, axis=1)
    for batch, found in ((1, single), (2, pair)):
        distances = np.linalg.norm(found - whole[: len(found)], axis=1)
        if (distances > _TOLERANCE * lengths[: len(found)]).any():
            raise CheckpointError(
                f"{path} gives a crop another embedding in a batch of {batch} than in a batch of {_MOST}, so its rows "
                "are not independent. Export it again from a network in evaluation mode (model.eval())."
            )


def _run(session: onnxruntime.InferenceSession, images: Any, metadata: GraphMetadata, path: Path) -> FloatArray:
    try:
        (found,) = session.run(None, {session.get_inputs()[0].name: images})
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be run on a batch of {len(images)} crops ({first_line(error)}). Export it again with a "
            "free batch."
        ) from error
    embeddings = np.asarray(found, dtype=np.float32)
    expected = (len(images), metadata.weights.embedding_dimension)
    if embeddings.shape != expected:
        raise CheckpointError(
            f"{path} gives {embeddings.shape} for a batch of {len(images)} crops, and not {expected}. Export it again "
            "with a free batch."
        )
    if not np.isfinite(embeddings).all():
        raise CheckpointError(f"{path} gives values that are not finite. Are its weights, mean and std right?")
    return embeddings
