from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from omnireid.errors import ImageError
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import read_image
from omnireid.images.preprocess import Preprocessing

CROP = np.random.default_rng(3).integers(0, 256, (8, 5, 3), dtype=np.uint8)
NOT_A_NUMBER = np.full((4, 4, 3), np.nan, np.float32)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 12), np.uint8), r"shape \(3, 20, 12\).*Channels come last: use array.transpose\(1, 2, 0\)"),
        (np.zeros((1, 20, 12), np.uint8), "Channels come last"),
        (np.zeros((5, 3, 20, 12), np.uint8), r"a batch: .* as list\(array\), with.*transpose\(0, 2, 3, 1\)"),
        (np.zeros((5, 20, 12, 3), np.uint8), r"a batch: give its images one by one, as list\(array\)\.$"),
        (np.zeros((20, 12, 2), np.uint8), r"shape \(20, 12, 2\); an image is \(H, W\)"),
        (np.zeros((20,), np.uint8), r"an image is \(H, W\)"),
        (np.zeros((), np.uint8), r"shape \(\); an image is"),
        (np.zeros((0, 12, 3), np.uint8), r"shape \(0, 12, 3\): there is no pixel in it. Was the box outside"),
        (np.zeros((12, 0), np.uint8), "there is no pixel in it"),
        (np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 4, 3), r"float32;.*0–1: \(array \* 255\)\.round\(\)"),
        (np.linspace(0, 255, 48).reshape(4, 4, 3), r"float64;.*lie in 0–255: array\.round\(\)\.astype\(np\.uint8\)"),
        (np.linspace(-2.1, 2.6, 48).reshape(4, 4, 3), r"from -2\.1 to 2\.6: was it normalised\? Give the pixels"),
        (NOT_A_NUMBER, "float32.*holds NaN or infinity"),
        (np.where(NOT_A_NUMBER > 0, 0, np.float16(np.inf)), "holds NaN or infinity"),
        (np.full((4, 4, 3), 255, np.int64), r"int64;.*lie in 0–255: array\.astype\(np\.uint8\)"),
        (np.full((4, 4), 255, np.int32), r"int32;.*lie in 0–255: array\.astype\(np\.uint8\)"),
        (np.full((4, 4), -1, np.int32), "int32.*from -1 to -1"),
        (np.full((4, 4), 70_000, np.int64), "run up to 70000, whose range is unknown"),
        (np.full((4, 4, 3), 5000.0), "run up to 5000, whose range is unknown"),
        (np.ones((4, 4), np.bool_), r"type bool;.*a mask, not a picture.*array\.astype\(np\.uint8\) \* 255"),
        (np.full((4, 4, 3), 1j), "complex128.*Build it from numbers"),
        (np.full((4, 4, 3), None), "object.*Build it from numbers"),
        (np.full((4, 4), "0"), "<U1.*Build it from numbers"),
    ],
)  # fmt: skip
def test_what_is_said_of_arrays_that_are_no_image(array: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(array)
    with pytest.raises(ImageError, match="^image 1 "):
        list(iterate_batches([np.zeros((4, 2, 3), np.uint8), array], Preprocessing(4, 2)))


class Tensor:
    """As torch's and others': an array can be made of it, but it is none."""

    def __array__(self) -> np.ndarray[Any, Any]:
        return np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "^the image is of type NoneType; an image is a path, bytes, a PIL image or a NumPy array"),
        (7, "is of type int; an image is"),
        ([[1, 2], [3, 4]], "is of type list; an image is"),
        (Tensor(), r"Tensor; an image is .* Convert it with np\.asarray\(image\), to uint8 in 0–255 with the chan"),
        (bytearray(b"jpeg"), r"is of type bytearray; .* Convert it with bytes\(image\)"),
    ],
)
def test_what_is_said_of_other_things(source: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(source)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(np.moveaxis(CROP, -1, 0).copy()),  # channels first, as torch has them
        torch.from_numpy(CROP),
    ],
)
def test_a_tensor_of_bytes_is_an_image(tensor: torch.Tensor) -> None:
    assert np.array_equal(read_image(tensor), CROP)  # type: ignore[arg-type]
    (batch,) = iterate_batches([tensor], Preprocessing(8, 5))  # type: ignore[list-item]
    assert np.array_equal(batch.pixels[0], CROP)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.rand(3, 8, 5, requires_grad=True), r"float32; pixels are uint8.*lie in 0–1"),
        (torch.zeros(3, 8, 5, dtype=torch.bfloat16), "a tensor of torch that no array can be made of .*uint8 in 0–255"),
        (torch.zeros(2, 3, 8, 5, dtype=torch.uint8), r"shape \(2, 8, 5, 3\).*a batch"),
    ],
)
def test_what_is_said_of_other_tensors(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(tensor)  # type: ignore[arg-type]


@pytest.mark.parametrize("highest", [1, 255])
def test_bytes_in_sixteen_bits_are_not_taken_for_a_black_image(highest: int) -> None:
    array = np.linspace(0, highest, 64).reshape(8, 8).astype(np.uint16)
    message = rf"16 bits a pixel, but no value above {highest} of 65,535.*array\.astype\(np\.uint8\)"
    for source in (array, Image.fromarray(array)):
        with pytest.raises(ImageError, match=message):
            read_image(source)
    assert read_image(np.zeros((4, 4), np.uint16)).max() == 0  # black is black
    assert read_image(array + 1 + 255 - highest).max() == 1


def test_big_endian_and_views_are_images() -> None:
    ramp = np.linspace(0, 65535, 256).reshape(16, 16)
    expected = np.arange(256).reshape(16, 16)
    assert np.array_equal(read_image(ramp.astype(">u2"))[..., 0], expected)
    frame = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    assert np.array_equal(read_image(frame[2:5, ::-1, ::-1]), frame[2:5, ::-1, ::-1])
