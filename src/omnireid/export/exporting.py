"""From weights to a graph for a runtime, compared with torch before anybody sees it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omnireid.attributes.head import AttributeHead, check_weights
from omnireid.embedding.parity import Parity, compare_embeddings
from omnireid.embedding.torch_runtime import load_network
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import ExportError
from omnireid.export.attribute_output import add_attributes, check_attributes
from omnireid.export.calibration import check_calibration, read_calibration
from omnireid.export.graph_network import open_graph, run_in_batches
from omnireid.export.options import SUFFIXES, ExportOptions
from omnireid.export.parity_gate import BATCH_SIZES, check_embeddings
from omnireid.export.quantisation import quantise_within
from omnireid.export.score_gate import ScoreComparison, check_scores
from omnireid.files import check_output
from omnireid.images.decode import ImageSource, RgbArray
from omnireid.images.probes import probe_crops
from omnireid.progress import progress_bar
from omnireid.types import Dataset, FloatArray
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.file_kind import GRAPH_KINDS, identify_weights
from omnireid.weights.graph_file import Graph, GraphFormat, seal_onnx, write_graph
from omnireid.weights.openvino_model import seal_openvino
from omnireid.weights.runtime_start import shared_core
from omnireid.weights.shipped import DEFAULT_WEIGHTS

_PROBES = 64
_MOST_COMPARED = 256  # crops of the calibration that embeddings are compared on


@dataclass(frozen=True, eq=False)
class ExportedGraph:
    """A graph that passed its gates.

    Attributes:
        graph: The sealed graph with its metadata.
        parities: Batch size to parity with torch in float32.
        compared_on: What the embeddings were compared on, in words.
        scores: Scores before and after; None where no data set was given.
    """

    graph: Graph
    parities: dict[int, Parity]
    compared_on: str
    scores: ScoreComparison | None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the graph to ``.onnx``, or to ``.xml`` with a ``.bin`` beside it.

        Raises:
            OutputError: The name has another suffix than the graph's format, or a file cannot be written.
        """
        check_output(Path(path), suffix=SUFFIXES[self.graph.format])
        write_graph(Path(path), self.graph)


def refuse_graph(weights: Path) -> None:
    """Check that a file holds weights and not a graph, before anything else is made of it.

    Raises:
        ExportError: It is a graph.
        WeightsError: It cannot be used at all.
    """
    if identify_weights(weights) in GRAPH_KINDS:
        raise ExportError(
            f"{weights} is a graph already. Export from the weights it was made from (.safetensors or a checkpoint), "
            "which the result is compared with."
        )


def export_weights(
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    options: ExportOptions = ExportOptions(),
    *,
    architecture: str | None = None,
    calibration: Sequence[ImageSource] | RgbArray | None = None,
    datasets: Sequence[Dataset] = (),
    head: AttributeHead | None = None,
    progress: bool = False,
) -> ExportedGraph:
    """Turn weights into a graph, and refuse the graph if it does not embed as torch does.

    Args:
        weights: An artefact or a checkpoint, named as for `load_embedder`.
        options: Which graph is made.
        architecture: Name of the network, needed only for a checkpoint whose keys fit several.
        calibration: Images like those the graph will see, in any form that `Embedder.embed` takes. int8 takes the
            ranges of its activations from up to 512 of them, and the embeddings are compared on up to 256. Without
            them the embeddings are compared on drawn patches of colour.
        datasets: A data set, or the published splits of one, to score weights and graph on. Rank-1 and mAP may move
            by 0.1 percentage points, in int8 by 0.5.
        head: A head of these weights. Its attributes become a second output of the graph, compared with the head.
        progress: Show progress bars on standard error.

    Returns:
        The graph with what was measured; nothing is written before `ExportedGraph.write`.

    Raises:
        ExportError: The weights are a graph already, int8 has too few crops, or int8 leaves nothing of the network.
        ParityError: The graph gives other embeddings, and the message names the first layer that differs; or it
            moves the scores too far.
        WeightsError: The file cannot be used.
        EmbeddingError: The head is of other weights.
        ImageError: A calibration image cannot be decoded.
        MissingDependencyError: torch, the library onnx or OpenVINO is not installed.
    """
    if options.precision == "int8" and calibration is None:
        raise ExportError("int8 needs crops of yours to calibrate with: calibration=… (--calibration FOLDER).")
    path = resolve_weights(weights)
    refuse_graph(path)
    if options.to == "openvino":
        shared_core()  # a missing library is noticed before the work, not after
    source = WeightsFile(path, architecture)
    if head is not None:
        check_weights(head, source.sha256, source.metadata.architecture, "the graph's embeddings")
    size = source.metadata.preprocessing
    crops = None if calibration is None else read_calibration(calibration, size)
    if options.precision == "int8" and crops is not None:
        check_calibration(crops)
    pixels = probe_crops(_PROBES, size.height, size.width) if crops is None else crops[-_MOST_COMPARED:]
    network, _ = load_network(path, architecture=architecture, device="cpu")
    reference = run_in_batches(network, pixels, max(BATCH_SIZES))
    graph = source.make_graph("fp16" if options.precision == "fp16" else "fp32", takes_pixels=not options.float_input)
    if options.precision == "int8":
        assert crops is not None
        graph = _quantise(graph, crops, pixels, reference, progress=progress)
    if head is not None:
        metadata = replace(graph.metadata, attributes=head.names)
        graph = replace(graph, content=add_attributes(graph.content, head), metadata=metadata)
    graph = _seal(graph, options.to)
    if head is not None:
        check_attributes(graph, head, pixels[: max(BATCH_SIZES)])
    parities = check_embeddings(graph, pixels, reference, path, architecture=architecture)
    scores = check_scores(graph, datasets, path, architecture=architecture, progress=progress) if datasets else None
    compared_on = f"{len(pixels)} {'drawn patches of colour' if crops is None else 'crops of yours'}"
    return ExportedGraph(graph, parities, compared_on, scores)


def _quantise(graph: Graph, crops: RgbArray, pixels: RgbArray, reference: FloatArray, *, progress: bool) -> Graph:
    """Quantise a graph as far as its embeddings of `pixels` stay near the reference."""

    def error_of(content: bytes) -> float:
        found = run_in_batches(open_graph(replace(graph, content=content)), pixels, max(BATCH_SIZES))
        return 1 - compare_embeddings(reference, found).mean

    with progress_bar("try int8", None, unit="parts", show=progress) as advance:
        content, kept = quantise_within(graph.content, crops, error_of, progress=advance)
    metadata = replace(graph.metadata, precision="int8", kept_in_float=kept)
    return replace(graph, content=content, metadata=metadata)


def _seal(graph: Graph, to: GraphFormat) -> Graph:
    """Bring the graph into its format, with its metadata and digest."""
    if to == "openvino":
        return seal_openvino(shared_core().read_model(graph.content), graph.metadata, graph.where)
    return replace(graph, content=seal_onnx(graph.content, graph.metadata))
