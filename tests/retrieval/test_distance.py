from __future__ import annotations

import numpy as np
import pytest

from omnireid.retrieval.distance import find_copies, prepare_gallery, squared_norms
from omnireid.terms import Distance


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("width", [1, 7, 16, 33, 128, 513])
def test_equal_rows_get_equal_values_wherever_they_stand(distance: Distance, width: int) -> None:
    rng = np.random.default_rng(width)
    pool = rng.standard_normal((40, width)).astype(np.float32)
    drawn = rng.integers(0, 40, 1003)
    gallery = prepare_gallery(pool[drawn], distance)
    query = rng.standard_normal((37, width)).astype(np.float32)
    values = np.empty((37, 1003), dtype=np.float32)
    gallery.compare(query, values)
    for which in range(40):
        assert len(np.unique(values[:, drawn == which], axis=1).T) == 1


def test_copies_are_rows_equal_to_an_earlier_one() -> None:
    # Rows 1 and 4 have the length of row 0 but are not equal to it; -0 equals 0.
    rows = np.array([[3, 4], [4, 3], [3, 4], [0, 1], [4, 3], [-0.0, 1], [4, 3]], dtype=np.float16)
    copies, firsts = find_copies(rows, squared_norms(rows, "gallery"))
    assert copies.tolist() == [2, 4, 5, 6]
    assert firsts.tolist() == [0, 1, 3, 1]
