from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from omnireid.data.doctor import has_true_match
from omnireid.data.partition import draw_queries, partition, protocol_of
from omnireid.errors import DataError
from omnireid.types import Split


def crops_of(people: list[int], cameras: list[int] | None) -> Split:
    return Split(
        paths=tuple(Path(f"{index:04d}.jpg") for index in range(len(people))),
        person_ids=np.array(people, dtype=np.int64),
        camera_ids=None if cameras is None else np.array(cameras, dtype=np.int64),
    )


@st.composite
def any_crops(draw: st.DrawFn) -> Split:
    """Few people and cameras, so that single crops and single cameras are common."""
    size = draw(st.integers(2, 30))
    people = draw(st.lists(st.integers(0, 5), min_size=size, max_size=size))
    cameras = draw(st.none() | st.lists(st.integers(1, 3), min_size=size, max_size=size))
    return crops_of(people, cameras)


def can_be_searched(crops: Split, person: int) -> bool:
    mine = crops.person_ids == person
    return bool(mine.sum() > 1) if crops.camera_ids is None else len(np.unique(crops.camera_ids[mine])) > 1


@given(any_crops(), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_a_partition_is_disjoint_complete_answerable_and_blind_to_order(
    crops: Split, seed: int, random: object
) -> None:
    searchable = {person for person in set(crops.person_ids.tolist()) if can_be_searched(crops, person)}
    assume(searchable)
    made = partition(crops, seed=seed)
    train, query, gallery = (set(split.person_ids.tolist()) for split in (made.train, made.query, made.gallery))
    assert not train & (query | gallery)
    together = sorted(path for split in (made.train, made.query, made.gallery) for path in split.paths)
    assert together == sorted(crops.paths)
    assert len(made.query)
    assert has_true_match(made.query, made.gallery, protocol_of(crops)).all()
    assert query == searchable - train
    assert len(searchable & train) == len(searchable) // 2
    order = list(range(len(crops)))
    random.shuffle(order)  # type: ignore[attr-defined]
    again = partition(crops.select(order), seed=seed)
    for name in ("train", "query", "gallery"):
        assert getattr(again, name).paths == getattr(made, name).paths
        assert getattr(again, name).person_ids.tolist() == getattr(made, name).person_ids.tolist()


@given(any_crops(), st.integers(0, 1000))
def test_a_query_a_camera_at_most_and_the_gallery_takes_the_rest(crops: Split, seed: int) -> None:
    assume(any(can_be_searched(crops, person) for person in set(crops.person_ids.tolist())))
    made = draw_queries(crops, seed=seed)
    cameras = np.zeros(len(made.query)) if made.query.camera_ids is None else made.query.camera_ids
    pairs = list(zip(made.query.person_ids.tolist(), cameras.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert len(made.query) + len(made.gallery) == len(crops)


def test_with_enough_crops_every_camera_of_a_test_person_has_its_query() -> None:
    crops = crops_of([1] * 6 + [2] * 6, [1, 1, 2, 2, 3, 3] * 2)
    made = partition(crops, seed=0)
    assert made.query.camera_ids is not None
    assert made.query.camera_ids.tolist() == [1, 2, 3]
    assert (len(made.train), len(made.gallery)) == (6, 3)


def test_one_crop_in_each_of_two_cameras_gives_one_query() -> None:
    made = draw_queries(crops_of([7, 7], [1, 2]), seed=0)
    assert (len(made.query), len(made.gallery)) == (1, 1)


def test_another_seed_gives_another_split() -> None:
    crops = crops_of([person for person in range(20) for _ in range(4)], [1, 1, 2, 2] * 20)
    assert {partition(crops, seed=seed).train.paths for seed in range(5)} != {partition(crops, seed=0).train.paths}


def test_distractors_all_go_to_the_gallery() -> None:
    crops = crops_of([0, 0, 1, 1, 2, 2], [1, 2, 1, 2, 1, 2])
    made = partition(crops, seed=3, distractors=frozenset({0}))
    assert (made.gallery.person_ids == 0).sum() == 2
    assert 0 not in made.train.person_ids
    assert 0 not in made.query.person_ids


def test_identities_that_cannot_be_searched_for_are_noted() -> None:
    made = draw_queries(crops_of([1, 1, 2, 2, 3], [1, 2, 1, 1, 2]), seed=0)
    assert made.query.person_ids.tolist() == [1]
    assert made.notes == (
        "2 test identities have only crops from one camera and cannot be searched for (2, 3). "
        "Such crops are in the gallery only.",
    )
    made = draw_queries(crops_of([1, 1, 2], None), seed=0)
    assert made.notes == (
        "1 test identity has only one crop and cannot be searched for (2). Such crops are in the gallery only.",
    )


def test_nothing_to_find_is_an_error_that_names_ids_and_cameras() -> None:
    with pytest.raises(
        DataError, match=r"None of the 2 identities was seen by two cameras.*\(ids: 4, 9; cameras: 1, 2\)"
    ):
        partition(crops_of([4, 4, 9], [1, 1, 2]), seed=0)
    with pytest.raises(DataError, match=r"None of the 2 identities has two crops.*\(ids: 4, 9\)"):
        partition(crops_of([4, 9], None), seed=0)
