from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.embedding.colours import colour_embedder, mean_colour

from omnireid.embedding.embedder import load_embedder
from omnireid.embedding.network import Network, RunNetwork
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import EmbeddingError, ImageError, ModelError, SettingError, ShapeError
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray


def crops(count: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [np.random.default_rng(i).integers(0, 256, (10 + i, 6, 3), dtype=np.uint8) for i in range(count)]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 12), batch_size=st.none() | st.integers(1, 13), streams=st.integers(1, 3))
def test_batch_size_and_streams_change_nothing(count: int, batch_size: int | None, streams: int) -> None:
    embedder = colour_embedder(streams=streams)
    embeddings = embedder.embed(crops(count), batch_size=batch_size)
    assert embeddings.shape == (count, 3)
    assert embeddings.dtype == np.float32
    for crop, row in zip(crops(count), embeddings, strict=True):
        assert np.allclose(embedder.embed([crop])[0], row, rtol=1e-5, atol=1e-6)


def test_arrays_paths_bytes_and_images_mix(tmp_path: Path) -> None:
    crop = crops(1)[0]
    path = tmp_path / "crop.png"
    Image.fromarray(crop).save(path)
    embeddings = colour_embedder().embed([crop, path, str(path), path.read_bytes(), Image.fromarray(crop)])
    assert np.ptp(embeddings, axis=0).max() == 0
    assert np.array_equal(colour_embedder().embed(np.stack([crop, crop])), embeddings[:2])


def test_one_image_is_not_several() -> None:
    embedder = colour_embedder()
    for single in (crops(1)[0], "crop.jpg", b"bytes", Image.new("RGB", (4, 4)), Path("crop.jpg")):
        with pytest.raises(ShapeError, match=r"write embed\(\[image\]\)\[0\]"):
            embedder.embed(single)  # type: ignore[arg-type]
    for nothing in (None, 5, np.array(5)):
        with pytest.raises(ShapeError, match="images must be several images: paths, bytes, PIL images or arrays; got "):
            embedder.embed(nothing)  # type: ignore[arg-type]
        with pytest.raises(ShapeError, match="images must be several images"):
            next(embedder.embed_batches(nothing))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch_size", "message"),
    [
        (0, "A batch has at least one crop; got batch_size=0"),
        ("4", "batch_size must be a whole number; got '4'"),
        (2.5, "batch_size must be a whole number; got 2.5"),
    ],
)
def test_a_batch_size_that_is_none_is_named(batch_size: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        colour_embedder().embed(crops(1), batch_size=batch_size)
    assert colour_embedder().embed(crops(3), batch_size=np.int64(2)).shape == (3, 3)  # type: ignore[arg-type]


def test_a_batch_of_torch_embeds_as_its_images_do() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 10, 6, 3), dtype=np.uint8)
    expected = colour_embedder().embed(images)
    for tensor in (torch.from_numpy(images), torch.from_numpy(images).permute(0, 3, 1, 2)):
        assert np.array_equal(colour_embedder().embed(tensor), expected)
        assert np.array_equal(colour_embedder().embed(list(tensor)), expected)
    floats = torch.rand(2, 3, 10, 6, requires_grad=True)
    with pytest.raises(ImageError, match=r"^image 0 is of type float32; pixels are uint8.*lie in 0–1"):
        colour_embedder().embed(floats)
    with pytest.raises(ImageError, match="images is a tensor of torch that no array can be made of"):
        colour_embedder().embed(floats.bfloat16())


def test_an_unreadable_crop_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("text")
    with pytest.raises(ImageError, match=r"bad\.jpg is not a JPEG"):
        colour_embedder().embed([*crops(2), tmp_path / "bad.jpg"])


def test_values_that_are_not_finite_stop_it() -> None:
    embedder = colour_embedder(run=lambda pixels: np.full((len(pixels), 3), np.nan, np.float32))
    with pytest.raises(EmbeddingError, match="not finite for image 0.*omnireid inspect"):
        embedder.embed(crops(2))


def test_unknown_runtime() -> None:
    with pytest.raises(ModelError, match="No runtime 'tensorflow'. Known: auto, onnxruntime, openvino, torch"):
        load_embedder("w.pth", RuntimeOptions(runtime="tensorflow"))  # type: ignore[arg-type]


@pytest.mark.parametrize("streams", [1, 2])
def test_decoded_crops_are_embedded_as_the_same_crops_in_a_call(streams: int) -> None:
    embedder = colour_embedder(streams=streams)
    for beside_others in (False, True):
        embeddings = embedder.embed_decoded(crops(5), beside_others=beside_others)
        assert np.allclose(embeddings, embedder.embed(crops(5)), rtol=1e-5, atol=1e-6)


def test_callers_side_by_side_run_the_stream_of_a_network_that_has_one() -> None:
    ran: list[str] = []

    def note(name: str) -> RunNetwork:
        def run(pixels: RgbArray) -> FloatArray:
            ran.append(name)
            return mean_colour(pixels)

        return run

    network = Network("torch", "fp32", "cpu", note("all cores"), note("one core"), 2)
    embedder = replace(colour_embedder(), network=network)
    embedder.embed_decoded(crops(1))
    embedder.embed_decoded(crops(1), beside_others=True)
    assert ran == ["all cores", "one core"]


def test_an_array_that_is_no_decoded_crop_is_named() -> None:
    with pytest.raises(ImageError, match="image 1 is of type float32"):
        colour_embedder().embed_decoded([*crops(1), np.zeros((4, 4, 3), np.float32)])
