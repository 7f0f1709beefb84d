"""OpenVINO graphs made by others, turned into artefacts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnireid.errors import CheckpointError, last_line
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.description import WeightsDescription
from omnireid.weights.foreign_interface import (
    CHANNELS,
    Interface,
    check_embeddings,
    choose_output,
    combine,
    describe_foreign,
)
from omnireid.weights.graph_file import Graph, GraphMetadata, GraphPrecision, graph_sha256, read_pair
from omnireid.weights.openvino_model import run_in_fixed_batches, seal_openvino
from omnireid.weights.openvino_xml import check_values, read_outline
from omnireid.weights.runtime_start import FIRST_USE, shared_core


@dataclass(frozen=True)
class _Foreign:
    """A graph as its files say it is.

    Attributes:
        model: OpenVINO's model, with the output of the embeddings alone.
        interface: What it takes and gives.
        layout: Its axes, ``NCHW`` or ``NHWC``.
        batch: The batch it was made for; None where it is free.
    """

    model: Any
    interface: Interface
    layout: str
    batch: int | None


def adopt_openvino(path: Path, description: WeightsDescription) -> Graph:
    """Make an artefact of an OpenVINO graph; see `omnireid.weights.foreign_graph.adopt_graph`.

    The artefact takes uint8 pixels, red, green and blue, whatever the graph took: what a caller would have to do with
    the pixels becomes part of the graph. A fixed batch is freed. Where that is impossible, because the graph reshapes
    to a number of images, it stays, and the runtime fills the last batch up.
    """
    content, values = read_pair(path)
    outline = read_outline(content, str(path))
    if outline.record is not None:
        raise CheckpointError(
            f"{path} is an omnireid graph already: it takes red, green and blue pixels, and describes itself (omnireid "
            "inspect), which no flag can contradict. To change its description, convert the file it was made from."
        )
    check_values(outline, len(values), str(path))
    foreign = _read_model(content, values, path, description.output_name)
    description = replace(description, architecture=description.architecture or path.stem)
    preprocessing = combine(foreign.interface, description, path)
    files = f"{path.name} and its .bin, one after the other"
    weights, identity = describe_foreign(
        foreign.interface, preprocessing, description, files, graph_sha256(content, values)
    )
    metadata = GraphMetadata(weights, _stored_precision(foreign.model), takes_pixels=True, weights_sha256=identity)
    for batch in [None] if foreign.batch is None else [None, foreign.batch]:
        try:
            model = _reshape(foreign, preprocessing, batch, path)
            model = _take_pixels(foreign, model, preprocessing, swap=description.channels == "bgr")
            graph = seal_openvino(model, replace(metadata, fixed_batch=batch), str(path))
            _check(graph, path)
        except CheckpointError:
            if batch == foreign.batch:
                raise
        else:
            return graph
    raise AssertionError("the last batch either returned or raised")


def _read_model(content: bytes, values: bytes, path: Path, output_name: str | None) -> _Foreign:
    import openvino

    try:
        model = shared_core().read_model(content, values)
    except RuntimeError as error:
        raise CheckpointError(
            f"OpenVINO cannot read {path}: {last_line(error)} If it names an unknown operation, the graph needs a "
            "newer OpenVINO or an extension; otherwise get both files again."
        ) from error
    by_name = {_name_of(output): output for output in model.outputs}
    name = choose_output({name: str(output.partial_shape) for name, output in by_name.items()}, path, output_name)
    if len(by_name) > 1:
        model = openvino.Model([by_name[name].node.input_value(0)], model.get_parameters(), model.get_friendly_name())
    return _read_interface(model, name, len(by_name), path)


def _name_of(output: Any) -> str:
    """Name of an output: the tensor's, or where it has none that of the layer."""
    names = sorted(output.get_names())
    return names[0] if names else str(output.node.input_value(0).get_node().get_friendly_name())


def _read_interface(model: Any, name: str, outputs: int, path: Path) -> _Foreign:
    inputs = model.inputs
    axes = _axes(inputs[0]) if len(inputs) == 1 else []
    kind = inputs[0].element_type.get_type_name() if axes else ""
    layout = "NCHW" if len(axes) == 4 and axes[1] == CHANNELS else "NHWC"
    found = _axes(model.output(0))
    dimension = found[1] if len(found) == 2 else None
    is_image = len(axes) == 4 and axes[layout.index("C")] == CHANNELS and kind in ("u8", "f32", "f16")
    if not is_image or dimension is None:
        listed = ", ".join(
            f"{one.element_type.get_type_name()} {one.partial_shape}" for one in [*inputs, model.output(0)]
        )
        raise CheckpointError(
            f"{path} cannot be used for embedding: it must take one batch of images, (N, 3, H, W) or (N, H, W, 3), "
            f"floats or uint8, and give (N, D); its input and output are {listed}. If another output holds the "
            "embeddings, name it with --output-name; otherwise convert the network again."
        )
    height, width = axes[layout.index("H")], axes[layout.index("W")]
    interface = Interface(kind == "u8", height, width, name, dimension, outputs)
    return _Foreign(model, interface, layout, axes[0])


def _axes(port: Any) -> list[int | None]:
    """The axes of an input or output; None for each that is free. Empty if not even their number is fixed."""
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return []
    return [axis.get_length() if axis.is_static else None for axis in shape]


def _stored_precision(model: Any) -> GraphPrecision:
    kinds = {node.get_type_name() for node in model.get_ops()}
    if "FakeQuantize" in kinds:
        return "int8"
    halves = (node.get_element_type().get_type_name() == "f16" for node in model.get_ops() if _is_constant(node))
    return "fp16" if any(halves) else "fp32"


def _is_constant(node: Any) -> bool:
    return bool(node.get_type_name() == "Constant")


def _reshape(foreign: _Foreign, size: Preprocessing, batch: int | None, path: Path) -> Any:
    """A copy of the graph for crops of `size` and a batch that is free, or fixed to `batch`."""
    import openvino

    axes = {"N": -1 if batch is None else batch, "C": CHANNELS, "H": size.height, "W": size.width}
    model = foreign.model.clone()
    try:
        model.reshape(openvino.PartialShape([axes[axis] for axis in foreign.layout]))
        found = _axes(model.output(0))
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} cannot take crops of {size.height} × {size.width} pixels in batches of any size: "
            f"{last_line(error)} Convert the network again with a free batch."
        ) from error
    if found != [batch, foreign.interface.dimension]:
        raise CheckpointError(
            f"{path} does not give one embedding for each crop of a batch: its output is "
            f"{model.output(0).partial_shape}. Convert the network again with a free batch."
        )
    return model


def _take_pixels(foreign: _Foreign, model: Any, preprocessing: Preprocessing, *, swap: bool) -> Any:
    """Let a graph take (N, H, W, 3) uint8 RGB: what it expects to be done to the pixels is done inside."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    processor = PrePostProcessor(model)
    entry = processor.input()
    entry.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    entry.model().set_layout(Layout(foreign.layout))
    steps = entry.preprocess()
    if not foreign.interface.takes_pixels:
        steps.convert_element_type(Type.f32)
        if any(preprocessing.mean):
            steps.mean([255 * value for value in preprocessing.mean])
        if any(255 * value != 1 for value in preprocessing.std):
            steps.scale([255 * value for value in preprocessing.std])
    if swap:
        steps.reverse_channels()
    return processor.build()


def _check(graph: Graph, path: Path) -> None:
    """Run the finished graph, as `omnireid.embedding` will run it, and check its embeddings."""
    core = shared_core()
    batch = graph.metadata.fixed_batch
    with FIRST_USE:
        try:
            model = core.read_model(graph.content, graph.values)
            compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        except RuntimeError as error:
            raise CheckpointError(
                f"OpenVINO cannot run {path}: {last_line(error)} Convert the network again."
            ) from error
        request = compiled.create_infer_request()

        def infer(images: Any) -> Any:
            return request.infer({0: images})[0]

        check_embeddings(
            infer if batch is None else lambda images: run_in_fixed_batches(infer, images, batch), graph.metadata, path
        )
