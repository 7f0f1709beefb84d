from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.embedding.colours import colour_embedder, mean_colour
from tests.images.pictures import drawn_frame

from omnireid import Embedder, RuntimeOptions, load_embedder
from omnireid.embedding.boxes import OUTSIDE, cover_a_pixel, pixel_boxes
from omnireid.errors import SettingError, ShapeError, TrackingError
from omnireid.types import ByteArray


@pytest.fixture(scope="module")
def osnet(untrained: Path) -> Embedder:
    return load_embedder(untrained, RuntimeOptions(runtime="onnxruntime", precision="fp32", threads=1))


def test_a_box_embeds_as_its_crop_saved_as_png_does(osnet: Embedder, tmp_path: Path) -> None:
    frame = drawn_frame()
    boxes = np.array([[10, 20, 58, 140], [100.4, 30.6, 131.6, 94.5], [-8.2, 100, 40.0, 260], [200, 60, 216, 92]])
    found = osnet.embed_boxes(frame, boxes, "rgb")
    cut = [frame[20:140, 10:58], frame[31:94, 100:132], frame[100:240, 0:40], frame[60:92, 200:216]]
    for row, crop in enumerate(cut):
        Image.fromarray(np.ascontiguousarray(crop)).save(tmp_path / f"{row}.png")
    expected = osnet.embed([tmp_path / f"{row}.png" for row in range(len(cut))])
    assert np.array_equal(found.embeddings, expected)
    assert found.valid.all()
    bgr = np.ascontiguousarray(frame[..., ::-1])
    reversed_channels = osnet.embed_boxes(bgr, boxes, "bgr")
    assert np.array_equal(reversed_channels.embeddings, expected)
    assert np.array_equal(reversed_channels.qualities, found.qualities)
    assert not np.allclose(osnet.embed_boxes(bgr, boxes, "rgb").embeddings, expected, atol=1e-3)


def test_a_box_outside_the_frame_is_masked_and_zero() -> None:
    boxes = [[400, 10, 450, 90], [-90, 10, -1, 90], [10, 10, 40, 90], [10.2, 10, 10.4, 90], [40, 90, 10, 10]]
    found = colour_embedder().embed_boxes(drawn_frame(), boxes, "rgb")
    assert found.valid.tolist() == [False, False, True, False, False]
    assert not found.embeddings[~found.valid].any()
    assert found.embeddings[2].all()
    assert found.qualities[~found.valid].tolist() == [0, 0, 0, 0]
    assert [problem == OUTSIDE for problem in found.problems] == [True, True, False, True, True]


def test_no_box_gives_no_row() -> None:
    nothings: list[object] = [[], np.empty((0, 4), np.float32), torch.empty(0, 4)]
    for nothing in nothings:
        found = colour_embedder().embed_boxes(drawn_frame(), nothing, "bgr")
        assert found.embeddings.shape == (0, 3)
        assert len(found) == len(found.problems) == 0


def test_each_crop_has_its_quality_and_its_problem() -> None:
    boxes = [[60, 20, 108, 140], [120, 20, 168, 140], [130, 20, 178, 140], [0, 20, 48, 140], [200, 20, 215, 50]]
    found = colour_embedder().embed_boxes(drawn_frame(), [*boxes, [220, 20, 310, 110]], "rgb")
    assert found.qualities.dtype == np.float32
    assert found.qualities[4] == 0
    assert (found.qualities[[0, 1, 2, 3, 5]] > 0.35).all()
    assert [None if problem is None else problem.split(":")[0] for problem in found.problems] == [
        *(None, "two people", "two people", "cut off by the frame", "too small", "not upright")
    ]


def test_up_to_32_boxes_are_one_batch_and_the_frame_is_not_written_to() -> None:
    sizes: list[int] = []

    def run(pixels: ByteArray) -> Any:
        sizes.append(len(pixels))
        return mean_colour(pixels)

    frame = drawn_frame()
    frame.setflags(write=False)
    boxes = np.tile([[20, 20, 68, 140]], (70, 1))
    embedder = colour_embedder(run=run)
    embedder.embed_boxes(frame, boxes[:32], "rgb")
    assert sizes == [32]
    many = embedder.embed_boxes(frame, boxes, "rgb")
    assert sizes == [32, 32, 32, 6]
    assert np.ptp(many.embeddings, axis=0).max() < 1e-6


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_box_that_is_not_finite_is_named(value: float) -> None:
    with pytest.raises(TrackingError, match=r"Box 1 of 2 is not finite: \[1\.0, (nan|inf), 9\.0, 9\.0\]"):
        colour_embedder().embed_boxes(drawn_frame(), [[1, 1, 9, 9], [1, value, 9, 9]], "rgb")


@pytest.mark.parametrize(
    ("frame", "boxes", "channels", "error", "message"),
    [
        (np.zeros((9, 9, 3), np.float32), [[0, 0, 5, 5]], "rgb", ShapeError, r"got float32 of shape \(9, 9, 3\)"),
        (np.zeros((9, 9), np.uint8), [[0, 0, 5, 5]], "rgb", ShapeError, r"got uint8 of shape \(9, 9\)"),
        (np.zeros((0, 9, 3), np.uint8), [[0, 0, 5, 5]], "rgb", ShapeError, "Was it read"),
        ("frame.png", [[0, 0, 5, 5]], "rgb", ShapeError, "A frame is a .* array; got str"),
        (drawn_frame(), [0, 0, 5, 5], "rgb", ShapeError, r"must be \(N, 4\) numbers.*shape \(4,\)"),
        (drawn_frame(), [[0, 0, 5, 5, 1]], "rgb", ShapeError, r"shape \(1, 5\)"),
        (drawn_frame(), [["0", "0", "5", "5"]], "rgb", ShapeError, "got <U1"),
        (drawn_frame(), [[0, 0, 5, 5]], "gbr", SettingError, "channels must be 'bgr' .* got 'gbr'"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    frame: Any, boxes: Any, channels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        colour_embedder().embed_boxes(frame, boxes, channels)


coordinates = st.floats(-1e12, 1e12) | st.floats(-60, 60)


@settings(max_examples=60, deadline=None)
@given(boxes=st.lists(st.tuples(*[coordinates] * 4), min_size=1, max_size=5), height=st.integers(1, 40))
def test_every_box_is_clipped_into_the_frame_and_can_be_made_to_cover_a_pixel(
    boxes: list[tuple[float, ...]], height: int
) -> None:
    given_boxes = np.array(boxes)
    clipped, covering = pixel_boxes(given_boxes, height, 30), cover_a_pixel(given_boxes, height, 30)
    for found in (clipped, covering):
        assert found.min() >= 0
        assert found[:, [0, 2]].max() <= 30
        assert found[:, [1, 3]].max() <= height
    assert (covering[:, 2:] > covering[:, :2]).all()
    has_pixels = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
    assert np.array_equal(clipped[has_pixels], covering[has_pixels])
