"""All runtimes give one answer, whatever the batch, the thread and the file; and say why where they cannot run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid import load_embedder
from omnireid.embedding import network as network_module
from omnireid.embedding import onnx_runtime, openvino_runtime, torch_runtime
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.options import Precision, RuntimeName, RuntimeOptions
from omnireid.embedding.parity import GATES, compare_embeddings
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import (
    CheckpointError,
    DeviceMemoryError,
    MissingDependencyError,
    ModelError,
    OmnireidError,
    SettingError,
)
from omnireid.export.exporting import export_weights
from omnireid.export.options import ExportOptions
from omnireid.export.quantisation import quantise
from omnireid.files import sha256_of
from omnireid.images.probes import probe_crops
from omnireid.weights import runtime_start
from omnireid.weights.graph_file import GraphMetadata, seal_onnx

WAYS: dict[str, tuple[RuntimeName, str, Precision, float]] = {
    "onnxruntime": ("onnxruntime", "w.safetensors", "fp32", 1e-4),
    "onnxruntime fp16": ("onnxruntime", "w.safetensors", "fp16", 1e-2),
    "onnxruntime, file": ("onnxruntime", "w.onnx", "auto", 1e-4),
    "onnxruntime, fp16 file": ("onnxruntime", "half.onnx", "auto", 1e-2),
    "onnxruntime, float input": ("onnxruntime", "float.onnx", "auto", 1e-4),
    "openvino": ("openvino", "w.safetensors", "fp32", 1e-4),
    "openvino, ONNX file": ("openvino", "w.onnx", "fp32", 1e-4),
    "openvino, its own file": ("openvino", "w.xml", "fp32", 1e-4),
    "openvino, float input": ("openvino", "float.onnx", "fp32", 1e-4),
    "torch": ("torch", "w.safetensors", "fp32", 1e-4),
}
"""Way to runtime, file, precision asked for, and the relative error that is allowed."""

PIXELS = probe_crops(7, 64, 32)


@pytest.fixture(scope="module", autouse=True)
def two_cores() -> Iterator[None]:
    """Streams and threads are there whatever machine this is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_module, "usable_cores", lambda: 2)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, untrained: Path) -> Path:
    """A folder of the same weights in every kind of file; ``int8.onnx`` is near them."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "w.safetensors").write_bytes(untrained.read_bytes())
    source = WeightsFile(untrained)
    whole = source.graph
    for name, graph in (
        ("w", whole),
        ("half", source.make_graph("fp16")),
        ("float", source.make_graph("fp32", takes_pixels=False)),
    ):
        (folder / f"{name}.onnx").write_bytes(seal_onnx(graph.content, graph.metadata))
    metadata = GraphMetadata(source.metadata, "int8", weights_sha256=source.sha256)
    (folder / "int8.onnx").write_bytes(seal_onnx(quantise(whole.content, probe_crops(32, 64, 32, seed=1)), metadata))
    pair = export_weights(untrained, ExportOptions(to="openvino")).graph
    (folder / "w.xml").write_bytes(pair.content)
    (folder / "w.bin").write_bytes(pair.values)
    return folder


@pytest.fixture(scope="module")
def embedders(files: Path) -> dict[str, Embedder]:
    return {
        way: load_embedder(files / file, RuntimeOptions(runtime=runtime, precision=precision, device="cpu"))
        for way, (runtime, file, precision, _) in WAYS.items()
    }


@pytest.fixture(scope="module")
def expected(embedders: dict[str, Embedder]) -> Any:
    return embedders["torch"].embed(PIXELS)


def error_of(found: Any, expected: Any) -> float:
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


@pytest.mark.parametrize("way", WAYS)
def test_one_answer_from_crops_and_arrays(embedders: dict[str, Embedder], crop_folder: Path, way: str) -> None:
    runtime, _, precision, tolerance = WAYS[way]
    embedder, torch = embedders[way], embedders["torch"]
    assert embedder.runtime == runtime
    if precision != "auto":
        assert embedder.precision == precision
    crops = sorted(crop_folder.iterdir())
    arrays = [np.random.default_rng(i).integers(0, 256, (50 + i, 20, 3), dtype=np.uint8) for i in range(3)]
    for images in (crops, arrays, PIXELS):
        found = embedder.embed(images)
        assert found.dtype == np.float32
        assert error_of(found, torch.embed(images)) < tolerance
    assert embedder.embed([]).shape == (0, 512)


@settings(max_examples=4, deadline=None)
@given(count=st.integers(1, 7), batch_size=st.none() | st.integers(1, 8), as_stream=st.booleans())
def test_any_batch_and_any_stream_give_the_same(
    embedders: dict[str, Embedder], expected: Any, count: int, batch_size: int | None, as_stream: bool
) -> None:
    for way, embedder in embedders.items():
        images = iter(PIXELS[:count]) if as_stream else PIXELS[:count]
        found = embedder.embed(images, batch_size=batch_size)
        assert error_of(found, expected[:count]) < WAYS[way][3], way


@pytest.mark.parametrize("way", [way for way in WAYS if not way.startswith("torch")])
def test_streams_called_from_several_threads(embedders: dict[str, Embedder], way: str) -> None:
    network = embedders[way].network
    assert network.streams == 2
    run_stream = network.run_stream
    assert run_stream is not None
    batches = [PIXELS[start:] for start in (0, 1, 2, 3, 4)] * 4
    with ThreadPoolExecutor(5) as threads:
        for run in (run_stream, network.run):
            for batch, found in zip(batches, threads.map(run, batches), strict=True):
                assert error_of(found, network.run(batch)) < 1e-5


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_one_thread_has_no_streams(files: Path, expected: Any, runtime: RuntimeName) -> None:
    embedder = load_embedder(
        files / "w.onnx", RuntimeOptions(runtime=runtime, precision="fp32", threads=1, device="cpu")
    )
    assert (embedder.network.run_stream, embedder.network.device) == (None, "cpu, 1 thread")
    assert error_of(embedder.embed(PIXELS), expected) < 1e-4


def test_embeddings_of_the_same_weights_compare_and_those_of_int8_do_not(
    files: Path, embedders: dict[str, Embedder]
) -> None:
    (weights,) = {embedder.weights_sha256 for embedder in embedders.values()}
    assert weights == sha256_of(files / "w.safetensors")
    for runtime in ("onnxruntime", "openvino"):
        quantised = load_embedder(files / "int8.onnx", RuntimeOptions(runtime=runtime, device="cpu"))
        assert quantised.precision == "int8"
        assert quantised.weights_sha256 == sha256_of(files / "int8.onnx") != weights
        parity = compare_embeddings(embedders["torch"].embed(PIXELS), quantised.embed(PIXELS))
        assert GATES["int8"].passes(parity)


class Processor:
    """An OpenVINO core on a processor, or with devices, that this machine may lack; `hints` is what it was asked."""

    def __init__(self, *able: str, devices: tuple[str, ...] = ("CPU",), compiled: Any = None) -> None:
        self._core = openvino.Core()
        self._able, self._compiled = able, compiled
        self.available_devices = list(devices)
        self.hints: list[tuple[str, str]] = []

    def get_property(self, _device: str, _name: str) -> list[str]:
        return list(self._able)

    def read_model(self, *content: bytes) -> Any:
        return self._core.read_model(*content)

    def compile_model(self, model: Any, device: str, settings: dict[str, str]) -> Any:
        self.hints.append((device, settings["INFERENCE_PRECISION_HINT"]))
        return self._compiled or self._core.compile_model(model, "CPU", settings)


class Compiled:
    """A compiled network that gives zeros, or fails with `error` for more than one crop. Records who runs it."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.requests = 0
        self.threads: list[str] = []

    def create_infer_request(self) -> Any:
        self.requests += 1
        return self

    def infer(self, inputs: dict[int, Any], *, share_inputs: bool) -> Any:
        assert share_inputs
        self.threads.append(threading.current_thread().name)
        if self._error is not None and len(inputs[0]) > 1:
            raise self._error
        return {0: np.zeros((len(inputs[0]), 512), np.float32)}


def test_each_request_is_run_once_before_several_threads_use_them(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads at OpenVINO's first use can wait for each other for ever."""
    alone, stream = Compiled(), Compiled()
    processor = on(Processor("FP32"), monkeypatch)
    monkeypatch.setattr(processor, "compile_model", lambda _model, _device, s: stream if "NUM_STREAMS" in s else alone)
    network = load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision="fp32")).network
    assert alone.threads == ["MainThread"]
    assert network.run_stream is not None
    with ThreadPoolExecutor(2, thread_name_prefix="network") as threads:
        list(threads.map(network.run_stream, [PIXELS] * 6))
    assert len(set(stream.threads[:2])) == 1  # one thread runs both requests, before any other may
    assert (len(stream.threads), stream.requests) == (2 + 6, 2)


class CountingLock:
    """Counts how often it is held."""

    held = 0

    def __enter__(self) -> None:
        self.held += 1

    def __exit__(self, *_error: object) -> None:
        pass


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_no_two_threads_make_the_first_use_of_a_runtime(
    files: Path, monkeypatch: pytest.MonkeyPatch, runtime: RuntimeName
) -> None:
    lock = CountingLock()
    module = {"onnxruntime": onnx_runtime, "openvino": openvino_runtime, "torch": torch_runtime}[runtime]
    monkeypatch.setattr(module, "FIRST_USE", lock)
    options = RuntimeOptions(runtime=runtime, precision="fp32", device="cpu")
    network = load_embedder(files / "w.safetensors", options).network
    assert lock.held == 1
    if network.run_stream is not None:
        network.run_stream(PIXELS)
        assert lock.held == 2


def on(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> Processor:
    monkeypatch.setattr(runtime_start, "_core", lambda _process: processor)
    return processor


def test_bfloat16_passes_its_gate_or_is_refused(files: Path, expected: Any) -> None:
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in able:
        embedder = load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision="bf16"))
        found = embedder.embed(PIXELS)
        assert embedder.precision == "bf16"
        assert not np.array_equal(found, expected)
        assert GATES["bf16"].passes(compare_embeddings(expected, found))
    else:
        with pytest.raises(ModelError, match="no bf16 in OpenVINO"):
            load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision="bf16"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_processor_without_the_precision(files: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision) -> None:
    on(Processor("FP32", "INT8"), monkeypatch)
    message = rf"no {precision} in OpenVINO \(it has FP32, INT8\)\. Use --precision fp32"
    with pytest.raises(ModelError, match=message):
        load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision=precision))


@pytest.mark.parametrize(
    ("file", "able", "precision", "hint"),
    [
        ("w.onnx", ("FP32", "BF16"), "bf16", "bf16"),
        ("w.onnx", ("FP32", "FP16"), "fp16", "f16"),
        ("w.onnx", ("FP32", "BF16"), "fp32", "f32"),
        ("int8.onnx", ("FP32", "BF16", "INT8"), "auto", "bf16"),  # its other layers
        ("int8.onnx", ("FP32", "INT8"), "int8", "f32"),
    ],
)
def test_what_openvino_is_asked_for(
    files: Path, monkeypatch: pytest.MonkeyPatch, file: str, able: tuple[str, ...], precision: Precision, hint: str
) -> None:
    processor = on(Processor(*able, compiled=Compiled()), monkeypatch)
    load_embedder(files / file, RuntimeOptions(runtime="openvino", precision=precision))
    assert processor.hints == [("CPU", hint)]


@pytest.mark.parametrize("devices", [("CPU", "GPU"), ("CPU", "GPU.0", "GPU.1")])
def test_intels_gpus(files: Path, monkeypatch: pytest.MonkeyPatch, expected: Any, devices: tuple[str, ...]) -> None:
    processor = on(Processor("FP32", devices=devices), monkeypatch)
    for device in ("gpu", devices[-1].lower()):
        embedder = load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision="fp32", device=device))
        assert processor.hints.pop() == (device.upper(), "f32")
        assert (embedder.network.device, embedder.network.run_stream) == (device, None)
        assert error_of(embedder.embed(PIXELS), expected) < 1e-4


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


def test_what_still_runs_without_a_library(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: Any
) -> None:
    monkeypatch.setenv("OMNIREID_CACHE", str(tmp_path))  # nothing is remembered of the time when it was there
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert load_embedder(files / "w.safetensors", RuntimeOptions(device="cpu")).runtime == "torch"
    for name in ("torch", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    embedder = load_embedder(files / "w.onnx")
    assert str(embedder.choice).startswith("runtime onnxruntime fp32: the only one here")
    assert error_of(embedder.embed(PIXELS), expected) < 1e-4
