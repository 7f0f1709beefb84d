"""Runtimes say why they cannot run: settings, devices, libraries and memory that are not there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests.embedding.processors import PIXELS, Compiled, Processor, error_of, on

from omnireid import load_embedder
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.options import Precision, RuntimeName, RuntimeOptions
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import (
    CheckpointError,
    DeviceMemoryError,
    MissingDependencyError,
    ModelError,
    OmnireidError,
    SettingError,
)
from omnireid.weights.graph_file import seal_onnx

pytestmark = pytest.mark.usefixtures("two_cores")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_processor_without_the_precision(files: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision) -> None:
    on(Processor("FP32", "INT8"), monkeypatch)
    message = rf"no {precision} in OpenVINO \(it has FP32, INT8\)\. Use --precision fp32"
    with pytest.raises(ModelError, match=message):
        load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision=precision))


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("w.onnx", {"runtime": "tensorrt"}, "No runtime 'tensorrt'. Known: auto, onnxruntime, openvino, torch"),
    ("w.onnx", {"precision": "fp8"}, "No precision 'fp8'. Known: auto, fp32, bf16, fp16, int8"),
    ("w.onnx", {"runtime": "onnxruntime", "device": "tpu"}, "No device 'tpu': use auto, cpu, cuda"),
    ("w.onnx", {"runtime": "onnxruntime", "device": "cuda:01"}, "No device 'cuda:01': use auto"),
    ("w.onnx", {"runtime": "onnxruntime", "precision": "bf16"}, r"w\.onnx is fp32, not bf16.*--runtime openvino"),
    ("half.onnx", {"runtime": "onnxruntime", "precision": "fp32"}, r"half\.onnx is fp16, not fp32.*--precision fp16"),
    ("w.xml", {"runtime": "onnxruntime"}, r"w\.xml is a graph for OpenVINO\. Use --runtime openvino"),
    ("w.onnx", {"runtime": "torch"}, r"w\.onnx is a graph for onnxruntime or openvino; torch runs artefacts"),
    ("w.onnx", {"runtime": "onnxruntime", "precision": "int8"}, "no int8 graph, and int8 needs calibration"),
    ("w.onnx", {"runtime": "openvino", "precision": "int8"}, "no int8 graph, and int8 needs calibration"),
    ("w.safetensors", {"precision": "int8"}, "w.safetensors is no int8 graph.*omnireid export"),
    ("w.safetensors", {"runtime": "torch", "precision": "int8"}, "torch runs no int8 here. Export the weights"),
    ("w.safetensors", {"runtime": "torch", "precision": "fp16", "device": "cpu"}, "fp16 on a GPU only.*fp32 or bf16"),
    ("int8.onnx", {"runtime": "openvino", "precision": "fp32"}, "an int8 graph; it cannot be run in fp32"),
    ("int8.onnx", {"runtime": "onnxruntime", "precision": "fp32"}, r"int8\.onnx is int8, not fp32"),
]


WRONG_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"threads": 0}, "at least one thread; got threads=0"),
    ({"threads": 3}, "threads=3, but this process may use 2 cores.*Leave --threads out"),
    ({"threads": "2"}, "threads must be a whole number; got '2'"),
    ({"batch_size": 0}, "at least one crop; got batch_size=0"),
    ({"batch_size": 2.5}, "batch_size must be a whole number; got 2.5"),
    ({"device": 0}, "device must be a name such as 'cpu' or 'cuda:1'; got 0"),
    ({"architecture": 25}, "architecture must be the name of a network; got 25"),
]


@pytest.mark.parametrize(("asked", "message"), WRONG_SETTINGS)
def test_wrong_settings_are_named(files: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load_embedder(files / "w.onnx", RuntimeOptions(**asked))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(SettingError, match="options must be RuntimeOptions, such as .*; got 'openvino'"):
        load_embedder("w.onnx", "openvino")  # type: ignore[arg-type]


@pytest.mark.parametrize(("file", "asked", "message"), REFUSED)
def test_refusals(files: Path, file: str, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_embedder(files / file, RuntimeOptions(**asked))


@pytest.mark.parametrize("device", ["gpu", "gpu.1", "npu", "cuda", "auto:cpu", "cpu.0", ""])
def test_a_device_that_openvino_lacks(files: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    on(Processor("FP32"), monkeypatch)
    with pytest.raises(ModelError, match=rf"Device {device} is not there: OpenVINO has cpu\. Use --device cpu"):
        load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision="fp32", device=device))


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "coreml", "dml"])
def test_a_device_that_onnx_runtime_lacks(files: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match=f"Device {device} is not there: the installed ONNX Runtime has CPU"):
        load_embedder(files / "w.onnx", RuntimeOptions(runtime="onnxruntime", device=device))


class Session:
    """An ONNX Runtime session on `provider` that fails with `error` for more than one crop."""

    def __init__(self, provider: str, error: Exception) -> None:
        self._provider, self._error = provider, error

    def get_providers(self) -> list[str]:
        return [self._provider]

    def get_inputs(self) -> list[Any]:
        return [type("Input", (), {"name": "images"})]

    def run(self, _outputs: object, inputs: dict[str, Any]) -> Any:
        if len(inputs["images"]) > 1:
            raise self._error
        return [np.zeros((1, 512), np.float32)]


def in_session(
    files: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, *, provider: str = "CPU", device: str = "cpu"
) -> Embedder:
    """`w.onnx` in ONNX Runtime, whose session fails."""
    real = onnxruntime.InferenceSession

    def make(content: bytes, options: Any, providers: list[Any], **more: Any) -> Any:
        bare = options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if bare:  # to read the metadata
            return real(content, options, providers=["CPUExecutionProvider"], **more)
        return Session(f"{provider}ExecutionProvider", error)

    monkeypatch.setattr(onnxruntime, "InferenceSession", make)
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    return load_embedder(files / "w.onnx", RuntimeOptions(runtime="onnxruntime", device=device))


def test_a_gpu_that_onnx_runtime_cannot_start_is_not_the_cpu(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"Device cuda:1 cannot be used.*would run on the CPU.*--device cpu"):
        in_session(files, monkeypatch, ValueError(), device="cuda:1")
    assert in_session(files, monkeypatch, ValueError(), device="auto").network.device == "cpu, 2 threads"
    gpu = in_session(files, monkeypatch, ValueError(), provider="CUDA", device="cuda")
    assert (gpu.network.device, gpu.network.run_stream) == ("cuda", None)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError(), DeviceMemoryError, "No memory on .* for a batch of 7 crops of 64 × 32"),
        (RuntimeError("std::bad_alloc"), DeviceMemoryError, "smaller --batch-size"),
        (RuntimeError("Failed to allocate memory for requested buffer"), DeviceMemoryError, "smaller --batch-size"),
        (ValueError("a bug\nof theirs"), ModelError, r"could not run .*w\.onnx: a bug$"),
        (ValueError(), ModelError, r"could not run .*w\.onnx: ValueError$"),
    ],
)
def test_errors_of_onnx_runtime_are_typed(
    files: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[OmnireidError], message: str
) -> None:
    network = in_session(files, monkeypatch, error).network
    with pytest.raises(kind, match=message):
        network.run(PIXELS)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError(), DeviceMemoryError, "No memory on OpenVINO's CPU for a batch of 7 crops of 64 × 32"),
        (RuntimeError("Check failed:\nCould not allocate 2 GB"), DeviceMemoryError, "smaller --batch-size"),
        (RuntimeError("Check failed:\na bug\n"), ModelError, r"could not run .*w\.onnx: a bug$"),
    ],
)
def test_errors_of_openvino_are_typed(
    files: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[OmnireidError], message: str
) -> None:
    on(Processor("FP32", compiled=Compiled(error)), monkeypatch)
    embedder = load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision="fp32"))
    with pytest.raises(kind, match=message):
        embedder.network.run(PIXELS)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_that_a_runtime_cannot_open(tmp_path: Path, untrained: Path, runtime: RuntimeName) -> None:
    import onnx

    graph = WeightsFile(untrained).graph
    model = onnx.load_from_string(graph.content)
    (node,) = [node for node in model.graph.node if node.name == "pool5"]
    node.op_type = "NoSuchOperation"
    (tmp_path / "w.onnx").write_bytes(seal_onnx(model.SerializeToString(), graph.metadata))
    with pytest.raises(CheckpointError, match=r"cannot (run|be read)"):
        load_embedder(tmp_path / "w.onnx", RuntimeOptions(runtime=runtime, device="cpu"))


MISSING: list[tuple[str, str, dict[str, Any], str]] = [
    ("openvino", "w.onnx", {"runtime": "openvino"}, r"needs openvino.*omnireid\[openvino\]"),
    ("onnxruntime", "w.safetensors", {"runtime": "onnxruntime"}, "needs onnxruntime"),
    ("openvino", "w.xml", {}, r"needs openvino.*omnireid\[openvino\]"),
    ("onnx", "w.safetensors", {"runtime": "onnxruntime"}, r"needs onnx.*pip install onnx"),
    ("onnx", "w.safetensors", {"runtime": "openvino"}, r"needs onnx.*pip install onnx"),
    ("onnx torch", "w.safetensors", {}, r"needs onnx.*pip install onnx"),
    ("torch", "w.safetensors", {"runtime": "torch"}, r"needs torch.*omnireid\[torch\]"),
]


@pytest.mark.parametrize(("libraries", "file", "asked", "message"), MISSING)
def test_a_library_that_is_not_installed(
    files: Path, monkeypatch: pytest.MonkeyPatch, libraries: str, file: str, asked: dict[str, Any], message: str
) -> None:
    for name in libraries.split():
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=message):
        load_embedder(files / file, RuntimeOptions(**asked))


def test_what_still_runs_without_a_library(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIREID_CACHE", str(tmp_path))  # nothing is remembered of the time when it was there
    monkeypatch.setitem(sys.modules, "onnx", None)
    in_torch = load_embedder(files / "w.safetensors", RuntimeOptions(device="cpu"))
    assert in_torch.runtime == "torch"
    for name in ("torch", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    embedder = load_embedder(files / "w.onnx")
    assert str(embedder.choice).startswith("runtime onnxruntime fp32: the only one here")
    assert error_of(embedder.embed(PIXELS), in_torch.embed(PIXELS)) < 1e-4
