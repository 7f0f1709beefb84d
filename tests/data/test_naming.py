from __future__ import annotations

import pytest

from omnireid.data.naming import looks_like_part, naming_problem, part_roles


def test_parts_have_their_roles_whatever_case_prefix_or_suffix_they_have() -> None:
    names = ["Train", "val", "query_images", "image_test", "crops", "anna"]
    assert part_roles(names) == {
        "Train": "train",
        "val": "validation",
        "query_images": "query",
        "image_test": "gallery",
    }


def test_a_prefixed_test_is_the_gallery_only_beside_a_query() -> None:
    assert part_roles(["image_train", "image_test"]) == {"image_train": "train", "image_test": "test"}
    assert part_roles(["query", "test"]) == {"query": "query", "test": "test"}


@pytest.mark.parametrize(
    "name", ["train", "train_all", "bbox_test", "multi-query", "gt_query", "trainval", "holdout", "fold_1", "test2"]
)
def test_names_of_parts_are_known_even_where_their_role_is_not(name: str) -> None:
    assert looks_like_part(name)


@pytest.mark.parametrize("name", ["Val", "testament", "trainer", "anna", "0001", "query_anna", "contest"])
def test_names_of_people_are_no_parts(name: str) -> None:
    assert not looks_like_part(name)


@pytest.mark.parametrize(
    ("people", "cameras"),
    [
        (["anna", "bob"], []),
        (["0001", "0002"], ["1", "2"]),
        (["c1", "c2"], ["cam_1", "cam_2"]),
        (["person_1", "person_2"], ["person_1", "person_2"]),
        (["cam", "anna"], []),
        (["images", "anna"], ["door", "hall"]),
    ],
)
def test_names_that_leave_no_doubt_are_no_problem(people: list[str], cameras: list[str]) -> None:
    files: list[tuple[str, ...]] = [(who, camera, "1.jpg") for who in people for camera in cameras]
    assert naming_problem(files or [(who, "1.jpg") for who in people]) is None
