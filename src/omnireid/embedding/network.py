"""A network in some runtime: what the embedder needs to know of it, and what may be asked of a runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from omnireid.embedding.options import Precision, RuntimeName
from omnireid.errors import ModelError
from omnireid.images.decode import RgbArray
from omnireid.machine import usable_cores
from omnireid.types import FloatArray

RunNetwork = Callable[[RgbArray], FloatArray]
"""(N, H, W, 3) uint8 RGB at the network's input size to (N, D) float32; several threads may call it at once."""


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    Attributes:
        runtime: what runs it.
        precision: what it computes in.
        device: where, in words, such as ``cpu, 2 threads``.
        run: one batch as soon as possible, with all threads.
        run_stream: one batch of many, on one thread, while `streams` callers do the same; None where there is but one.
        streams: how many batches run beside each other fastest.
        batch_size: crops a batch that suit a stream.
    """

    runtime: RuntimeName
    precision: Precision
    device: str
    run: RunNetwork = field(repr=False)
    run_stream: RunNetwork | None = field(repr=False, default=None)
    streams: int = 1
    batch_size: int = 32


def when_needed(make: Callable[[], RunNetwork]) -> RunNetwork:
    """A network that is made at its first call, once, whichever thread calls first."""
    lock = Lock()
    made: list[RunNetwork] = []

    def run(pixels: RgbArray) -> FloatArray:
        with lock:
            if not made:
                made.append(make())
        return made[0](pixels)

    return run


def count_threads(threads: int) -> str:
    """The device of a network on a CPU, in words."""
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"


def needs_calibration(where: str) -> str:
    """What to say where int8 is asked of a graph that is not."""
    return (
        f"{where} is no int8 graph, and int8 needs calibration with crops of yours: omnireid export WEIGHTS --to onnx "
        "--precision int8 --calibration CROPS"
    )


def no_memory(where: str, pixels: RgbArray) -> str:
    """What to say where a batch of (N, H, W, 3) pixels does not fit."""
    count, height, width, _ = pixels.shape
    return (
        f"No memory on {where} for a batch of {count} crops of {height} × {width}. Use a smaller --batch-size "
        "(batch_size=…), or another device."
    )


def check_threads(threads: int | None) -> int:
    """The number of threads to use: as asked, or one a core.

    Raises:
        ModelError: below 1, or more than there are cores, which would only make it slower.
    """
    cores = usable_cores()
    if threads is None:
        return cores
    if threads < 1:
        raise ModelError(f"A network needs at least one thread; got threads={threads}.")
    if threads > cores:
        raise ModelError(
            f"threads={threads}, but this process may use {cores} cores; more threads than cores only wait for each "
            "other. Leave --threads out to use all cores."
        )
    return threads
