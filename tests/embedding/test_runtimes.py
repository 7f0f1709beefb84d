"""All runtimes give one answer, whatever the batch, the thread and the file."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.embedding.processors import PIXELS, Compiled, Processor, error_of, on

from omnireid import load_embedder
from omnireid.embedding import onnx_runtime, openvino_runtime, torch_runtime
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.options import Precision, RuntimeName, RuntimeOptions
from omnireid.embedding.parity import GATES, compare_embeddings
from omnireid.errors import ModelError
from omnireid.files import sha256_of

pytestmark = pytest.mark.usefixtures("two_cores")

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


@pytest.fixture(scope="module")
def embedders(files: Path) -> dict[str, Embedder]:
    return {
        way: load_embedder(files / file, RuntimeOptions(runtime=runtime, precision=precision, device="cpu"))
        for way, (runtime, file, precision, _) in WAYS.items()
    }


@pytest.fixture(scope="module")
def expected(embedders: dict[str, Embedder]) -> Any:
    return embedders["torch"].embed(PIXELS)


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


class SlowToCreate(Compiled):
    """Takes its time, and notes whether two threads create a request at once."""

    def __init__(self) -> None:
        super().__init__()
        self._creating = threading.Lock()
        self.overlapped = False

    def create_infer_request(self) -> Any:
        alone = self._creating.acquire(blocking=False)
        self.overlapped |= not alone
        time.sleep(0.01)
        if alone:
            self._creating.release()
        return super().create_infer_request()

    def infer(self, inputs: dict[int, Any], *, share_inputs: bool) -> Any:
        time.sleep(0.01)
        return super().infer(inputs, share_inputs=share_inputs)


def test_requests_are_created_by_one_thread_at_a_time(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that create one at once can end the process."""
    compiled = SlowToCreate()
    on(Processor("FP32", compiled=compiled), monkeypatch)
    network = load_embedder(files / "w.onnx", RuntimeOptions(runtime="openvino", precision="fp32")).network
    before = compiled.requests
    with ThreadPoolExecutor(5) as threads:
        list(threads.map(network.run, [PIXELS] * 10))
    assert compiled.requests > before + 1
    assert not compiled.overlapped


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
