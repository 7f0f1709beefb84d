from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.gallery.tables import crops_of, filled, mean_embedder, table_of

from omnireid.gallery.gallery import Gallery
from omnireid.gallery.quality import LEAST_SHARPNESS, frame_problems, measure_crop, sharpness_of
from omnireid.types import ByteArray


def drawn(height: int, width: int) -> ByteArray:
    """A sharp picture: rectangles of random colours and sizes."""
    rng = np.random.default_rng(3)
    picture = np.full((height, width, 3), 90, dtype=np.uint8)
    for _ in range(60):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom, right = top + rng.integers(2, height // 4), left + rng.integers(2, width // 3)
        picture[top:bottom, left:right] = rng.integers(0, 255, 3)
    return picture


def blurred(picture: ByteArray, radius: float) -> ByteArray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def slow_sharpness(picture: ByteArray) -> float:
    """The measure as its paper writes it down, for a picture that is not made smaller."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    shares = []
    for image in (grey, grey.T):
        mean = np.empty_like(image)
        for row in range(len(image)):
            mean[row] = image[np.clip(np.arange(row - 4, row + 5), 0, len(image) - 1)].mean(axis=0)
        before, after = np.abs(np.diff(image, axis=0)), np.abs(np.diff(mean, axis=0))
        shares.append(np.maximum(before - after, 0).sum() / before.sum())
    return float(min(shares))


def test_the_measure_is_that_of_the_paper() -> None:
    for picture in (drawn(60, 24), blurred(drawn(60, 24), 2)):
        assert sharpness_of(picture) == pytest.approx(slow_sharpness(picture), rel=1e-9)
    assert sharpness_of(np.full((60, 24, 3), 7, dtype=np.uint8)) == 0


def test_more_blur_is_less_sharp_at_every_resolution() -> None:
    for height in (128, 512):
        values = [sharpness_of(blurred(drawn(height, height // 2), sigma * height / 128)) for sigma in (0.01, 1, 2, 4)]
        assert values == sorted(values, reverse=True)
        assert values[0] > LEAST_SHARPNESS > values[-1]


@pytest.mark.parametrize(
    ("picture", "problem"),
    [
        (drawn(40, 30), "too small: 30 × 40 pixels, at least 20 × 48"),
        (drawn(64, 64), "not upright: 64 × 64 pixels"),
        (blurred(drawn(128, 64), 4), "too blurred: sharpness 0.1"),
        (drawn(128, 64), None),
    ],
)
def test_a_crop_has_at_most_one_problem(picture: ByteArray, problem: str | None) -> None:
    measured = measure_crop(picture).problem
    assert measured is None if problem is None else measured is not None and measured.startswith(problem)


def test_boxes_show_what_is_cut_off_and_who_stands_together() -> None:
    import pyarrow as pa

    boxes = [[0, 20, 40, 120], [30, 20, 70, 120], [60, 0.5, 90, 120], [300, 40, 340, 199.5], [200, 20, 240, 120], None]
    near = [[10, 10, 50, 110], [25, 10, 65, 110]]
    described = pa.table(
        {
            "box_xyxy": pa.array([*boxes, *near, near[1]], pa.list_(pa.float32(), 4)),
            "camera": ["1"] * 8 + ["2"],
            "time": pa.array([None] * 9, pa.timestamp("us", tz="UTC")),
            "frame": [1, 1, 1, 1, 1, 1, 2, 2, 2],
            "frame_height": [200] * 9,
        }
    )
    problems = frame_problems(described)
    assert sorted(problems) == [0, 2, 3, 6, 7]
    assert problems[3] == "cut off by the frame: its box is 300, 40, 340, 199.5"
    assert problems[6] == "two people: another box of the frame covers 62 % of its box"


def test_poor_crops_are_left_out_and_listed_or_kept(tmp_path: Path) -> None:
    pictures = {"good.png": drawn(128, 64), "tiny.png": drawn(30, 12), "soft.png": blurred(drawn(128, 64), 5)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / name)
    crops = crops_of([tmp_path / name for name in pictures], [1, 2, 3], [1, 1, 1])
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    summary = gallery.add(crops)
    assert summary.added == 1
    assert [(Path(path).name, reason.split(":")[0]) for path, reason in summary.left_out] == [
        ("tiny.png", "too small"),
        ("soft.png", "too blurred"),
    ]
    assert gallery.add(crops, keep_all=True).added == 2
    good, tiny, soft = gallery.sightings()
    assert good.quality is not None
    assert good.quality > 0.5
    assert tiny.quality == 0
    assert soft.quality is not None
    assert soft.quality < LEAST_SHARPNESS


def test_a_table_shows_only_what_boxes_show(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g", 2, box_xyxy=["0 5 20 60", "4 5 20 60"])
    assert len(gallery.sightings()) == 1
    assert gallery.add(table_of(2, box_xyxy=["0 5 20 60", "4 5 20 60"]), keep_all=True).added == 1
