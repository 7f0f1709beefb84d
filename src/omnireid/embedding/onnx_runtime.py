"""Running a graph in ONNX Runtime, which the core install has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

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
from omnireid.errors import CheckpointError, DeviceMemoryError, ModelError, first_line, require
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray
from omnireid.weights.graph_file import Graph
from omnireid.weights.runtime_start import FIRST_USE

if TYPE_CHECKING:
    import onnxruntime

_ACCELERATORS = {"cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider", "dml": "DmlExecutionProvider"}
_DEVICE = re.compile(r"(cuda|coreml|dml)(?::(0|[1-9][0-9]*))?")
_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "out of memory")
_STREAM_BATCH = 8  # 1.1 times as fast as 32 (osnet_x0_25, benchmarks/embedding.py)
_ACCELERATOR_BATCH = 64


def open_network(graph: Graph, *, precision: Precision = "auto", threads: int | None = None, device: str) -> Network:
    """Open an ONNX graph in ONNX Runtime.

    Args:
        graph: A graph in the ONNX format.
        precision: ``auto``, or the precision in which the graph is stored.
        threads: Number of CPU threads, by default one per core.
        device: ``cpu``, or ``cuda[:i]``, ``coreml`` or ``dml`` if the installed ONNX Runtime has them. ``auto`` takes
            the first accelerator that is there.

    Raises:
        ModelError: the graph is stored in another precision, or the device is not there.
        CheckpointError: ONNX Runtime cannot run the graph.
        DeviceMemoryError: the device has no memory for a single crop.
        MissingDependencyError: ONNX Runtime cannot be imported.
    """
    require("onnxruntime", None, "Running a graph in ONNX Runtime")
    stored = graph.metadata.precision
    if graph.format != "onnx":
        raise ModelError(f"{graph.where} is a graph for OpenVINO. Use --runtime openvino.")
    if precision == "int8" and stored != "int8":
        raise ModelError(needs_calibration(graph.where))
    if precision not in ("auto", stored):
        raise ModelError(
            f"ONNX Runtime computes a graph in the precision it is stored in: {graph.where} is {stored}, not "
            f"{precision}. Use --precision {stored}, export it again with omnireid export --precision …, or use "
            "--runtime openvino, which has bf16 where the processor has it."
        )
    number = check_threads(threads)
    session = open_session(graph, number, device)
    provider = session.get_providers()[0]
    if provider == "CPUExecutionProvider" and device not in ("auto", "cpu"):
        raise ModelError(
            f"Device {device} cannot be used: the installed ONNX Runtime knows it, but could not start it here, and "
            "would run on the CPU. Check its driver and libraries, or use --device cpu."
        )
    if provider != "CPUExecutionProvider":
        name = provider.removesuffix("ExecutionProvider").lower()
        make = in_this_process(lambda: _runner(session, graph), "onnxruntime", name)
        return Network("onnxruntime", stored, name, when_needed(make, make()), batch_size=_ACCELERATOR_BATCH)
    where = count_threads(number)
    # A session's threads do not survive a fork, so a forked process makes a session of its own.
    run = when_needed(lambda: _runner(open_session(graph, number, "cpu"), graph), _runner(session, graph))
    if number == 1:
        return Network("onnxruntime", stored, where, run, batch_size=_STREAM_BATCH)
    run_stream = when_needed(lambda: _runner(open_session(graph, 1, "cpu"), graph))
    return Network("onnxruntime", stored, where, run, run_stream, number, _STREAM_BATCH)


def open_session(graph: Graph, threads: int, device: str) -> onnxruntime.InferenceSession:
    """A session that runs a graph.

    Raises:
        ModelError: The device is not there.
        CheckpointError: ONNX Runtime cannot run the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # session.set_denormal_as_zero is not used: it changes the calling thread's arithmetic for good, NumPy's too. The
    # weights of our graphs hold no denormals.
    try:
        return onnxruntime.InferenceSession(graph.content, options, providers=_providers(device))
    except ModelError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run {graph.where}: {first_line(error)}. Export it "
            "again from the original weights with: omnireid export"
        ) from error


def _providers(device: str) -> list[Any]:
    """Execution providers in the order of preference. The CPU runs whatever the preferred one cannot."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if device == "auto":
        return [name for name in (*_ACCELERATORS.values(), "CPUExecutionProvider") if name in there]
    if device == "cpu":
        return ["CPUExecutionProvider"]
    found = _DEVICE.fullmatch(device)
    if found is None:
        raise ModelError(f"No device {device!r}: use auto, cpu, cuda, cuda:1, coreml or dml.")
    provider = _ACCELERATORS[found[1]]
    if provider not in there:
        raise ModelError(
            f"Device {device} is not there: the installed ONNX Runtime has {', '.join(there)}. For NVIDIA GPUs install "
            "onnxruntime-gpu instead of onnxruntime, or use --device cpu."
        )
    options = {} if found[2] is None else {"device_id": int(found[2])}
    return [(provider, options), "CPUExecutionProvider"]


def _runner(session: onnxruntime.InferenceSession, graph: Graph) -> RunNetwork:
    name = session.get_inputs()[0].name
    preprocessing = graph.metadata.weights.preprocessing
    takes_pixels = graph.metadata.takes_pixels

    def run(pixels: RgbArray) -> FloatArray:
        images = pixels if takes_pixels else preprocessing.normalise(pixels)
        try:
            return np.asarray(session.run(None, {name: images})[0], dtype=np.float32)
        except Exception as error:
            if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
                raise DeviceMemoryError(no_memory("the device", pixels)) from error
            raise ModelError(f"ONNX Runtime could not run {graph.where}: {first_line(error)}") from error

    with FIRST_USE:
        run(blank_crop(preprocessing))
    return run
