"""ONNX graphs that others made: what they do not say must be said once, and nothing is guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from omnireid.errors import CheckpointError, WeightsNotFoundError
from omnireid.files import sha256_of
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import METADATA_KEY, WeightsMetadata
from omnireid.weights.graph_file import Graph, GraphMetadata, open_bare, seal_onnx

_CHANNELS = 3


def adopt_graph(
    path: Path,
    *,
    architecture: str | None,
    height: int | None,
    width: int | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    metadata: WeightsMetadata | None = None,
) -> Graph:
    """Make an artefact of an ONNX graph without omnireid's metadata.

    Its input must be one batch of images, (N, 3, H, W) float32 or (N, H, W, 3) uint8, with N free; its first output
    the embeddings, (N, D).

    Args:
        path: the graph.
        architecture: what it is called.
        height: of its input, in pixels, where the graph leaves it open.
        width: likewise.
        mean: of R, G, B in [0, 1], that its float input expects to be subtracted.
        std: likewise, divided by.
        metadata: what else is known: licence, training data, distance.

    Raises:
        WeightsNotFoundError: no such file.
        CheckpointError: one of ours already; no such input and output; or something is not said, or said otherwise by
            the graph; the message lists all that is missing.
        MissingDependencyError: the library onnx is not installed.
    """
    if not path.is_file():
        raise WeightsNotFoundError(f"No such file of weights: {path}.")
    content = path.read_bytes()
    session = open_bare(content, str(path))
    if METADATA_KEY in session.get_modelmeta().custom_metadata_map:
        raise CheckpointError(
            f"{path} is an omnireid graph already, and says all of its use (omnireid inspect). To change what it says, "
            "convert the weights it was made from, and export those with: omnireid export"
        )
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    kind = inputs[0].type if shape else ""
    takes_pixels = kind == "tensor(uint8)" and len(shape) == 4 and shape[3] == _CHANNELS
    takes_floats = kind == "tensor(float)" and len(shape) == 4 and shape[1] == _CHANNELS
    dimension = outputs[0].shape[-1] if len(outputs[0].shape) == 2 else None
    if not (takes_pixels or takes_floats) or isinstance(shape[0], int) or not isinstance(dimension, int):
        found = ", ".join(f"{one.type} {one.shape}" for one in [*inputs, outputs[0]])
        raise CheckpointError(
            f"{path} cannot be used for embedding: it must take one batch of any size, (N, 3, H, W) float32 or "
            f"(N, H, W, 3) uint8, and give (N, D); its input and output are {found}. Export it again with a free batch."
        )
    rows, columns = (shape[1], shape[2]) if takes_pixels else (shape[2], shape[3])
    for flag, said, axis in (("--height", height, rows), ("--width", width, columns)):
        if said is not None and isinstance(axis, int) and axis != said:
            raise CheckpointError(
                f"{path} takes crops of {rows} × {columns} only, not {flag} {said}. Leave {flag} out."
            )
    height, width = (axis if isinstance(axis, int) else said for axis, said in ((rows, height), (columns, width)))
    wanted: dict[str, object] = {"--architecture": architecture, "--height": height, "--width": width}
    if takes_floats:
        wanted |= {"--mean": mean, "--std": std}
    if missing := [flag for flag, value in wanted.items() if value is None]:
        raise CheckpointError(
            f"{path} does not say all that its use needs, and nothing is guessed. Say {', '.join(missing)}: whoever "
            "made it knows."
        )
    assert height is not None
    assert width is not None
    size = Preprocessing(height, width)
    if mean is not None and std is not None:
        size = replace(size, mean=mean, std=std)
    weights = replace(
        metadata or WeightsMetadata("", dimension),
        architecture=architecture or "",
        embedding_dimension=dimension,
        preprocessing=size,
        origin=f"{path.name}, SHA-256 {sha256_of(path)}",
    )
    described = GraphMetadata(weights, "fp32", takes_pixels, sha256_of(path))
    return Graph("onnx", seal_onnx(content, described), described, where=str(path))
