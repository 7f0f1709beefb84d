from __future__ import annotations

import numpy as np
import pytest
from tests.images.pictures import blurred, drawn

from omnireid.images.quality import LEAST_SHARPNESS, measure_crop, sharpness_of
from omnireid.types import ByteArray


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
