"""``omnireid export``: weights into a graph for a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.commands.options import ArchitectureOption, WeightsPositional
from omnireid.data.options import DataOptions
from omnireid.export.options import ExportOptions
from omnireid.weights.shipped import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from omnireid.evaluation.scores import RankingScores
    from omnireid.export.exporting import Exported
    from omnireid.images.decode import RgbArray
    from omnireid.images.preprocess import Preprocessing
    from omnireid.types import Dataset

CropsOption = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="CROPS")]
_POINTS = {"fp32": 0.1, "fp16": 0.1, "int8": 0.5}
_CALIBRATION_CROPS = 512


def export(
    weights: WeightsPositional = DEFAULT_WEIGHTS,
    *,
    output: Path | None = None,
    graph: ExportOptions = ExportOptions(),
    calibration: CropsOption = (),
    data: Path | None = None,
    reading: DataOptions = DataOptions(),
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
    """
    from omnireid.data.datasets import load_splits
    from omnireid.embedding.torch_runtime import require_torch
    from omnireid.embedding.weights_file import WeightsFile
    from omnireid.files import check_output
    from omnireid.progress import progress_bar
    from omnireid.weights.fetch import resolve_weights
    from omnireid.weights.graph_file import write_graph

    to, precision = graph.to, graph.precision
    path = resolve_weights(weights)
    suffix = ".onnx" if to == "onnx" else ".xml"
    named = "" if precision == "fp32" else f".{precision}"
    stem = path.name.removesuffix(".tar") if path.name.endswith(".pth.tar") else path.name
    target = output or Path(f"{Path(stem).stem}{named}{suffix}")
    check_output(target, suffix=suffix, inputs=[path, *calibration])
    if to == "openvino":
        check_output(target.with_suffix(".bin"), inputs=[path.with_suffix(".bin"), *calibration])
    require_torch()
    from omnireid.export.exporting import export_weights

    source = WeightsFile(path, architecture)
    crops = _calibration_crops(calibration, source.weights[1].preprocessing) if calibration else None
    datasets = [] if data is None else load_splits(data, reading)
    with progress_bar("try int8", None, unit="parts", show=precision == "int8") as advance:
        exported = export_weights(
            path,
            to=to,
            precision=precision,
            architecture=architecture,
            takes_pixels=not graph.float_input,
            calibration=crops,
            progress=advance,
        )
    for batch, parity in exported.parities.items():
        print(f"batch {batch:>2}: smallest cosine {parity.smallest:.6f}, mean {parity.mean:.6f}, {parity.crops} crops")
    if datasets:
        _score(path, architecture, exported, datasets)
    write_graph(target, exported.graph)
    kept = exported.graph.metadata.kept_in_float
    size = (len(exported.graph.content) + len(exported.graph.values)) / 1e6
    print(f"{target}: {source.weights[1].architecture}, {precision}, {size:.2f} MB; measured on {exported.crops}")
    if kept:
        print(f"kept in float32: {', '.join(kept)}")
    print(f"licence of the weights: {source.weights[1].licence}")


def _calibration_crops(names: tuple[str, ...], preprocessing: Preprocessing) -> RgbArray:
    """Up to 512 crops, evenly from all, at the input size."""
    import numpy as np

    from omnireid.data.listing import list_crops
    from omnireid.images.batches import iterate_batches

    paths = list_crops(names).paths
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, min(len(paths), _CALIBRATION_CROPS)).astype(int)]
    return np.concatenate([batch.pixels for batch in iterate_batches(chosen, preprocessing)])


def _score(path: Path, architecture: str | None, exported: Exported, datasets: list[Dataset]) -> None:
    """Score the weights in float32 and the exported graph, and refuse it where it loses too much."""
    from omnireid.embedding.embedder import Embedder, load_embedder
    from omnireid.embedding.options import RuntimeOptions
    from omnireid.errors import ParityError
    from omnireid.evaluation.embedder_scores import evaluate_embedder
    from omnireid.export.exporting import open_exported

    options = RuntimeOptions(runtime="onnxruntime", precision="fp32", architecture=architecture, device="cpu")
    before = load_embedder(path, options)
    after = Embedder(before.metadata, path, before.weights_sha256, open_exported(exported.graph))
    precision = exported.graph.metadata.precision
    one = evaluate_embedder(before, datasets, progress=True).scores
    print(_line("weights, fp32", one))
    other = evaluate_embedder(after, datasets, progress=True).scores
    print(_line(f"graph, {precision}", other))
    losses = {
        "rank-1": 100 * (one.rank1 - other.rank1),
        "mAP": 100 * (one.mean_average_precision - other.mean_average_precision),
    }
    lost = {name: loss for name, loss in losses.items() if abs(loss) > _POINTS[precision]}
    if lost:
        raise ParityError(
            f"The exported graph moves {' and '.join(f'{name} by {-loss:+.2f}' for name, loss in lost.items())} points "
            f"on {datasets[0].name}; {_POINTS[precision]} are allowed in {precision}. Nothing was written. Calibrate "
            "with more and truer crops, or use a higher precision."
        )


def _line(label: str, scores: RankingScores) -> str:
    return f"{label:<14} rank-1 {100 * scores.rank1:6.2f}   mAP {100 * scores.mean_average_precision:6.2f}"
