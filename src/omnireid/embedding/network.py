"""A network in some runtime: what the embedder needs to know of it, and rules that all runtimes share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from omnireid.embedding.options import Precision, RuntimeName, check_whole_number
from omnireid.errors import ModelError, SettingError
from omnireid.images.decode import RgbArray
from omnireid.images.preprocess import Preprocessing
from omnireid.machine import usable_cores
from omnireid.types import FloatArray

RunNetwork = Callable[[RgbArray], FloatArray]
"""(N, H, W, 3) uint8 RGB at the network's input size to (N, D) float32. Several threads may call it at once."""


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    Attributes:
        runtime: Library that runs it.
        precision: Number format it computes in.
        device: Where it runs, in words, such as ``cpu, 2 threads``.
        run: Runs one batch as soon as possible, with all threads.
        run_stream: Runs one batch of many, on one thread, while other callers do the same. None if there is only one.
        streams: Number of batches that run fastest side by side.
        batch_size: Crops per batch that suit a stream.
    """

    runtime: RuntimeName
    precision: Precision
    device: str
    run: RunNetwork = field(repr=False)
    run_stream: RunNetwork | None = field(repr=False, default=None)
    streams: int = 1
    batch_size: int = 32


def when_needed(make: Callable[[], RunNetwork], first: RunNetwork | None = None) -> RunNetwork:
    """A network that is made at its first call, once per process, whichever thread calls first.

    Args:
        make: Makes the network.
        first: The network of this process, if it is made already. A forked process still makes its own.
    """
    locks: dict[int, Lock] = {}
    made: dict[int, RunNetwork] = {} if first is None else {os.getpid(): first}

    def run(pixels: RgbArray) -> FloatArray:
        process = os.getpid()
        if process not in made:
            with locks.setdefault(process, Lock()):  # a lock that another thread held during a fork is never released
                if process not in made:
                    made[process] = make()
        return made[process](pixels)

    return run


def blank_crop(preprocessing: Preprocessing) -> RgbArray:
    """A batch of one black crop, with which a network is run for the first time."""
    return np.zeros((1, preprocessing.height, preprocessing.width, 3), dtype=np.uint8)


def in_this_process(make: Callable[[], RunNetwork], runtime: RuntimeName, device: str) -> Callable[[], RunNetwork]:
    """`make`, for a runtime that hangs in a forked process: there it raises the error of `not_after_fork`."""
    process = os.getpid()

    def make_here() -> RunNetwork:
        if os.getpid() != process:
            raise not_after_fork(runtime, device)
        return make()

    return make_here


def not_after_fork(runtime: RuntimeName, device: str) -> ModelError:
    """The error for a network that was loaded in a process and is used in a fork of it, where it would hang."""
    return ModelError(
        f"This network was loaded before the process was forked, and {runtime} ({device}) does not survive a fork. "
        "Load it in each process after the fork, and not before it (with gunicorn, leave out --preload); or start the "
        "processes by spawn and pass them the embedder, which then opens itself again; or use --runtime onnxruntime "
        "(runtime='onnxruntime') on the CPU, which can be forked."
    )


def count_threads(threads: int) -> str:
    """Describe a network's device, a CPU, in words."""
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"


def needs_calibration(where: str) -> str:
    """The error text for a graph that is not int8 when int8 was asked for."""
    return (
        f"{where} is no int8 graph, and int8 needs calibration with your crops: omnireid export WEIGHTS --to onnx "
        "--precision int8 --calibration CROPS"
    )


def no_memory(where: str, pixels: RgbArray) -> str:
    """The error text for a batch of (N, H, W, 3) pixels that does not fit into memory."""
    count, height, width, _ = pixels.shape
    return (
        f"No memory on {where} for a batch of {count} crops of {height} × {width}. Use a smaller --batch-size "
        "(batch_size=…), or another device."
    )


def check_threads(threads: int | None) -> int:
    """The number of threads to use: the given one, or one per core.

    Raises:
        SettingError: it is no whole number, is below 1, or exceeds the number of cores, which only makes it slower.
    """
    cores = usable_cores()
    if threads is None:
        return cores
    threads = check_whole_number("threads", threads)
    if threads < 1:
        raise SettingError(f"A network needs at least one thread; got threads={threads}.")
    if threads > cores:
        raise SettingError(
            f"threads={threads}, but this process may use {cores} cores; more threads than cores only wait for each "
            "other. Leave --threads out to use all cores."
        )
    return threads
