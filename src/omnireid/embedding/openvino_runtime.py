"""Running a graph in OpenVINO: on Intel's and AMD's processors the fastest, with bfloat16 where they have it."""

from __future__ import annotations

from functools import cache
from queue import Empty, LifoQueue
from typing import Any

import numpy as np

from omnireid.embedding.network import (
    Network,
    RunNetwork,
    check_threads,
    count_threads,
    needs_calibration,
    no_memory,
    when_needed,
)
from omnireid.embedding.options import Precision
from omnireid.errors import CheckpointError, DeviceMemoryError, ModelError, require
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray
from omnireid.weights.graph_file import Graph

_HINTS: dict[Precision, tuple[str, str]] = {"fp32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}
"""Precision to OpenVINO's name of it as a hint, and as a capability."""

_STREAM_BATCH = 16
_GPU_BATCH = 64


def open_network(graph: Graph, *, precision: Precision = "auto", threads: int | None = None, device: str) -> Network:
    """Open an ONNX or OpenVINO graph in OpenVINO.

    Args:
        graph: of either format.
        precision: ``fp32``, ``bf16`` or ``fp16`` where the processor has them, and ``int8`` for an int8 graph, whose
            other layers are bfloat16 where the processor has it; ``auto`` is ``int8`` for such a graph, else ``fp32``.
        threads: of the CPU; one a core by default.
        device: ``auto`` and ``cpu`` are the CPU; ``gpu`` is Intel's.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        ModelError: a precision or device that is not there.
        CheckpointError: OpenVINO cannot run the graph.
    """
    core = shared_core()
    target = "CPU" if device in ("auto", "cpu") else device.upper()
    # Of several GPUs the names are GPU.0 and GPU.1, and GPU is the first of them.
    if target not in {name for one in core.available_devices for name in (one, one.partition(".")[0])}:
        raise ModelError(
            f"Device {device} is not there: OpenVINO has {', '.join(core.available_devices).lower()}. Use --device cpu."
        )
    is_int8 = graph.metadata.precision == "int8"
    chosen: Precision = ("int8" if is_int8 else "fp32") if precision == "auto" else precision
    if (chosen == "int8") != is_int8:
        raise ModelError(_another_precision(graph, chosen))
    able = core.get_property(target, "OPTIMIZATION_CAPABILITIES")
    hint, capability = _HINTS[("bf16" if "BF16" in able else "fp32") if is_int8 else chosen]
    if capability not in able:
        raise ModelError(
            f"This processor has no {chosen} in OpenVINO (it has {', '.join(able)}). Use --precision fp32."
        )
    number = check_threads(threads)
    settings = {"INFERENCE_PRECISION_HINT": hint}
    if target != "CPU":
        run = _runner(core, graph, target, settings)
        return Network("openvino", chosen, target.lower(), run, batch_size=_GPU_BATCH)
    settings["INFERENCE_NUM_THREADS"] = str(number)
    run = _runner(core, graph, target, settings | {"PERFORMANCE_HINT": "LATENCY"})
    where = count_threads(number)
    if number == 1:
        return Network("openvino", chosen, where, run, batch_size=_STREAM_BATCH)
    many = settings | {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(number)}
    run_stream = when_needed(lambda: _runner(core, graph, target, many))
    return Network("openvino", chosen, where, run, run_stream, number, _STREAM_BATCH)


def shared_core() -> Any:
    """The one OpenVINO of this process, which is never taken down.

    Each Core gives the thread a signal stack of its own, and puts the former one back when it goes. Two that do not
    go in reverse order leave the thread with memory that is freed, and the next signal ends the process (2026.4.1).

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    require("openvino", "openvino", "Running or making OpenVINO's graphs")
    return _core()


@cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def _another_precision(graph: Graph, chosen: Precision) -> str:
    if chosen == "int8":
        return needs_calibration(graph.where)
    return f"{graph.where} is an int8 graph; it cannot be run in {chosen}. Use --precision int8, or another file."


def _runner(core: Any, graph: Graph, target: str, settings: dict[str, str]) -> RunNetwork:
    try:
        if graph.format == "openvino":
            model = core.read_model(graph.content, graph.values)
        else:
            model = core.read_model(graph.content)
        compiled = core.compile_model(model, target, settings)
    except RuntimeError as error:
        raise CheckpointError(
            f"OpenVINO cannot run {graph.where}: {_last_line(error)} Export it again with: omnireid export"
        ) from error
    preprocessing = graph.metadata.weights.preprocessing
    takes_pixels = graph.metadata.takes_pixels
    free: LifoQueue[Any] = LifoQueue()  # a request serves one caller at a time

    def run(pixels: RgbArray) -> FloatArray:
        images = pixels if takes_pixels else preprocessing.normalise(pixels)
        try:
            try:
                request = free.get_nowait()
            except Empty:
                request = compiled.create_infer_request()
            try:
                return np.array(request.infer({0: images}, share_inputs=True)[0], dtype=np.float32)
            finally:
                free.put(request)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "allocate" in str(error):
                raise DeviceMemoryError(no_memory(f"OpenVINO's {target}", pixels)) from error
            raise ModelError(f"OpenVINO could not run {graph.where}: {_last_line(error)}") from error

    return run


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
