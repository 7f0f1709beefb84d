"""A file of weights and the ways to run it. It is read, or turned into a graph, once, however many ways are tried."""

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
from omnireid.weights.artefact import Tensors, WeightsMetadata, check_architecture
from omnireid.weights.file_kind import GRAPH_KINDS, WeightsKind, identify_weights
from omnireid.weights.graph_file import Graph, GraphMetadata, read_graph
from omnireid.weights.shipped import shipped_weights, weights_folder
from omnireid.weights.source import read_weights


class WeightsFile:
    """A graph, an artefact or a checkpoint. Nothing is read before it is asked for.

    Args:
        path: The file.
        architecture: Name of the network a checkpoint must be; None lets its keys decide. Other files must agree.
    """

    def __init__(self, path: Path, architecture: str | None = None) -> None:
        self.path = path
        self._architecture = architecture

    @cached_property
    def kind(self) -> WeightsKind:
        """What the file is, decided by its content.

        Raises:
            WeightsNotFoundError: No such file.
            CheckpointError: It is no file of weights.
        """
        return identify_weights(self.path)

    @property
    def is_graph(self) -> bool:
        """Whether the file is a graph, which runtimes take as it is."""
        return self.kind in GRAPH_KINDS

    @cached_property
    def metadata(self) -> WeightsMetadata:
        """What the weights are.

        Raises:
            WeightsError: The file cannot be used.
            ModelError: It is of another architecture.
        """
        return self.graph.metadata.weights if self._ready_graph is not None else self.weights[1]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights; see `Embedder.weights_sha256`."""
        if self._ready_graph is not None and self.graph.metadata.precision != "int8":
            return self.graph.metadata.weights_sha256
        return sha256_of(self.path)

    @cached_property
    def weights(self) -> tuple[Tensors, WeightsMetadata]:
        """The network's tensors and their metadata, read without torch; see `omnireid.weights.source.read_weights`."""
        return read_weights(self.path, architecture=self._architecture)

    @cached_property
    def graph(self) -> Graph:
        """The graph as it is stored, or made here in float32.

        Raises:
            WeightsError: The file cannot be used, or the graph beside weights of the package belongs to others.
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
        """The file that is a graph already. Weights of the package have theirs beside them."""
        if self.is_graph:
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
        """List the ways to run the weights that `runtime` and `precision` leave open, the reference first.

        torch is among them where it is asked for or the machine has an NVIDIA GPU. Otherwise it is the last resort:
        on a CPU its eager steps are several times slower than the others (benchmarks/embedding.py), and importing it
        takes longer than trying those.
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
        if self.kind == "openvino" and runtime == "auto":
            ways = [way for way in ways if way[0] == "openvino"]
        found = [self._candidate(name, wanted, device, threads) for name, wanted in ways]
        if runtime == "auto" and not self.is_graph and find_spec("torch") is not None:
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
            if precision == "fp16" and graph.metadata.precision == "fp32" and not self.is_graph:
                graph = self.make_graph("fp16")
            if runtime == "openvino":
                from omnireid.embedding.openvino_runtime import open_network
            else:
                from omnireid.embedding.onnx_runtime import open_network
            return open_network(graph, precision=precision, threads=threads, device=device)

        return Candidate(self.path, runtime, precision, open_it, last_resort)


def make_graph(tensors: Tensors, metadata: GraphMetadata, *, where: str) -> Graph:
    """Build the graph that `metadata` describes from the network's tensors.

    Raises:
        CoverageError: The tensors are not those of the network.
        ModelError: There is no such architecture.
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


def find_shipped_by_content(sha256: str) -> WeightsFile | None:
    """The weights with this SHA-256 that ship with this build; None if there are none."""
    return next((file for file in map(WeightsFile, shipped_weights().values()) if file.sha256 == sha256), None)
