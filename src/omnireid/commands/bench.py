"""``omnireid bench``: what every way to run weights costs on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from omnireid.commands.options import JsonOption, check_json, leave_json, text_stream
from omnireid.data.options import DataOptions
from omnireid.embedding.options import NetworkOptions
from omnireid.weights.shipped import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omnireid.embedding.run_configuration import RunConfiguration

WeightsPositionals = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]


def bench(
    weights: WeightsPositionals = (DEFAULT_WEIGHTS,),
    *,
    data: Path | None = None,
    reading: DataOptions = DataOptions(),
    runtimes: tuple[Literal["onnxruntime", "openvino", "torch"], ...] = ("onnxruntime", "openvino", "torch"),
    network: NetworkOptions = NetworkOptions(device="cpu"),
    seconds: float = 1.0,
    json: JsonOption = None,
    picture: Path | None = None,
) -> None:
    """Measure weights in every runtime and precision: speed, latency, memory, start-up, error, and scores with --data.

    Each configuration runs in processes of its own; those that cannot run here are
    listed with the reason. Speed is that of the network alone, one batch at a time
    on all threads, and one batch per core. Latency is measured with crops of
    301 × 117 in memory and includes resizing. The error compares the embeddings
    with float32 in torch, or in ONNX Runtime where torch is not installed. Nothing
    else should run meanwhile.

    Example: omnireid bench osnet_x0_25_market1501.pth osnet_x0_25_market1501.int8.onnx --data Market-1501-v15.09.15

    Args:
        weights: One or several files, addresses or names of weights: artefacts, checkpoints or graphs, such as one in
            int8.
        data: Data set to score every configuration on, which takes as long as that many evaluations.
        reading: How that data set is read.
        runtimes: Measure only these.
        network: Which network it is, and where it runs.
        seconds: Time each figure of speed is measured for. Longer is steadier.
        picture: Draw speed against mAP, or without --data against the error, in this PNG file. Needs omnireid[train].
    """
    from omnireid.bench.benchmark import run_benchmark
    from omnireid.bench.picture import draw_benchmark
    from omnireid.bench.session import Settings
    from omnireid.data.datasets import load_splits
    from omnireid.data.listing import input_files
    from omnireid.files import check_output
    from omnireid.plots import require_plots
    from omnireid.weights.fetch import resolve_weights

    inputs = list(input_files([*weights, *([data] if data else [])]))
    check_json(json, inputs=inputs)
    if picture is not None:
        require_plots()
        if data is not None:
            dataset = load_splits(data, reading)[0]
            inputs += [path for split in dataset.splits.values() for path in split.paths]
        check_output(picture, suffix=".png", inputs=inputs)
    settings = Settings(seconds, network, data, reading)
    paths = [resolve_weights(name) for name in weights]
    found = run_benchmark(paths, settings, runtimes=runtimes, announce=_announce, progress=True)
    stream = text_stream(json)
    # A pipe gets bare columns, wide enough that nothing wraps.
    is_terminal = stream.isatty()
    print(found.tables(width=None if is_terminal else 200, has_lines=is_terminal), file=stream, end="")
    leave_json(json, found.json())
    if picture is not None:
        names = ", ".join(path.name for path in dict.fromkeys(paths))
        draw_benchmark(found.measured, picture, f"{names} on {found.machine.processor}", scored=found.dataset)


def _announce(configurations: Sequence[RunConfiguration]) -> None:
    names = ", ".join(configuration.name for configuration in configurations)
    print(f"bench: {len(configurations)} configurations, each in processes of its own: {names}", file=sys.stderr)
