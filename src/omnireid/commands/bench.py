"""``omnireid bench``: what every way to run weights costs on this machine."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from omnireid.commands.options import JsonOption
from omnireid.data.options import DataOptions
from omnireid.embedding.options import NetworkOptions
from omnireid.weights.shipped import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich import box
    from rich.table import Table

    from omnireid.bench.session import Measured, Refused, Settings
    from omnireid.types import Dataset

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
    from omnireid.bench.picture import draw_benchmark
    from omnireid.bench.run_configurations import list_ways
    from omnireid.bench.session import Measured, Refused, Settings, measure_ways
    from omnireid.data.datasets import load_splits
    from omnireid.data.listing import input_files
    from omnireid.embedding.network import check_threads
    from omnireid.errors import ModelError
    from omnireid.files import check_output
    from omnireid.machine import describe
    from omnireid.plots import require_plots
    from omnireid.weights.fetch import resolve_weights

    for output, suffix in ((json, ".json"), (picture, ".png")):
        if output is not None:  # before minutes of work, not after
            check_output(output, suffix=suffix, inputs=input_files([*weights, *([data] if data else [])]))
    if picture is not None:
        require_plots()
    check_threads(network.threads)
    if not seconds > 0:
        raise ModelError(f"A figure is measured for more than 0 seconds; got --seconds {seconds:g}.")
    dataset = None if data is None else load_splits(data, reading)[0]
    if picture is not None and dataset is not None:
        check_output(picture, inputs=(path for split in dataset.splits.values() for path in split.paths))
    paths = list(dict.fromkeys(resolve_weights(name) for name in weights))
    ways = list_ways(paths, list(dict.fromkeys(runtimes)))
    settings = Settings(seconds, network, data, reading)
    _say(f"bench: {len(ways)} ways, each in processes of its own: {', '.join(way.name for way in ways)}")
    results = measure_ways(ways, settings, progress=True)
    measured = [result for result in results if isinstance(result, Measured)]
    refused = [result for result in results if isinstance(result, Refused)]
    if not measured:
        raise ModelError(f"Nothing could be measured. {refused[0].way.name}: {refused[0].reason}")
    _print(measured, refused, dataset)
    if json is not None:
        _write_json(json, measured, refused, dataset, settings)
    if picture is not None:
        title = f"{', '.join(path.name for path in paths)} on {describe().processor}"
        draw_benchmark(measured, picture, title, scored=None if dataset is None else dataset.name)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _print(measured: Sequence[Measured], refused: Sequence[Refused], dataset: Dataset | None) -> None:
    from rich import box
    from rich.console import Console

    from omnireid.machine import describe

    terminal = sys.stdout.isatty()
    # A pipe gets bare columns, wide enough that nothing wraps.
    console = Console(width=None if terminal else 200, highlight=False, markup=False)
    style = box.SIMPLE_HEAD if terminal else None
    console.print(_speed_table(measured, style))
    console.print()
    console.print(_cost_table(measured, dataset, style))
    for result in refused:
        console.print(f"not measured: {_label(result)}: {result.reason}", soft_wrap=True)
    references = sorted({f"{result.reference[0].name}" for result in measured if result.reference is not None})
    crops = "queries of the data" if dataset is not None else "drawn patches of colour"
    console.print(f"cosines with {', '.join(references) or 'nothing, for want of a reference'}, on {crops}")
    console.print(describe().text(), soft_wrap=True)


def _label(result: Measured | Refused) -> str:
    return f"{result.way.weights.name} {result.way.name}"


def _new_table(title: str, headings: Sequence[str], style: box.Box | None) -> Table:
    from rich.table import Table

    table = Table(box=style, title=title, title_justify="left")
    for name in ("weights", "runtime", "precision"):
        table.add_column(name, no_wrap=True)
    for name in headings:
        table.add_column(name, justify="right")
    return table


def _names(result: Measured) -> tuple[str, str, str]:
    return result.way.weights.name, result.way.runtime, result.way.precision


def _speed_table(measured: Sequence[Measured], style: box.Box | None) -> Table:
    """Crops a second."""
    batches = list(measured[0].speeds)
    headings = [*(f"1 × {batch}" for batch in batches), *(f"streams × {batch}" for batch in batches)]
    table = _new_table("Crops a second: one batch at a time, and a batch a stream", headings, style)
    for result in measured:
        rates = [speed.rate for speed in result.speeds.values()]
        rates += [speed.stream_rate for speed in result.speeds.values()]
        table.add_row(*_names(result), *(f"{rate:,.0f}" for rate in rates))
    return table


def _cost_table(measured: Sequence[Measured], dataset: Dataset | None, style: box.Box | None) -> Table:
    """What an answer takes, and what it is worth."""
    headings = [f"{batch} crops" for batch in measured[0].speeds]
    headings += ["memory", "start", "min cosine", "mean cosine", *(("rank-1", "mAP") if dataset else ())]
    table = _new_table("Latency of crops in memory (median / 95 %), memory, start-up, quality", headings, style)
    for result in measured:
        cells = [f"{1e3 * one.latency_p50:.1f} / {1e3 * one.latency_p95:.1f} ms" for one in result.speeds.values()]
        cells.append("–" if result.memory is None else f"{result.memory / 2**20:,.0f} MiB")
        cells.append(f"{result.startup:.2f} s")
        parity = None if result.reference is None else result.reference[1]
        cells += ["–", "–"] if parity is None else [f"{parity.smallest:.5f}", f"{parity.mean:.5f}"]
        if dataset is not None:
            scores = (result.rank1, result.mean_average_precision)
            cells += ["–" if score is None else f"{100 * score:.2f}" for score in scores]
        table.add_row(*_names(result), *cells)
    return table


def _write_json(
    path: Path,
    measured: Sequence[Measured],
    refused: Sequence[Refused],
    dataset: Dataset | None,
    settings: Settings,
) -> None:
    from omnireid.files import write_json
    from omnireid.machine import describe

    machine = describe().json()
    content = {
        "versions": machine.pop("versions"),
        "machine": machine,
        "dataset": None if dataset is None else dataset.name,
        "seconds": settings.seconds,
        "device": settings.network.device,
        "threads": settings.network.threads,
        "ways": [_record(result) for result in measured],
        "refused": [
            {
                "weights": str(result.way.weights),
                "runtime": result.way.runtime,
                "precision": result.way.precision,
                "reason": result.reason,
            }
            for result in refused
        ],
    }
    write_json(path, content)


def _record(result: Measured) -> dict[str, Any]:
    reference, parity = result.reference or (None, None)
    return {
        "weights": str(result.way.weights),
        "architecture": result.architecture,
        "runtime": result.way.runtime,
        "precision": result.way.precision,
        "device": result.device,
        "streams": result.streams,
        "batches": {
            str(batch): {
                "crops_per_second": speed.rate,
                "stream_crops_per_second": speed.stream_rate,
                "latency_p50_s": speed.latency_p50,
                "latency_p95_s": speed.latency_p95,
            }
            for batch, speed in result.speeds.items()
        },
        "peak_memory_bytes": result.memory,
        "startup_s": result.startup,
        "parity": None if parity is None or reference is None else {"reference": reference.name, **asdict(parity)},
        "rank1": result.rank1,
        "mean_average_precision": result.mean_average_precision,
    }
