"""The ways to run files of weights that are worth measuring, and what their embeddings are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from omnireid.embedding.options import Precision, RuntimeName
from omnireid.files import sha256_of
from omnireid.weights.file_kind import GRAPH_KINDS, identify_weights
from omnireid.weights.graph_file import GraphMetadata, read_graph

RUNTIMES: tuple[RuntimeName, ...] = ("onnxruntime", "openvino", "torch")

_OF_FLOATS: Mapping[RuntimeName, tuple[Precision, ...]] = {
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16", "fp16"),
    "torch": ("fp32", "bf16"),
}


@dataclass(frozen=True)
class Way:
    """A file of weights, what runs it and in which precision."""

    weights: Path
    runtime: RuntimeName
    precision: Precision

    @property
    def name(self) -> str:
        """Such as ``openvino bf16``."""
        return f"{self.runtime} {self.precision}"


def list_ways(paths: Sequence[Path], runtimes: Sequence[RuntimeName]) -> list[Way]:
    """Every runtime in every precision that the files may be run in; some of it may not be possible here.

    Raises:
        WeightsError: a graph is damaged or not one of ours.
    """
    ways = []
    for path in paths:
        graph = _graph_metadata(path)
        for runtime in runtimes:
            if graph is None or (graph.precision == "fp32" and runtime != "torch"):
                precisions = _OF_FLOATS[runtime]
            elif runtime == "torch":
                precisions = ("fp32",)  # which says why not
            else:
                precisions = (graph.precision,)
            ways += [Way(path, runtime, precision) for precision in precisions]
    return ways


def find_references(paths: Sequence[Path]) -> dict[Path, Way | None]:
    """File to the way whose embeddings its own are compared with.

    That is torch in float32 where it is installed, else ONNX Runtime. A graph is compared with the weights it was
    exported from where they are among the files, else a float32 graph with itself; the others have no reference.

    Raises:
        WeightsError: a graph is damaged or not one of ours.
    """
    weights = {sha256_of(path): path for path in paths if identify_weights(path) not in GRAPH_KINDS}
    runtime: RuntimeName = "onnxruntime" if find_spec("torch") is None else "torch"
    references: dict[Path, Way | None] = {}
    for path in paths:
        graph = _graph_metadata(path)
        origin = path if graph is None else weights.get(graph.weights_sha256)
        if origin is not None:
            references[path] = Way(origin, runtime, "fp32")
        elif graph is not None and graph.precision == "fp32":
            references[path] = Way(path, "openvino" if identify_weights(path) == "openvino" else "onnxruntime", "fp32")
        else:
            references[path] = None
    return references


def _graph_metadata(path: Path) -> GraphMetadata | None:
    return read_graph(path).metadata if identify_weights(path) in GRAPH_KINDS else None
