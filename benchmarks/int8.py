"""Claim: int8 on the public x0.25 weights keeps mAP within 0.5 points and is 1.3 times as fast as float32.

The baseline is the same graph in float32 in the same runtime, alternating with
ours in the same run. The int8 graph is the one ``omnireid export --precision int8``
makes, calibrated with 512 training crops (never with the test set). Rates are
measured with all streams busy. Then OpenVINO reports its own time for each kind
of layer, on one thread, in milliseconds per crop, which shows where int8 gains.

Run: python benchmarks/int8.py [--scores] [WEIGHTS] [DATA]
(--scores also evaluates both on the whole test set, which takes minutes)
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

import openvino

from omnireid import load_dataset, load_embedder
from omnireid.embedding.choice import measure_rate
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.options import Precision, RuntimeName, RuntimeOptions
from omnireid.embedding.parity import compare_embeddings
from omnireid.evaluation.embedder_scores import evaluate_embedder
from omnireid.export.exporting import export_weights
from omnireid.export.options import ExportOptions
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import RgbArray
from omnireid.machine import describe
from omnireid.weights.graph_file import Graph, read_graph
from omnireid.weights.runtime_start import shared_core

SHARED = Path(__file__).resolve().parents[2] / "shared"
ROUNDS = 5
CALIBRATION = 512
WAYS: tuple[tuple[RuntimeName, Precision], ...] = (
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
)


def layer_times(graph: Graph, precision: str, crops: RgbArray) -> Counter[str]:
    """Milliseconds a crop of each kind of layer, by OpenVINO's counters, on one thread."""
    core = shared_core()
    settings = {"PERF_COUNT": True, "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(core.read_model(graph.content), "CPU", settings).create_infer_request()
    request.infer({0: crops})
    times: Counter[str] = Counter()
    for _ in range(ROUNDS):
        request.infer({0: crops})
        for layer in request.get_profiling_info():
            times[_kind(layer)] += layer.real_time.total_seconds() * 1e3 / ROUNDS / len(crops)
    return times


def _kind(layer: openvino.ProfilingInfo) -> str:
    if layer.node_type == "GroupConvolution":
        return "depthwise 3×3"
    if layer.node_type == "Convolution":
        return "pointwise 1×1" if "1x1" in layer.exec_type else "conv1 7×7"
    if layer.node_type in ("Add", "Multiply", "Subtract"):
        return "gated sums and shortcuts"
    return "the rest: pooling, gates' means, conversions"


def main(weights: Path, data: Path, *, scores: bool) -> None:
    dataset = load_dataset(data)
    paths = dataset.train.paths[:: len(dataset.train) // CALIBRATION][:CALIBRATION]
    size = load_embedder(weights, RuntimeOptions(runtime="onnxruntime")).metadata.preprocessing
    (crops,) = (batch.pixels for batch in iterate_batches(paths, size, batch_size=CALIBRATION))
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for precision in ("fp32", "int8"):
            files[precision] = Path(folder) / f"{precision}.onnx"
            export_weights(weights, ExportOptions(precision=precision), calibration=crops).write(files[precision])
        print("kept in float:", ", ".join(read_graph(files["int8"]).metadata.kept_in_float) or "nothing")
        embedders: dict[str, Embedder] = {}
        for runtime, precision in WAYS:
            file = files["int8" if precision == "int8" else "fp32"]
            embedders[f"{runtime} {precision}"] = load_embedder(
                file, RuntimeOptions(runtime=runtime, precision=precision)
            )
        rates: dict[str, list[float]] = {name: [] for name in embedders}
        for _ in range(ROUNDS):
            for name, embedder in embedders.items():
                rates[name].append(measure_rate(embedder.network, crops[:32]))
        reference = embedders["onnxruntime fp32"].network.run(crops[:256])
        for name, embedder in embedders.items():
            baseline = rates[f"{name.split()[0]} fp32"]
            ratio = statistics.median(one / other for one, other in zip(rates[name], baseline, strict=True))
            parity = compare_embeddings(reference, embedder.network.run(crops[:256]))
            print(
                f"{name:<17} {statistics.median(rates[name]):7.0f} crops/s   {ratio:.2f} times fp32   "
                f"cosine smallest {parity.smallest:.4f}, mean {parity.mean:.4f}",
                flush=True,
            )
        _print_layers(files, crops[:16])
        for name in ("onnxruntime fp32", "openvino int8", "onnxruntime int8") if scores else ():
            found = evaluate_embedder(embedders[name], [dataset]).scores
            print(
                f"{name:<17} rank-1 {100 * found.rank1:.2f}   mAP {100 * found.mean_average_precision:.2f}", flush=True
            )
    print(describe().text())


def _print_layers(files: dict[str, Path], crops: RgbArray) -> None:
    columns = {
        "fp32": layer_times(read_graph(files["fp32"]), "f32", crops),
        "bf16": layer_times(read_graph(files["fp32"]), "bf16", crops),
        "int8, rest bf16": layer_times(read_graph(files["int8"]), "bf16", crops),
    }
    print(f"\n{'ms a crop, one thread':<46}" + "".join(f"{name:>17}" for name in columns))
    for kind in columns["fp32"]:
        print(f"{kind:<46}" + "".join(f"{times[kind]:>17.3f}" for times in columns.values()))
    print(f"{'all':<46}" + "".join(f"{sum(times.values()):>17.3f}" for times in columns.values()) + "\n")


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    chosen = words[:1] or [str(SHARED / "weights/osnet_x0_25_market1501.pth")]
    data_root = words[1:2] or [str(SHARED / "data/Market-1501-v15.09.15")]
    main(Path(chosen[0]), Path(data_root[0]), scores="--scores" in sys.argv)
