from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnireid.errors import ShapeError
from omnireid.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def test_equals_the_formula_written_plainly() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 40, 3), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(pixels).resize((128, 256), Image.Resampling.BILINEAR), dtype=np.float64)
    plain = ((resized / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)
    ours = Preprocessing().apply(pixels)
    assert ours.dtype == np.float32
    assert np.abs(ours - plain).max() < 1e-5


def test_a_crop_of_the_right_size_is_not_touched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 128, 3), dtype=np.uint8)
    assert np.array_equal(Preprocessing().resize(pixels), pixels)


SHAPES = [(64, 32), (32, 16), (100, 40), (16, 8), (31, 16), (64, 16), (1, 1)]


@settings(max_examples=40, deadline=None)
@given(shapes=st.lists(st.sampled_from(SHAPES), min_size=1, max_size=9), bad=st.sets(st.integers(0, 8), max_size=3))
def test_crops_of_many_sizes_together_are_those_resized_alone(shapes: list[tuple[int, int]], bad: set[int]) -> None:
    """Doubled in place, doubled and scattered, copied, or left to Pillow: it is all Pillow's bilinear resize."""
    rng = np.random.default_rng(len(shapes))
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    sources = [b"broken" if i in bad else image for i, image in enumerate(images)]
    out = np.zeros((len(shapes), 64, 32, 3), np.uint8)
    errors = Preprocessing(64, 32).resize_into(out, sources, names=[f"crop {i}" for i in range(len(shapes))])
    assert list(errors) == sorted(i for i in bad if i < len(shapes))
    assert all(str(error).startswith(f"crop {i} is not a JPEG") for i, error in errors.items())
    for i, image in enumerate(images):
        if i not in bad:
            resized = Image.fromarray(image).resize((32, 64), Image.Resampling.BILINEAR)
            assert np.array_equal(out[i], np.asarray(resized)), shapes
            assert np.array_equal(out[i], Preprocessing(64, 32).resize(image))


@pytest.mark.real
def test_golden_pixel_means(shared: Path) -> None:
    golden = np.load(shared / "golden" / "market_query_features.npz")
    queries = shared / "data" / "Market-1501-v15.09.15" / "query"
    means = [Preprocessing().apply(queries / str(name)).mean() for name in golden["names"]]
    assert np.allclose(means, golden["pixel_mean"], atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 0}, "does not exist"),
        ({"std": (0.1, 0.0, 0.1)}, "std above 0"),
        ({"mean": (0.1, float("nan"), 0.1)}, "finite"),
        ({"mean": (0.1, 0.2)}, "three finite numbers"),
        ({"interpolation": "bicubic"}, "Only bilinear"),
    ],
)
def test_refuses_what_makes_no_sense(values: dict[str, object], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Preprocessing(**values)  # type: ignore[arg-type]


def test_normalise_wants_resized_bytes() -> None:
    with pytest.raises(ShapeError, match="Use resize first"):
        Preprocessing().normalise(np.zeros((1, 64, 32, 3), np.uint8))
