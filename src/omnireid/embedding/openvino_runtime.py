"""Running a graph in OpenVINO, the fastest runtime on Intel's and AMD's processors, with bfloat16 if they have it."""

from __future__ import annotations

from queue import Empty, LifoQueue
from threading import Lock
from typing import Any

import numpy as np

from omnireid.embedding import onnx_runtime
from omnireid.embedding.network import (
    Network,
    RunNetwork,
    blank_crop,
    check_threads,
    count_threads,
    in_this_process,
    needs_calibration,
    no_memory,
    when_needed,
)
from omnireid.embedding.options import Precision
from omnireid.errors import (
    CheckpointError,
    DeviceMemoryError,
    EmbeddingError,
    ModelError,
    OmnireidError,
    last_line,
)
from omnireid.images.decode import RgbArray
from omnireid.images.probes import probe_crops
from omnireid.types import FloatArray
from omnireid.weights.graph_file import Graph
from omnireid.weights.openvino_model import run_in_fixed_batches
from omnireid.weights.runtime_start import FIRST_USE, shared_core

_HINTS: dict[Precision, tuple[str, str]] = {"fp32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}
"""Precision to OpenVINO's names of it, as a hint and as a capability."""

_STREAM_BATCH = 16
_GPU_BATCH = 64


def open_network(graph: Graph, *, precision: Precision = "auto", threads: int | None = None, device: str) -> Network:
    """Open an ONNX or OpenVINO graph in OpenVINO.

    Args:
        graph: A graph in either format.
        precision: ``fp32``, or ``bf16`` or ``fp16`` if the processor has them, or ``int8`` for an int8 graph, whose
            other layers are bfloat16 if the processor has it. ``auto`` is ``int8`` for such a graph, else ``fp32``.
        threads: Number of CPU threads, by default one per core.
        device: ``auto`` and ``cpu`` are the CPU; ``gpu`` is Intel's.

    Raises:
        MissingDependencyError: OpenVINO is not installed or cannot be started.
        ModelError: the precision or the device is not there.
        CheckpointError: OpenVINO cannot run the graph.
        DeviceMemoryError: there is no memory for a single crop.
    """
    core = shared_core()
    target = "CPU" if device in ("auto", "cpu") else device.upper()
    # Several GPUs are named GPU.0, GPU.1 and so on, and GPU is the first of them.
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
        on_gpu = in_this_process(lambda: _runner(core, graph, target, settings), "openvino", target.lower())
        return Network("openvino", chosen, target.lower(), when_needed(on_gpu, on_gpu()), batch_size=_GPU_BATCH)
    settings["INFERENCE_NUM_THREADS"] = str(number)
    where = count_threads(number)
    alone = settings | {"PERFORMANCE_HINT": "LATENCY"}
    make = in_this_process(lambda: _runner(core, graph, target, alone), "openvino", where)
    run = when_needed(make, make())
    if number == 1:
        return Network("openvino", chosen, where, run, batch_size=_STREAM_BATCH)
    many = settings | {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(number)}
    make_stream = in_this_process(lambda: _runner(core, graph, target, many, callers=number), "openvino", where)
    run_stream = when_needed(make_stream)
    return Network("openvino", chosen, where, run, run_stream, number, _STREAM_BATCH)


def check_activations(graph: Graph) -> None:
    """Check that a graph's activations stay finite on drawn crops, by running it in ONNX Runtime.

    OpenVINO's ReLU turns NaN into 0 (2026.4.1), so a network whose activations overflow gives embeddings that look
    sound. OpenVINO's own format is not checked, since ONNX Runtime cannot run it.

    Raises:
        EmbeddingError: an embedding is not finite.
    """
    if graph.format != "onnx":
        return
    size = graph.metadata.weights.preprocessing
    try:
        embeddings = onnx_runtime.open_network(graph, device="cpu").run(probe_crops(2, size.height, size.width))
    except OmnireidError:  # what ONNX Runtime cannot run, it cannot check
        return
    if not np.isfinite(embeddings).all():
        raise EmbeddingError(
            f"The activations of {graph.where} overflow: ONNX Runtime gives values that are not finite, which OpenVINO "
            "would hide. The weights are damaged: see omnireid inspect, and use an earlier checkpoint."
        )


def _another_precision(graph: Graph, chosen: Precision) -> str:
    if chosen == "int8":
        return needs_calibration(graph.where)
    return f"{graph.where} is an int8 graph; it cannot be run in {chosen}. Use --precision int8, or another file."


def _runner(core: Any, graph: Graph, target: str, settings: dict[str, str], *, callers: int = 1) -> RunNetwork:
    """Compile `graph` for `callers` at once, and run it once for each of them."""
    preprocessing = graph.metadata.weights.preprocessing
    takes_pixels, batch = graph.metadata.takes_pixels, graph.metadata.fixed_batch
    free: LifoQueue[Any] = LifoQueue()  # each request serves one caller at a time
    creating = Lock()

    def infer(request: Any, pixels: RgbArray) -> FloatArray:
        images = pixels if takes_pixels else preprocessing.normalise(pixels)
        if batch is not None:
            return run_in_fixed_batches(lambda part: request.infer({0: part}, share_inputs=True)[0], images, batch)
        return np.array(request.infer({0: images}, share_inputs=True)[0], dtype=np.float32)

    def run(pixels: RgbArray) -> FloatArray:
        try:
            try:
                request = free.get_nowait()
            except Empty:
                with creating:  # two threads in there at once can end the process (OpenVINO 2026.4.1)
                    request = compiled.create_infer_request()
            try:
                return infer(request, pixels)
            finally:
                free.put(request)
        except (RuntimeError, MemoryError) as error:
            raise _runtime_error(error, graph, target, pixels) from error

    with FIRST_USE:
        compiled = _compile(core, graph, target, settings)
        blank = blank_crop(preprocessing)
        try:
            for _ in range(callers):
                request = compiled.create_infer_request()
                infer(request, blank)
                free.put(request)
        except (RuntimeError, MemoryError) as error:
            raise _runtime_error(error, graph, target, blank) from error
    return run


def _compile(core: Any, graph: Graph, target: str, settings: dict[str, str]) -> Any:
    try:
        if graph.format == "openvino":
            model = core.read_model(graph.content, graph.values)
        else:
            model = core.read_model(graph.content)
        return core.compile_model(model, target, settings)
    except RuntimeError as error:
        raise CheckpointError(
            f"OpenVINO cannot run {graph.where}: {last_line(error)} Export it again with: omnireid export"
        ) from error


def _runtime_error(error: Exception, graph: Graph, target: str, pixels: RgbArray) -> OmnireidError:
    if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "allocate" in str(error):
        return DeviceMemoryError(no_memory(f"OpenVINO's {target}", pixels))
    return ModelError(f"OpenVINO could not run {graph.where}: {last_line(error)}")
