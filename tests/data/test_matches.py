from __future__ import annotations

from tests.evaluation.reference import label

from omnireid.data.matches import find_matches


def test_matches_are_the_person_seen_by_another_camera() -> None:
    query = label([5, 3, 9, 4, -1], [1, 2, 1, 1, 1])
    gallery = label([3, 5, 5, 3, -1, 0, 4, 5], [1, 1, 2, 2, 1, 1, 1, 3])
    matches = find_matches(query, gallery, use_cameras=True)
    assert matches.queries.tolist() == [1, 0]
    assert matches.query_of_crop.tolist() == [0, 0, 1, 1, 1]
    assert matches.crop_indices.tolist() == [0, 3, 1, 2, 7]
    assert matches.is_true_match.tolist() == [True, False, False, True, True]
    assert matches.left_out == {
        "person not in the gallery": 1,
        "person seen in the gallery only by the query's own camera": 1,
        "junk query (person id -1)": 1,
    }


def test_without_cameras_nothing_is_skipped() -> None:
    matches = find_matches(label([1], [1]), label([1, 1], [1, 2]), use_cameras=False)
    assert matches.is_true_match.tolist() == [True, True]
    assert matches.left_out == {}
