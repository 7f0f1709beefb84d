"""ONNX graphs made by others, turned into artefacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.errors import CheckpointError, first_line, require
from omnireid.files import sha256_of
from omnireid.weights.artefact import METADATA_KEY
from omnireid.weights.description import WeightsDescription
from omnireid.weights.foreign_interface import (
    CHANNELS,
    Interface,
    check_embeddings,
    choose_output,
    combine,
    describe_foreign,
)
from omnireid.weights.graph_file import Graph, GraphMetadata, open_bare, seal_onnx

if TYPE_CHECKING:
    import onnx
    import onnxruntime


def adopt_onnx(path: Path, description: WeightsDescription) -> Graph:
    """Make an artefact of an ONNX graph; see `omnireid.weights.foreign_graph.adopt_graph`.

    A graph that takes blue, green and red gets a step in front that swaps the channels, so that every artefact takes
    red, green and blue.
    """
    model = _read_whole_model(path)
    session = open_bare(model.SerializeToString(), str(path))
    if METADATA_KEY in session.get_modelmeta().custom_metadata_map:
        raise CheckpointError(
            f"{path} is an omnireid graph already, and describes itself (omnireid inspect). To change its description, "
            "convert the weights it was made from, and export those with: omnireid export"
        )
    interface = _read_interface(session, path, description.output_name)
    preprocessing = combine(interface, description, path)
    outputs = [output for output in model.graph.output if output.name == interface.output]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    if description.channels == "bgr":
        _swap_channels(model, axis=3 if interface.takes_pixels else 1)
    weights, identity = describe_foreign(interface, preprocessing, description, path.name, sha256_of(path))
    metadata = GraphMetadata(weights, "fp32", interface.takes_pixels, identity)
    content = seal_onnx(model.SerializeToString(), metadata)
    session = open_bare(content, str(path))
    name = session.get_inputs()[0].name
    check_embeddings(lambda images: session.run(None, {name: images})[0], metadata, path)
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


def _read_interface(session: onnxruntime.InferenceSession, path: Path, output_name: str | None) -> Interface:
    inputs = session.get_inputs()
    by_name = {output.name: output for output in session.get_outputs()}
    output = by_name[choose_output({name: one.shape for name, one in by_name.items()}, path, output_name)]
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    kind = inputs[0].type if shape else ""
    takes_pixels = kind == "tensor(uint8)" and len(shape) == 4 and shape[3] == CHANNELS
    takes_floats = kind == "tensor(float)" and len(shape) == 4 and shape[1] == CHANNELS
    dimension = output.shape[-1] if len(output.shape) == 2 else None
    if not (takes_pixels or takes_floats) or isinstance(shape[0], int) or not isinstance(dimension, int):
        found = ", ".join(f"{one.type} {one.shape}" for one in [*inputs, output])
        raise CheckpointError(
            f"{path} cannot be used for embedding: it must take one batch of any size, (N, 3, H, W) float32 or "
            f"(N, H, W, 3) uint8, and give (N, D); its input and output are {found}. Export it again with a free batch."
        )
    rows, columns = shape[1:3] if takes_pixels else shape[2:4]
    height, width = (axis if isinstance(axis, int) else None for axis in (rows, columns))
    return Interface(takes_pixels, height, width, output.name, dimension, len(by_name))


def _swap_channels(model: onnx.ModelProto, axis: int) -> None:
    """Put a step in front of a graph that reverses the channels of its input."""
    import onnx

    graph: Any = model.graph
    kept = {tensor.name for tensor in graph.initializer}
    name = next(entry.name for entry in graph.input if entry.name not in kept)
    swapped, order = f"{name}_bgr", f"{name}_bgr_order"
    for node in graph.node:
        node.input[:] = [swapped if taken == name else taken for taken in node.input]
    graph.initializer.append(onnx.helper.make_tensor(order, onnx.TensorProto.INT64, [CHANNELS], [2, 1, 0]))
    graph.node.insert(0, onnx.helper.make_node("Gather", [name, order], [swapped], axis=axis))
