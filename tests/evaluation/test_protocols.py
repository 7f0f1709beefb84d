from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.reference import label

from omnireid.data.matches import find_matches
from omnireid.errors import LabelsError, NoTrueMatchError
from omnireid.evaluation.protocols import average_queries, check_labels, draw_gallery


def test_euclidean_averages_are_plain_means() -> None:
    query = np.array([[2, 0], [0, 4], [1, 1], [5, 5], [9, 9]], dtype=np.float16)
    means, labels, first_crops = average_queries(query, label([2, 1, 2, 1, -1], [1, 1, 1, 2, 1]), "euclidean")
    assert means.tolist() == [[0, 4], [5, 5], [1.5, 0.5]]
    assert means.dtype == np.float32
    assert first_crops.tolist() == [1, 3, 0]
    assert labels.person_ids.tolist() == [1, 1, 2]
    assert labels.camera_ids is not None
    assert labels.camera_ids.tolist() == [1, 2, 1]


def test_cosine_averages_are_means_of_unit_vectors() -> None:
    means, _, _ = average_queries(np.array([[3.0, 0], [0, 0.5], [0, 0]]), label([1, 1, 2], [1, 1, 1]), "cosine")
    assert means.tolist() == [[0.5, 0.5], [0, 0]]


def test_averages_need_cameras() -> None:
    with pytest.raises(LabelsError, match="needs camera ids"):
        average_queries(np.zeros((1, 1)), label([1]), "euclidean")


def test_labels_are_checked_before_anything_is_embedded() -> None:
    check_labels(label([1], [1]), label([1], [2]), "single-query")
    check_labels(label([1]), label([1]), "no-cameras")
    with pytest.raises(NoTrueMatchError):
        check_labels(label([1], [1]), label([1], [1]), "multi-query")
    with pytest.raises(LabelsError):
        check_labels(label([1]), label([1]), "single-query")


@given(st.integers(0, 2**32 - 1))
def test_a_draw_is_one_eligible_crop_an_identity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    query = label(rng.integers(0, 5, 10), rng.integers(0, 3, 10))
    gallery = label(rng.integers(-1, 7, 40), rng.integers(0, 3, 40))
    assert gallery.camera_ids is not None
    assert query.camera_ids is not None
    try:
        matches = find_matches(query, gallery, use_cameras=True)
    except NoTrueMatchError:
        return
    draw = draw_gallery(matches, gallery.person_ids, rng)
    persons, cameras = gallery.person_ids[draw.crops], gallery.camera_ids[draw.crops]
    shared = np.setdiff1d(np.arange(len(draw.crops)), draw.hidden)
    assert sorted(persons[shared]) == sorted(set(gallery.person_ids.tolist()) - {-1})
    of_query, crop = draw.matches.query_of_crop, draw.matches.crop_indices
    for number, index in enumerate(matches.queries):
        own = crop[of_query == number]
        assert set(own) == set(np.flatnonzero(persons == query.person_ids[index]))
        (true,) = crop[(of_query == number) & draw.matches.is_true_match]
        assert persons[true] == query.person_ids[index]
        assert cameras[true] != query.camera_ids[index]


def test_draws_are_even() -> None:
    matches = find_matches(label([1], [1]), label([1, 1, 1, 1], [2, 2, 2, 1]), use_cameras=True)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(300):
        draw = draw_gallery(matches, np.array([1, 1, 1, 1]), rng)
        drawn += draw.crops[draw.matches.crop_indices[draw.matches.is_true_match]].tolist()
    counts = np.bincount(drawn, minlength=4)
    assert counts[3] == 0
    assert counts[:3].min() > 70
