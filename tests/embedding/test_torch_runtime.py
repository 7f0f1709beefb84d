from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from omnireid import load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.embedding.torch_runtime import full_precision, load_network, load_weights
from omnireid.errors import CheckpointError, DeviceMemoryError, ModelError
from omnireid.models.osnet import OSNet
from omnireid.weights.artefact import halve, read_artefact, write_artefact

GPU = torch.device("cuda")


@pytest.mark.parametrize("device", ["mps", "meta", "xpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:01", "CPU", ""])
def test_devices_that_are_refused(untrained: Path, device: str) -> None:
    with pytest.raises(ModelError, match=f"No device '{device}': use auto, cpu, cuda or cuda:1"):
        load_embedder(untrained, RuntimeOptions(runtime="torch", device=device))


@pytest.mark.parametrize("device", ["cuda:99", "cuda:99999999999999999999"])
def test_a_device_that_is_not_there(untrained: Path, device: str) -> None:
    with pytest.raises(ModelError, match=f"Device {device} is not there: torch sees .* CUDA devices. Use device='cpu'"):
        load_embedder(untrained, RuntimeOptions(runtime="torch", device=device))


def test_another_embedding_width_than_the_networks(tmp_path: Path, untrained: Path) -> None:
    tensors, metadata = read_artefact(untrained)
    path = tmp_path / "w.safetensors"
    write_artefact(path, tensors, replace(metadata, embedding_dimension=256))
    with pytest.raises(CheckpointError, match=r"256 values; those of osnet_x0_25 have 512.*omnireid convert"):
        load_embedder(path, RuntimeOptions(runtime="torch"))


def test_halves_become_float32_again(tmp_path: Path, untrained: Path, crop_folder: Path) -> None:
    tensors, metadata = read_artefact(untrained)
    path = tmp_path / "half.safetensors"
    write_artefact(path, halve(tensors), metadata)
    assert path.stat().st_size < 0.7 * untrained.stat().st_size
    model, _ = load_weights(path)
    types = {tensor.dtype for name, tensor in model.state_dict().items() if "num_batches" not in name}
    assert types == {torch.float32}
    assert model.state_dict()["conv1.norm.num_batches_tracked"].dtype == torch.int64
    crops = sorted(crop_folder.iterdir())
    whole, half = (load_embedder(file, RuntimeOptions(runtime="torch")).embed(crops) for file in (untrained, path))
    cosine = (whole * half).sum(axis=1) / np.linalg.norm(whole, axis=1) / np.linalg.norm(half, axis=1)
    assert cosine.min() > 0.9999


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_no_memory_for_a_batch(untrained: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    network, _ = load_network(untrained, device="cpu")

    def forward(_model: OSNet, _images: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(OSNet, "forward", forward)
    with pytest.raises(
        DeviceMemoryError, match=r"No memory on cpu for a batch of 7 crops of 64 × 32.*smaller --batch-size"
    ):
        network.run(np.zeros((7, 64, 32, 3), np.uint8))


def test_other_errors_of_torch_stay_what_they_are(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, _ = load_network(untrained, device="cpu")

    def forward(_model: OSNet, _images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(OSNet, "forward", forward)
    with pytest.raises(RuntimeError, match="a bug"):
        network.run(np.zeros((1, 64, 32, 3), np.uint8))


@pytest.fixture
def precisions() -> Iterator[None]:
    """Puts torch's defaults back, by both of its ways to say them."""
    yield
    for name in ("conv", "rnn"):
        owner = getattr(torch.backends.cudnn, name, None)
        if owner is not None:
            owner.fp32_precision = "tf32"
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.usefixtures("precisions")
def test_tf32_is_off_in_a_forward_pass_and_as_before_after_it() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    for convolution, product in ((True, False), (True, True), (False, False), (False, True)):
        cudnn.allow_tf32, matmul.allow_tf32 = convolution, product
        with pytest.raises(ZeroDivisionError), full_precision(GPU):
            assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)
            raise ZeroDivisionError
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (convolution, product)
        with full_precision(torch.device("cpu")):
            assert (cudnn.allow_tf32, matmul.allow_tf32) == (convolution, product)


@pytest.mark.usefixtures("precisions")
def test_tf32_that_was_set_the_newer_way() -> None:
    convolution = getattr(torch.backends.cudnn, "conv", None)
    recurrent = getattr(torch.backends.cudnn, "rnn", None)
    matmul = torch.backends.cuda.matmul
    if convolution is None or recurrent is None:
        pytest.skip("this torch has no fp32_precision")
    convolution.fp32_precision, recurrent.fp32_precision, matmul.fp32_precision = "tf32", "ieee", "tf32"
    with full_precision(GPU):
        assert (convolution.fp32_precision, matmul.fp32_precision) == ("ieee", "ieee")
    assert (convolution.fp32_precision, recurrent.fp32_precision, matmul.fp32_precision) == ("tf32", "ieee", "tf32")


@pytest.mark.gpu
def test_a_gpu_gives_the_same_embeddings(untrained: Path, crop_folder: Path) -> None:
    crops = sorted(crop_folder.iterdir())
    expected = load_embedder(untrained, RuntimeOptions(runtime="torch", device="cpu")).embed(crops)
    found = load_embedder(untrained, RuntimeOptions(runtime="torch", device="cuda")).embed(crops)
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(expected)


@pytest.mark.real
def test_golden_features(shared: Path) -> None:
    golden = np.load(shared / "golden" / "market_query_features.npz")
    queries = shared / "data" / "Market-1501-v15.09.15" / "query"
    embedder = load_embedder(
        shared / "weights" / "osnet_x0_25_market1501.pth", RuntimeOptions(runtime="torch", device="cpu")
    )
    found = embedder.embed([queries / str(name) for name in golden["names"]])
    expected = golden["features"]
    assert found.shape == expected.shape == (8, 512)
    errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert errors.max() <= 1e-3
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
