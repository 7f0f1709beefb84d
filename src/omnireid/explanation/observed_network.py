"""A network that also shows its last maps, its streams and its gates: our own graph with more outputs, without torch.

Shapes: N crops, C channels, D values of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.embedding.embedder import Embedder
from omnireid.embedding.network import check_threads
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import CheckpointError, ExplanationError, ModelError, first_line, require
from omnireid.images.decode import RgbArray
from omnireid.images.preprocess import Preprocessing
from omnireid.models.graph_builder import INPUT, OUTPUT
from omnireid.models.observed_tensors import ObservedTensors
from omnireid.models.zoo import ARCHITECTURES
from omnireid.types import DoubleArray, FloatArray
from omnireid.weights.graph_file import Graph

if TYPE_CHECKING:
    import onnxruntime


@dataclass(frozen=True, eq=False)
class Head:
    """What turns the average of the last maps over all places into an embedding: a linear layer, and a ReLU or none.

    Where the average itself is the embedding, the layer is the identity. The ReLU then changes nothing, because the
    maps of such networks are nowhere negative.

    Attributes:
        weight: (D, C) float64, with the batch norm folded in.
        bias: (D,) float64, with the batch norm folded in.
        is_rectified: Whether a ReLU follows.
    """

    weight: DoubleArray
    bias: DoubleArray
    is_rectified: bool = True


@dataclass(frozen=True, eq=False)
class ObservedNetwork:
    """A network whose inner tensors can be read.

    Attributes:
        observed: Names of the tensors.
        head: What follows the pooling.
        preprocessing: The input the network expects.
        takes_pixels: Whether its graph normalises pixels itself.
        constant_gates: Name of a gate that does not depend on the input to its (1, C) weights.
        session: ONNX Runtime's session of the graph.
    """

    observed: ObservedTensors
    head: Head
    preprocessing: Preprocessing
    takes_pixels: bool
    constant_gates: Mapping[str, FloatArray] = field(repr=False)
    session: onnxruntime.InferenceSession = field(repr=False)


def check_explainable(weights_file: WeightsFile) -> ObservedTensors:
    """Find the tensors from which embeddings of these weights can be explained.

    Raises:
        ExplanationError: They are of a network whose inner tensors are not known, or a graph that lacks float32.
        WeightsError: The file cannot be used.
    """
    name = weights_file.metadata.architecture
    architecture = ARCHITECTURES.get(name)
    possible = (
        "Possible with any weights: omnireid evaluate --picture, which draws what was found for a query, and search. "
        "Maps need a network that 'omnireid models' lists, and gates an OSNet: as a checkpoint or artefact, or as an "
        "ONNX graph in float32 that omnireid exported."
    )
    if architecture is None:
        raise ExplanationError(
            f"{weights_file.path} holds {name}, a graph made by others, which shows its embeddings and nothing of how "
            f"they came about. {possible}"
        )
    if architecture.observed is None:
        raise ExplanationError(
            f"{weights_file.path} holds {name}, of which omnireid does not know the maps before the pooling. {possible}"
        )
    if weights_file.is_graph:
        graph = weights_file.graph
        if graph.format != "onnx" or graph.metadata.precision != "fp32":
            raise ExplanationError(
                f"{weights_file.path} is a graph for {'OpenVINO' if graph.format == 'openvino' else 'ONNX Runtime'} in "
                f"{graph.metadata.precision}, whose inner tensors are merged or rounded. Give the weights it was "
                f"exported from. {possible}"
            )
    return architecture.observed


def open_observed(embedder: Embedder) -> ObservedNetwork:
    """Open an embedder's weights as a network that can be observed, in float32 on the CPU, whatever the embedder uses.

    Raises:
        ExplanationError: See `check_explainable`.
        CheckpointError: The file of weights has changed since the embedder was loaded, or is gone.
        MissingDependencyError: The library onnx or ONNX Runtime is not installed.
    """
    require("onnx", None, "Explaining an embedding")
    require("onnxruntime", None, "Explaining an embedding")
    options = embedder.opening.options if embedder.opening is not None else None
    weights_file = WeightsFile(embedder.weights, options.architecture if options is not None else None)
    observed = check_explainable(weights_file)
    if weights_file.sha256 != embedder.weights_sha256:
        raise CheckpointError(
            f"{embedder.weights} has changed since the embedder was loaded. Load it again with load_embedder."
        )
    graph = weights_file.graph if weights_file.is_graph else weights_file.make_graph("fp32")
    threads = check_threads(options.threads if options is not None else None)
    return _open_graph(graph, observed, threads)


def run_observed(network: ObservedNetwork, pixels: RgbArray, names: Sequence[str]) -> dict[str, FloatArray]:
    """Run a batch of crops.

    Args:
        network: The network.
        pixels: (n, height, width, 3) uint8 RGB.
        names: Tensors to read, each of them an output of the graph; see `name_outputs`.

    Returns:
        Name to values.
    """
    images = pixels if network.takes_pixels else network.preprocessing.normalise(pixels)
    return dict(zip(names, network.session.run(list(names), {INPUT: images}), strict=True))


def name_outputs(network: ObservedNetwork, *, maps: bool) -> list[str]:
    """Names of the graph's outputs: embeddings, last maps if asked for, stream means, and the computed gates."""
    observed = network.observed
    names = [OUTPUT, *([observed.maps] if maps else [])]
    for block in observed.blocks:
        names += [mean_of(stream) for stream in block.streams]
        names += [gate for gate in block.gates if gate not in network.constant_gates]
    return names


def mean_of(stream: str) -> str:
    """Name of the output that averages a stream over all places, (N, C, 1, 1)."""
    return f"{stream}.mean"


def _open_graph(graph: Graph, observed: ObservedTensors, threads: int) -> ObservedNetwork:
    """Add the observed tensors to the outputs of a graph and open it."""
    import onnx
    import onnx.helper
    import onnx.numpy_helper
    import onnxruntime

    model = onnx.load_from_string(graph.content)
    constants: dict[str, Any] = {constant.name: constant for constant in model.graph.initializer}
    made = {name for node in model.graph.node for name in node.output}
    gates = [gate for block in observed.blocks for gate in block.gates]
    streams = [stream for block in observed.blocks for stream in block.streams]
    head = {name for name in (observed.head_weight, observed.head_bias) if name is not None}
    if missing := sorted({observed.maps, *head, *gates, *streams} - made - set(constants)):
        raise ExplanationError(
            f"{graph.where} lacks {missing[0]}, a tensor that omnireid's graphs of "
            f"{graph.metadata.weights.architecture} have: another program has rewritten it. Give the weights it was "
            "exported from."
        )
    for stream in streams:
        model.graph.node.append(onnx.helper.make_node("GlobalAveragePool", [stream], [mean_of(stream)]))
    for name in [observed.maps, *map(mean_of, streams), *(gate for gate in gates if gate not in constants)]:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))

    def constant(name: str) -> Any:
        return onnx.numpy_helper.to_array(constants[name])

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run {graph.where}: {first_line(error)}"
        ) from error
    return ObservedNetwork(
        observed=observed,
        head=_find_head(observed, constant, graph.metadata.weights.embedding_dimension),
        preprocessing=graph.metadata.weights.preprocessing,
        takes_pixels=graph.metadata.takes_pixels,
        constant_gates={gate: constant(gate).reshape(1, -1) for gate in gates if gate in constants},
        session=session,
    )


def _find_head(observed: ObservedTensors, constant: Callable[[str], Any], embedding_width: int) -> Head:
    """The head among a graph's constants, or the identity of a network without one."""
    if observed.head_weight is None or observed.head_bias is None:
        return Head(np.eye(embedding_width), np.zeros(embedding_width))
    weight, bias = (constant(name).astype(np.float64) for name in (observed.head_weight, observed.head_bias))
    return Head(weight, bias, observed.is_rectified)
