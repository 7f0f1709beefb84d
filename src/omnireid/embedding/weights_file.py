"""A file of weights and the ways to run it: read or turned into a graph once, however many ways are tried."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from omnireid.embedding.choice import Candidate
from omnireid.embedding.network import Network
from omnireid.embedding.options import Precision, RuntimeName
from omnireid.errors import CheckpointError
from omnireid.files import sha256_of
from omnireid.weights.artefact import Tensors, WeightsMetadata, check_architecture, read_artefact
from omnireid.weights.graph_file import GRAPH_SUFFIXES, Graph, GraphMetadata, read_graph
from omnireid.weights.shipped import weights_folder


class WeightsFile:
    """A graph, an artefact or a checkpoint; nothing is read before it is asked for.

    Args:
        path: the file.
        architecture: of a checkpoint whose keys do not tell; of the others, what they must be.
    """

    def __init__(self, path: Path, architecture: str | None = None) -> None:
        self.path = path
        self._architecture = architecture

    @cached_property
    def metadata(self) -> WeightsMetadata:
        """What the weights are.

        Raises:
            WeightsError: the file cannot be used.
            ModelError: it is of another architecture.
            MissingDependencyError: it is a checkpoint, and torch is not installed.
        """
        return self.graph.metadata.weights if self._ready_graph is not None else self.weights[1]

    @property
    def sha256(self) -> str:
        """Of the weights; see `Embedder.weights_sha256`."""
        if self._ready_graph is not None and self.graph.metadata.precision != "int8":
            return self.graph.metadata.weights_sha256
        return sha256_of(self.path)

    @cached_property
    def weights(self) -> tuple[Tensors, WeightsMetadata]:
        """The network's tensors and metadata of an artefact, without torch, or of a checkpoint, with it."""
        if self.path.suffix == ".safetensors":
            tensors, metadata = read_artefact(self.path)
            check_architecture(self.path, metadata, self._architecture)
            return tensors, metadata
        from omnireid.embedding.torch_runtime import load_weights

        model, metadata = load_weights(self.path, architecture=self._architecture)
        return {name: tensor.numpy() for name, tensor in model.state_dict().items()}, metadata

    @cached_property
    def graph(self) -> Graph:
        """The graph as it is stored; in float32 where it is made here.

        Raises:
            MissingDependencyError: it is to be made here, and the library onnx is not installed.
            CheckpointError: it cannot be read, or the graph beside the weights of the package is of others.
        """
        if self._ready_graph is None:
            return self.make_graph("fp32")
        graph = read_graph(self._ready_graph)
        if self._ready_graph != self.path and graph.metadata.weights_sha256 != sha256_of(self.path):
            raise CheckpointError(
                f"{self._ready_graph} was not made from {self.path} beside it. Reinstall omnireid; or make it again "
                f"with: omnireid export {self.path} --output {self._ready_graph}"
            )
        check_architecture(self.path, graph.metadata.weights, self._architecture)
        return graph

    @cached_property
    def _ready_graph(self) -> Path | None:
        """The file that is a graph already; the weights of the package have theirs beside them."""
        if self.path.suffix in GRAPH_SUFFIXES:
            return self.path
        beside = self.path.with_suffix(".onnx")
        return beside if self.path.parent == weights_folder() and beside.is_file() else None

    def make_graph(self, precision: Literal["fp32", "fp16"], *, takes_pixels: bool = True) -> Graph:
        """Build the graph in ``fp32`` or ``fp16``."""
        tensors, weights = self.weights
        metadata = GraphMetadata(weights, precision, takes_pixels, sha256_of(self.path))
        return make_graph(tensors, metadata, where=str(self.path))

    def candidates(
        self, runtime: RuntimeName, precision: Precision, *, device: str, threads: int | None
    ) -> Sequence[Candidate]:
        """The ways to run it that `runtime` and `precision` leave open, the reference first.

        torch is one of them where it is asked for or there is an NVIDIA GPU, and else the last resort: on a CPU its
        eager steps are several times slower than the others (benchmarks/embedding.py), and importing it takes longer
        than trying those.
        """
        own: Precision = "fp32" if self._ready_graph is None else self.graph.metadata.precision
        graphs: tuple[RuntimeName, ...] = ("onnxruntime", "openvino") if runtime == "auto" else (runtime,)
        ways: list[tuple[RuntimeName, Precision]] = []
        for name in graphs:
            if precision != "auto":
                ways.append((name, precision))
            elif name == "onnxruntime":
                ways.append((name, own))
            elif name == "openvino":
                ways += [(name, own)] if own == "int8" else [(name, "fp32"), (name, "bf16")]
            else:
                ways.append((name, "fp32"))
        if self.path.suffix == ".xml" and runtime == "auto":
            ways = [way for way in ways if way[0] == "openvino"]
        found = [self._candidate(name, wanted, device, threads) for name, wanted in ways]
        if runtime == "auto" and self.path.suffix not in GRAPH_SUFFIXES and find_spec("torch") is not None:
            has_gpu = device != "cpu" and shutil.which("nvidia-smi") is not None
            wanted = "fp32" if precision == "auto" else precision
            found.append(self._candidate("torch", wanted, device, threads, last_resort=not has_gpu))
        return found

    def _candidate(
        self, runtime: RuntimeName, precision: Precision, device: str, threads: int | None, *, last_resort: bool = False
    ) -> Candidate:
        def open_it() -> Network:
            if runtime == "torch":
                from omnireid.embedding.torch_runtime import load_network

                return load_network(
                    self.path, architecture=self._architecture, precision=precision, device=device, threads=threads
                )[0]
            graph = self.graph
            if precision == "fp16" and graph.metadata.precision == "fp32" and self.path.suffix not in GRAPH_SUFFIXES:
                graph = self.make_graph("fp16")
            if runtime == "openvino":
                from omnireid.embedding.openvino_runtime import open_network
            else:
                from omnireid.embedding.onnx_runtime import open_network
            return open_network(graph, precision=precision, threads=threads, device=device)

        return Candidate(runtime, precision, open_it, last_resort)


def make_graph(tensors: Tensors, metadata: GraphMetadata, *, where: str) -> Graph:
    """Build the graph that `metadata` describes, of the network's tensors.

    Raises:
        CoverageError: the tensors are not those of the network.
        ModelError: no such architecture.
        MissingDependencyError: the library onnx is not installed.
    """
    from omnireid.models.zoo import find_architecture

    weights = metadata.weights
    model = find_architecture(weights.architecture).build_graph(
        tensors,
        weights.preprocessing,
        half=metadata.precision == "fp16",
        takes_pixels=metadata.takes_pixels,
        where=where,
    )
    return Graph("onnx", model.SerializeToString(deterministic=True), metadata, where=where)
