"""Networks that give no numbers, do not fit the memory or are left in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.embedding.colours import colour_embedder, mean_colour

from omnireid import load_embedder
from omnireid.embedding import network as network_module
from omnireid.embedding.network import check_threads
from omnireid.embedding.options import RuntimeName, RuntimeOptions
from omnireid.errors import (
    CheckpointError,
    DeviceMemoryError,
    EmbeddingError,
)
from omnireid.images.decode import RgbArray
from omnireid.images.probes import probe_crops
from omnireid.weights.artefact import read_artefact, write_artefact

PIXELS = probe_crops(7, 64, 32)


def damaged(untrained: Path, path: Path, name: str, value: float) -> Path:
    tensors, metadata = read_artefact(untrained)
    write_artefact(path, {**tensors, name: np.full_like(tensors[name], value)}, metadata)
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_weights_that_are_not_finite_are_refused_alike(tmp_path: Path, untrained: Path, runtime: RuntimeName) -> None:
    path = damaged(untrained, tmp_path / "w.safetensors", "fc.linear.bias", np.nan)
    with pytest.raises(CheckpointError, match=r"fc\.linear\.bias has 512 values that are not finite"):
        load_embedder(path, RuntimeOptions(runtime=runtime, precision="fp32"))


@pytest.mark.parametrize("runtime", ["auto", "onnxruntime", "torch"])
def test_activations_that_overflow(tmp_path: Path, untrained: Path, runtime: RuntimeName) -> None:
    path = damaged(untrained, tmp_path / "w.safetensors", "conv1.conv.weight", 1e38)
    embedder = load_embedder(path, RuntimeOptions(runtime=runtime, device="cpu"))
    with pytest.raises(EmbeddingError, match=r"not finite for image 0.*fp32 cannot carry.*use an earlier checkpoint"):
        embedder.embed(PIXELS)


def test_activations_that_overflow_are_not_hidden_by_openvino(tmp_path: Path, untrained: Path) -> None:
    path = damaged(untrained, tmp_path / "w.safetensors", "conv1.conv.weight", 1e38)
    with pytest.raises(
        EmbeddingError, match=r"w\.safetensors overflow: .*which OpenVINO would hide.*earlier checkpoint"
    ):
        load_embedder(path, RuntimeOptions(runtime="openvino", precision="fp32"))


def test_weights_that_halves_cannot_hold(tmp_path: Path, untrained: Path) -> None:
    path = damaged(untrained, tmp_path / "w.safetensors", "conv1.conv.weight", 1e5)
    with pytest.raises(
        CheckpointError, match=r"conv1\.weight, with its norm.*float16 cannot hold\. Use --precision fp32"
    ):
        load_embedder(path, RuntimeOptions(runtime="onnxruntime", precision="fp16"))


def limited(most: int) -> Callable[[RgbArray], Any]:
    """A network with memory for `most` crops at once."""

    def run(pixels: RgbArray) -> Any:
        if len(pixels) > most:
            raise DeviceMemoryError(f"no memory for {len(pixels)}")
        return mean_colour(pixels)

    return run


@pytest.mark.parametrize("streams", [1, 2])
def test_a_batch_that_does_not_fit_is_halved_with_a_warning(streams: int) -> None:
    images = list(PIXELS[:4])
    embedder = colour_embedder(run=limited(2), streams=streams)
    with pytest.warns(RuntimeWarning, match="No memory for a batch of 4 crops; going on with 2") as warned:
        found = embedder.embed(iter(images), batch_size=4)
    assert len(warned) == 1
    assert np.array_equal(found, colour_embedder().embed(images))
    assert np.array_equal(embedder.embed(images, batch_size=2), found)


def test_a_crop_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(DeviceMemoryError, match="no memory for 1"):
        colour_embedder(run=limited(0)).embed(PIXELS[:1])
    with pytest.warns(RuntimeWarning), pytest.raises(DeviceMemoryError, match="no memory for 1"):
        colour_embedder(run=limited(0)).embed(PIXELS[:2])


def test_a_stream_that_is_left_early_leaves_no_thread() -> None:
    import threading

    def endless() -> Iterator[Any]:
        while True:
            yield PIXELS[0]

    before = set(threading.enumerate())
    stream = colour_embedder(streams=2).embed_batches(endless(), batch_size=2)
    indices, _ = next(stream)
    assert indices.tolist() == [0, 1]
    assert set(threading.enumerate()) > before
    stream.close()  # type: ignore[attr-defined]
    del stream
    assert set(threading.enumerate()) == before


def test_ctrl_c_in_a_stream_leaves_no_thread() -> None:
    import threading

    def interrupted() -> Iterator[Any]:
        for number in range(20):
            if number == 9:
                raise KeyboardInterrupt
            yield PIXELS[0]

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        colour_embedder(streams=2).embed(interrupted(), batch_size=2)
    assert set(threading.enumerate()) == before


def test_threads_are_one_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "usable_cores", lambda: 2)
    assert check_threads(None) == 2
    assert check_threads(1) == 1
