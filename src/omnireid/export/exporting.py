"""From weights to a graph for a runtime, held against torch before anybody sees it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from omnireid.embedding.network import Network
from omnireid.embedding.openvino_runtime import shared_core
from omnireid.embedding.parity import GATES, Parity, compare_embeddings, probe_crops
from omnireid.embedding.torch_runtime import load_network, load_weights
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import ExportError, ParityError
from omnireid.export.layers import compare_layers, first_difference
from omnireid.export.quantisation import blocks_of, check_calibration, mean_error, quantise, rank_parts
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray
from omnireid.weights.artefact import METADATA_KEY
from omnireid.weights.graph_file import (
    GRAPH_SUFFIXES,
    Graph,
    GraphFormat,
    GraphPrecision,
    record_of,
    seal_onnx,
    sealed,
)

BATCHES = (1, 7, 32)
"""Batch sizes the gate is held at: engines that were made for one size fail at another."""

INT8_MEAN = 0.998
"""Mean cosine with float32 below which int8 leaves the worst parts of the network in float32."""

_LAYER_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.5}
_PROBES = 64
_FEW = 64  # crops that order the parts of the network by what int8 costs them


@dataclass(frozen=True, eq=False)
class Exported:
    """A graph that passed the gate.

    Attributes:
        graph: sealed, ready for `omnireid.weights.graph_file.write_graph`.
        parities: batch size to parity with torch in float32.
        crops: what they were measured on, in words.
    """

    graph: Graph
    parities: dict[int, Parity]
    crops: str


def export_weights(
    path: Path,
    *,
    to: GraphFormat = "onnx",
    precision: GraphPrecision = "fp32",
    architecture: str | None = None,
    takes_pixels: bool = True,
    calibration: RgbArray | None = None,
    progress: Callable[[int], None] = lambda _count: None,
) -> Exported:
    """Export weights, and refuse the graph if its embeddings are not those of torch.

    Args:
        path: an artefact (``.safetensors``) or a checkpoint.
        to: ``onnx`` or ``openvino``.
        precision: ``fp32``; ``fp16``; or ``int8``, whose ranges come from `calibration`, with the parts that cost
            most left in float32 where the whole network in int8 comes to a mean cosine below `INT8_MEAN`.
        architecture: of a checkpoint whose keys do not tell.
        takes_pixels: put the normalisation into the graph, which then takes (N, H, W, 3) uint8.
        calibration: (N, H, W, 3) crops at the input size. Without them the gate is held on drawn patches of colour.
        progress: called with 1 for each part of the network that int8 is tried on.

    Raises:
        ExportError: a graph, an unknown format or precision, int8 without enough crops, or crops of another size.
        ParityError: the graph gives other embeddings; the message names the first layer that differs.
        WeightsError: the file cannot be used.
        MissingDependencyError: torch, the library onnx or openvino is not installed.
    """
    if path.suffix in GRAPH_SUFFIXES:
        raise ExportError(
            f"{path} is a graph already. Export from the weights it was made from (.safetensors or a checkpoint): the "
            "gate compares with them."
        )
    if precision not in get_args(GraphPrecision) or to not in get_args(GraphFormat):
        raise ExportError(
            f"No export to {to!r} in {precision!r}. Known: {', '.join(get_args(GraphFormat))}; "
            f"{', '.join(get_args(GraphPrecision))}."
        )
    if to == "openvino":
        shared_core()  # before the work, not after
    if precision == "int8":
        if calibration is None:
            raise ExportError("int8 needs crops of yours to calibrate with: --calibration FOLDER.")
        if not takes_pixels:
            raise ExportError("An int8 graph takes pixels: its normalisation is part of it. Leave --float-input out.")
        check_calibration(calibration)
    network, _ = load_network(path, architecture=architecture, device="cpu")
    source = WeightsFile(path, architecture)
    size = source.weights[1].preprocessing
    if calibration is not None and (not len(calibration) or calibration.shape[1:] != (size.height, size.width, 3)):
        raise ExportError(
            f"Calibration takes (N, {size.height}, {size.width}, 3) crops, the input size of these weights, and at "
            f"least one; got {calibration.shape}."
        )
    pixels = probe_crops(_PROBES, size.height, size.width) if calibration is None else calibration[-256:]
    reference = _run(network, pixels, max(BATCHES))
    graph = source.make_graph("fp16" if precision == "fp16" else "fp32", takes_pixels=takes_pixels)
    if precision == "int8":
        assert calibration is not None
        graph = _int8(graph, calibration, pixels, reference, progress)
    graph = _finished(graph, to)
    parities = _hold(graph, pixels, reference, path, architecture)
    crops = f"{len(pixels)} drawn patches of colour" if calibration is None else f"{len(pixels)} crops of yours"
    return Exported(graph, parities, crops)


def open_exported(graph: Graph) -> Network:
    """The exported graph in the runtime it was made for, on the CPU."""
    if graph.format == "openvino":
        from omnireid.embedding.openvino_runtime import open_network

        return open_network(graph, device="cpu")
    from omnireid.embedding.onnx_runtime import open_network as open_in_onnx_runtime

    return open_in_onnx_runtime(graph, device="cpu")


def _int8(
    graph: Graph, calibration: RgbArray, pixels: RgbArray, reference: FloatArray, progress: Callable[[int], None]
) -> Graph:
    """The whole network in int8, or, where that costs too much, all but the worst parts."""

    def error_of(content: bytes) -> float:
        return mean_error(reference, _run(open_exported(replace(graph, content=content)), pixels, max(BATCHES)))

    content, kept = quantise(graph.content, calibration), list[str]()
    if error_of(content) > 1 - INT8_MEAN:
        parts = blocks_of(graph.content)
        for name, _ in rank_parts(
            graph.content, calibration[:: -(-len(calibration) // _FEW)], error_of, progress=progress
        ):
            kept.append(name)
            if len(kept) == len(parts):
                raise ExportError(
                    "int8 leaves nothing of these weights: every part of the network costs too much. Calibrate with "
                    "more and truer crops, or use --precision fp16."
                )
            content = quantise(graph.content, calibration, keep=[node for part in kept for node in parts[part]])
            if error_of(content) <= 1 - INT8_MEAN:
                break
    metadata = replace(graph.metadata, precision="int8", kept_in_float=tuple(kept))
    return replace(graph, content=content, metadata=metadata)


def _finished(graph: Graph, to: GraphFormat) -> Graph:
    """The graph in its format, with its metadata and digest."""
    if to == "openvino":
        return _openvino(graph)
    return replace(graph, content=seal_onnx(graph.content, graph.metadata))


def _openvino(graph: Graph) -> Graph:
    model = shared_core().read_model(graph.content)
    import openvino

    model.set_rt_info(record_of(graph.metadata), METADATA_KEY)
    with tempfile.TemporaryDirectory(prefix="omnireid-") as folder:
        path = Path(folder) / "graph.xml"
        openvino.save_model(model, path, compress_to_fp16=graph.metadata.precision == "fp16")
        content, values = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    return Graph("openvino", sealed(content, values), graph.metadata, values, graph.where)


def _hold(
    graph: Graph, pixels: RgbArray, reference: FloatArray, path: Path, architecture: str | None
) -> dict[int, Parity]:
    """Hold the graph against torch's embeddings at several batch sizes."""
    network = open_exported(graph)
    gate = GATES[graph.metadata.precision]
    parities = {}
    for batch in BATCHES:
        count = min(len(pixels), max(batch * 2, 8))
        parity = compare_embeddings(reference[:count], _run(network, pixels[:count], batch))
        parities[batch] = parity
        if not gate.passes(parity):
            raise ParityError(
                f"The exported graph of {path} gives other embeddings than torch at batch {batch}: smallest cosine "
                f"{parity.smallest:.6f}, mean {parity.mean:.6f} over {parity.crops} crops (asked for: "
                f"{gate.smallest} and {gate.mean} in {graph.metadata.precision}). Nothing was written. "
                f"{_where_it_differs(graph, pixels, path, architecture)}"
            )
    return parities


def _where_it_differs(graph: Graph, pixels: RgbArray, path: Path, architecture: str | None) -> str:
    if graph.format != "onnx":
        return "Export it --to onnx to see which layer differs."
    model, metadata = load_weights(path, architecture=architecture)
    takes_pixels = graph.metadata.takes_pixels
    layers = compare_layers(model, graph.content, pixels, metadata.preprocessing.normalise, takes_pixels=takes_pixels)
    tolerance = _LAYER_TOLERANCE[graph.metadata.precision]
    first = first_difference(layers, tolerance)
    if first is None:
        worst = max(layers, key=lambda layer: layer.relative_error)
        return (
            f"No layer differs by more than {tolerance:g}; the furthest is {worst.name} ({worst.relative_error:.2g})."
        )
    return f"The first layer that differs is {first.name}: relative error {first.relative_error:.3g}."


def _run(network: Network, pixels: RgbArray, batch: int) -> FloatArray:
    return np.concatenate([network.run(pixels[start : start + batch]) for start in range(0, len(pixels), batch)])
