"""The configurations that are worth measuring, and what their embeddings are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from omnireid.embedding.options import Precision, RuntimeName
from omnireid.embedding.run_configuration import RunConfiguration
from omnireid.files import sha256_of
from omnireid.weights.file_kind import GRAPH_KINDS, identify_weights
from omnireid.weights.graph_file import GraphMetadata, read_graph

MEASURED_RUNTIMES: tuple[RuntimeName, ...] = ("onnxruntime", "openvino", "torch")

_PRECISIONS_OF_FLOATS: Mapping[RuntimeName, tuple[Precision, ...]] = {
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16", "fp16"),
    "torch": ("fp32", "bf16"),
}


def list_configurations(
    paths: Sequence[Path], runtimes: Sequence[RuntimeName] = MEASURED_RUNTIMES
) -> list[RunConfiguration]:
    """List every runtime and precision the files may be run in. Some of them may not be possible on this machine.

    Raises:
        WeightsError: a graph is damaged, or was not made by omnireid.
    """
    configurations = []
    for path in paths:
        graph = _graph_metadata(path)
        for runtime in runtimes:
            if graph is None or _computes_freely(graph, runtime):
                precisions = _PRECISIONS_OF_FLOATS[runtime]
            elif runtime == "torch":
                precisions = ("fp32",)  # its refusal is the reason that is shown
            else:
                precisions = (graph.precision,)
            configurations += [RunConfiguration(path, runtime, precision) for precision in precisions]
    return configurations


def find_references(paths: Sequence[Path]) -> dict[Path, RunConfiguration | None]:
    """Map each file to the configuration whose embeddings its own are compared with.

    The reference is torch in float32 where torch is installed, else ONNX Runtime in float32. A graph is compared with
    the weights it was exported from if they are among the files. Otherwise a graph that can be computed in float32 is
    compared with itself, and any other graph has no reference (None).

    Raises:
        WeightsError: a graph is damaged, or was not made by omnireid.
    """
    weights = {sha256_of(path): path for path in paths if identify_weights(path) not in GRAPH_KINDS}
    runtime: RuntimeName = "onnxruntime" if find_spec("torch") is None else "torch"
    references: dict[Path, RunConfiguration | None] = {}
    for path in paths:
        graph = _graph_metadata(path)
        origin = path if graph is None else weights.get(graph.weights_sha256)
        if origin is not None:
            references[path] = RunConfiguration(origin, runtime, "fp32")
            continue
        own: RuntimeName = "openvino" if identify_weights(path) == "openvino" else "onnxruntime"
        can = graph is not None and _computes_freely(graph, own)
        references[path] = RunConfiguration(path, own, "fp32") if can else None
    return references


def _computes_freely(graph: GraphMetadata, runtime: RuntimeName) -> bool:
    """Whether a runtime can compute a graph in another precision than the one it is stored in."""
    if runtime == "torch":
        return False
    return graph.precision == "fp32" or (graph.precision == "fp16" and runtime == "openvino")


def _graph_metadata(path: Path) -> GraphMetadata | None:
    return read_graph(path).metadata if identify_weights(path) in GRAPH_KINDS else None
