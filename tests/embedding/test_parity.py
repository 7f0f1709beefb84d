from __future__ import annotations

import numpy as np
import pytest

from omnireid.embedding.parity import GATES, compare_embeddings
from omnireid.errors import ShapeError
from omnireid.images.probes import probe_crops


def test_cosines() -> None:
    one = np.array([[1, 0], [0, 2], [0, 0]], np.float32)
    other = np.array([[3, 0], [2, 2], [0, 0]], np.float32)
    parity = compare_embeddings(one, other)
    assert parity.smallest == pytest.approx(0.5**0.5)
    assert parity.mean == pytest.approx((2 + 0.5**0.5) / 3)
    assert parity.crops == 3
    assert compare_embeddings(one[2:], other[:1]).smallest == 0  # a zero row agrees with zero rows alone


def test_a_value_that_is_not_finite_passes_no_gate() -> None:
    one, other = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    other[1, 1] = np.nan
    assert not any(gate.passes(compare_embeddings(one, other)) for gate in GATES.values())
    assert all(gate.passes(compare_embeddings(one, one)) for gate in GATES.values())


def test_tables_that_do_not_compare() -> None:
    for shape in ((3, 2), (2, 3), (0, 2)):
        with pytest.raises(ShapeError, match="Embeddings to compare must have one shape"):
            compare_embeddings(np.ones((2 if shape[0] else 0, 2), np.float32), np.ones(shape, np.float32))


def test_probes_are_the_same_every_time_and_not_all_alike() -> None:
    crops = probe_crops(3, 64, 32)
    assert crops.shape == (3, 64, 32, 3)
    assert np.array_equal(crops, probe_crops(3, 64, 32))
    assert np.abs(crops[0].astype(int) - crops[1]).mean() > 10
    neighbours = np.abs(np.diff(crops.astype(int), axis=2)).mean()
    assert neighbours < 20  # white noise has 85
