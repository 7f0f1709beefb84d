"""``omnireid export``: weights into a graph for a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.commands.options import ArchitectureOption, WeightsPositional
from omnireid.data.options import DataOptions
from omnireid.errors import list_briefly
from omnireid.export.options import SUFFIXES, ExportOptions
from omnireid.weights.shipped import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from omnireid.evaluation.scores import RankingScores
    from omnireid.export.exporting import ExportedGraph

CropsOption = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="CROPS")]


def export(
    weights: WeightsPositional = DEFAULT_WEIGHTS,
    *,
    output: Path | None = None,
    graph: ExportOptions = ExportOptions(),
    calibration: CropsOption = (),
    data: Path | None = None,
    reading: DataOptions = DataOptions(),
    attributes: Path | None = None,
    architecture: ArchitectureOption = None,
) -> None:
    """Turn weights into a graph for ONNX Runtime or OpenVINO, and refuse it unless it gives torch's embeddings.

    The graph takes (N, H, W, 3) uint8 RGB pixels for any N; normalisation is inside.
    It carries what the weights carry (licence, training data, input size) and runs
    without torch. The gate compares its embeddings with torch's float32 embeddings
    at batch sizes 1, 7 and 32, and with --data the scores too. A graph that fails is
    not written, and the message names the first layer that differs.

    Example: omnireid export run/last.safetensors --precision int8 --calibration crops/ --data Market-1501-v15.09.15

    Args:
        output: File to write. By default it is named after the weights and lies in this folder.
        graph: Which graph is made.
        calibration: Folders, image files, quoted globs or manifests of crops like those the graph will see, each with
            a flag of its own. Up to 512 crops are used, for the gate too.
        data: Data set to score weights and graph on. Rank-1 and mAP may move by 0.1 points, in int8 by 0.5.
        reading: How that data set is read.
        attributes: A head made by omnireid attributes train for these weights. Its scores become a second output.
    """
    from omnireid.attributes.head_file import read_attribute_head
    from omnireid.data.datasets import load_splits
    from omnireid.data.listing import list_crops
    from omnireid.embedding.torch_runtime import require_torch
    from omnireid.files import check_output
    from omnireid.weights.fetch import resolve_weights

    require_torch()
    from omnireid.export.exporting import export_weights, refuse_graph

    path = resolve_weights(weights)
    refuse_graph(path)
    crops = list_crops(calibration).paths if calibration else None
    target = output or _default_output(path, graph)
    head = None if attributes is None else read_attribute_head(attributes)
    inputs: list[str | Path] = [path, path.with_suffix(".bin"), *calibration, *(crops or ())]
    check_output(target, suffix=SUFFIXES[graph.to], inputs=inputs)
    if graph.to == "openvino":
        check_output(target.with_suffix(".bin"), inputs=inputs)
    exported = export_weights(
        path,
        graph,
        architecture=architecture,
        calibration=crops,
        head=head,
        datasets=[] if data is None else load_splits(data, reading),
        progress=True,
    )
    exported.write(target)
    _report(target, exported)


def _default_output(path: Path, options: ExportOptions) -> Path:
    """The file in this folder that is named after the weights and the precision.

    The weights in a folder of roboflow's ``reid`` always have the same name, so the folder's name is taken.
    """
    from omnireid.weights.reid_folder import find_config

    name = path.name.removesuffix(".tar") if path.name.endswith(".pth.tar") else path.name
    stem = Path(name).stem if find_config(path) is None else path.absolute().parent.name
    precision = "" if options.precision == "fp32" else f".{options.precision}"
    return Path(f"{stem}{precision}{SUFFIXES[options.to]}")


def _report(target: Path, exported: ExportedGraph) -> None:
    """Print what was written and what was measured."""
    for batch, parity in exported.parities.items():
        print(f"batch {batch:>2}: smallest cosine {parity.smallest:.6f}, mean {parity.mean:.6f}, {parity.crops} crops")
    graph = exported.graph
    metadata = graph.metadata
    if exported.scores is not None:
        print(_score_line("weights, fp32", exported.scores.weights))
        print(_score_line(f"graph, {metadata.precision}", exported.scores.graph))
    size = (len(graph.content) + len(graph.values)) / 1e6
    architecture = metadata.weights.architecture
    print(f"{target}: {architecture}, {metadata.precision}, {size:.2f} MB; compared on {exported.compared_on}")
    if metadata.kept_in_float:
        print(f"kept in float32: {', '.join(metadata.kept_in_float)}")
    if metadata.attributes:
        print(f"second output: {len(metadata.attributes)} attributes, {list_briefly(metadata.attributes)}")
    print(f"licence of the weights: {metadata.weights.licence}")


def _score_line(label: str, scores: RankingScores) -> str:
    return f"{label:<14} rank-1 {100 * scores.rank1:6.2f}   mAP {100 * scores.mean_average_precision:6.2f}"
