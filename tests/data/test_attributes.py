from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnireid.data.attributes import Attributes, tasks_of
from omnireid.errors import DataError
from omnireid.types import Crops

CROPS = Crops((Path("a/1.jpg"), Path("a/2.jpg"), Path("a/3.jpg")), np.array([7, 9, 7]))


def by_person(**changes: Any) -> Attributes:
    fields = {
        "name": "mine",
        "names": ("hat", "upper=red"),
        "values": np.array([[1, 0], [0, 1]], dtype=bool),
        "source": Path("mine.csv"),
        "person_ids": np.array([7, 8]),
    }
    return Attributes(**{**fields, **changes})


def test_crops_get_the_attributes_of_their_people_and_the_others_are_counted() -> None:
    picked = by_person().pick(CROPS)
    assert picked.crops.paths == (Path("a/1.jpg"), Path("a/3.jpg"))
    assert picked.values.tolist() == [[True, False], [True, False]]
    assert picked.without == 1


def test_attributes_of_crops_are_found_under_any_path_to_the_file() -> None:
    own = by_person(person_ids=None, crops=Crops((Path("a/2.jpg"), Path("b/9.jpg"))))
    picked = own.pick(Crops((Path("a/1.jpg"), Path("b/../a/2.jpg"))))
    assert picked.values.tolist() == [[True, False]]
    assert picked.without == 1


def test_crops_of_a_split_are_those_that_name_it() -> None:
    crops = Crops((Path("a/1.jpg"), Path("a/2.jpg")))
    split = by_person(person_ids=None, crops=crops, splits=("train", "test"))
    assert split.crops_of("test").paths == (Path("a/2.jpg"),)
    assert by_person(person_ids=None, crops=crops).crops_of("train").paths == crops.paths
    with pytest.raises(DataError, match=r"has no split 'query'. It has: train, test"):
        split.crops_of("query")
    with pytest.raises(DataError, match="attributes of people, not of crops"):
        by_person().crops_of("train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("hat", "hat")}, "'hat' occurs twice"),
        ({"names": ("hat", " ")}, "one is empty"),
        ({"names": ("hat",)}, r"got shape \(2, 2\) and 1 names"),
        ({"person_ids": None}, "give person_ids or crops"),
        ({"person_ids": np.array([7])}, "2 rows of attributes for 1 people"),
        ({"person_ids": np.array([7, 7])}, "two rows for 7"),
        ({"person_ids": None, "crops": Crops((Path("a"), Path("b"))), "splits": ("train",)}, "and 1 splits"),
    ],
)
def test_what_is_not_one_row_of_named_values_for_each_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        by_person(**changes)


def test_crops_that_cannot_be_given_attributes_are_refused_with_both_sides_named() -> None:
    with pytest.raises(DataError, match=r"of none of the 3 crops, whose people are 7, 9; its own people are 1, 2"):
        by_person(person_ids=np.array([1, 2])).pick(CROPS)
    with pytest.raises(DataError, match="not known who is on the crops"):
        by_person().pick(Crops(CROPS.paths))
    with pytest.raises(DataError, match=r"such as a/1.jpg; its own crops are such as x.jpg"):
        by_person(person_ids=None, crops=Crops((Path("x.jpg"), Path("y.jpg")))).pick(CROPS)


def test_names_with_one_word_before_the_sign_are_one_task() -> None:
    tasks = tasks_of(("hat", "upper=red", "age=old", "upper=blue"))
    assert tasks == {"hat": (0,), "upper": (1, 3), "age": (2,)}
