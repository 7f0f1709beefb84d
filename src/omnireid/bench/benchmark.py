"""A whole benchmark: every configuration of some weights measured, as tables and as plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.bench.run_configurations import MEASURED_RUNTIMES, list_configurations
from omnireid.bench.session import Measured, Refused, Settings, measure_configurations
from omnireid.data.datasets import load_splits
from omnireid.embedding.network import check_threads
from omnireid.embedding.options import RuntimeName
from omnireid.embedding.run_configuration import RunConfiguration
from omnireid.errors import ModelError
from omnireid.machine import Machine, describe

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What was measured, and on what.

    Attributes:
        measured: The configurations that ran.
        refused: The configurations that cannot run here, with the reason.
        settings: What was the same for all of them.
        dataset: Name of the data set they were scored on, or None.
        machine: The machine they were measured on.
    """

    measured: tuple[Measured, ...]
    refused: tuple[Refused, ...]
    settings: Settings
    dataset: str | None
    machine: Machine

    def tables(self, *, width: int | None = 200, has_lines: bool = False) -> str:
        """Speed, latency, memory and quality of each configuration, as text.

        Args:
            width: Width of the text in characters. None takes that of the terminal.
            has_lines: Draw lines between the headings and the rows.
        """
        from rich import box
        from rich.console import Console

        console = Console(width=width, highlight=False, markup=False)
        style = box.SIMPLE_HEAD if has_lines else None
        with console.capture() as capture:
            console.print(self._speed_table(style))
            console.print()
            console.print(self._cost_table(style))
            for result in self.refused:
                name = f"{result.configuration.weights.name} {result.configuration.name}"
                console.print(f"not measured: {name}: {result.reason}", soft_wrap=True)
            references = sorted({result.reference[0].name for result in self.measured if result.reference is not None})
            if references:
                crops = "drawn patches of colour" if self.dataset is None else "queries of the data"
                console.print(f"cosines with {', '.join(references)}, on {crops}")
            else:
                console.print("no cosines: nothing that ran can be the reference")
            console.print(self.machine.text(), soft_wrap=True)
        return capture.get()

    def _speed_table(self, style: Any) -> Table:
        batches = list(self.measured[0].speeds)
        headings = [*(f"1 × {batch}" for batch in batches), *(f"streams × {batch}" for batch in batches)]
        table = _new_table("Crops per second: one batch at a time, and one batch per stream", headings, style)
        for result in self.measured:
            rates = [speed.rate for speed in result.speeds.values()]
            rates += [speed.stream_rate for speed in result.speeds.values()]
            table.add_row(*_names(result), *(f"{rate:,.0f}" for rate in rates))
        return table

    def _cost_table(self, style: Any) -> Table:
        headings = [f"{batch} crops" for batch in self.measured[0].speeds]
        headings += ["memory", "start", "min cosine", "mean cosine", *(("rank-1", "mAP") if self.dataset else ())]
        title = "Latency of crops in memory (median / 95 %), memory, start-up time, quality"
        table = _new_table(title, headings, style)
        for result in self.measured:
            cells = [f"{1e3 * one.latency_p50:.1f} / {1e3 * one.latency_p95:.1f} ms" for one in result.speeds.values()]
            cells.append("–" if result.memory is None else f"{result.memory / 2**20:,.0f} MiB")
            cells.append(f"{result.startup:.2f} s")
            parity = None if result.reference is None else result.reference[1]
            cells += ["–", "–"] if parity is None else [f"{parity.smallest:.5f}", f"{parity.mean:.5f}"]
            if self.dataset is not None:
                scores = (result.rank1, result.mean_average_precision)
                cells += ["–" if score is None else f"{100 * score:.2f}" for score in scores]
            table.add_row(*_names(result), *cells)
        return table

    def json(self) -> dict[str, Any]:
        """Every number as plain values."""
        machine = self.machine.json()
        return {
            "versions": machine.pop("versions"),
            "machine": machine,
            "dataset": self.dataset,
            "seconds": self.settings.seconds,
            "device": self.settings.network.device,
            "threads": self.settings.network.threads,
            "configurations": [_record(result) for result in self.measured],
            "refused": [{**_identity(result.configuration), "reason": result.reason} for result in self.refused],
        }


def run_benchmark(
    paths: Sequence[Path],
    settings: Settings = Settings(),
    *,
    runtimes: Sequence[RuntimeName] = MEASURED_RUNTIMES,
    announce: Callable[[Sequence[RunConfiguration]], None] = lambda _configurations: None,
    progress: bool = False,
) -> Benchmark:
    """Measure files of weights in every runtime and precision that they may be run in.

    Args:
        paths: Files of weights. One that is given twice is measured once.
        settings: What is the same for all configurations.
        runtimes: Measure only these.
        announce: Called with all configurations before the first is measured.
        progress: Show a bar on standard error.

    Raises:
        DataError: the data set cannot be read.
        ModelError: more threads than cores; or nothing could be measured, and the message has the first reason.
        WeightsError: a graph is damaged, or was not made by omnireid.
    """
    check_threads(settings.network.threads)
    dataset = None if settings.data is None else load_splits(settings.data, settings.reading)[0].name
    configurations = list_configurations(list(dict.fromkeys(paths)), list(dict.fromkeys(runtimes)))
    announce(configurations)
    results = measure_configurations(configurations, settings, progress=progress)
    measured = tuple(result for result in results if isinstance(result, Measured))
    refused = tuple(result for result in results if isinstance(result, Refused))
    if not measured:
        raise ModelError(f"Nothing could be measured. {refused[0].configuration.name}: {refused[0].reason}")
    return Benchmark(measured, refused, settings, dataset, describe())


def _new_table(title: str, headings: Sequence[str], style: Any) -> Table:
    from rich.table import Table

    table = Table(box=style, title=title, title_justify="left")
    for name in ("weights", "runtime", "precision"):
        table.add_column(name, no_wrap=True)
    for name in headings:
        table.add_column(name, justify="right")
    return table


def _names(result: Measured) -> tuple[str, str, str]:
    configuration = result.configuration
    return configuration.weights.name, configuration.runtime, configuration.precision


def _identity(configuration: RunConfiguration) -> dict[str, str]:
    return {
        "weights": str(configuration.weights),
        "runtime": configuration.runtime,
        "precision": configuration.precision,
    }


def _record(result: Measured) -> dict[str, Any]:
    reference, parity = result.reference or (None, None)
    return {
        **_identity(result.configuration),
        "architecture": result.architecture,
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
