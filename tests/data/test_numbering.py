from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnireid.data.numbering import number_together
from omnireid.errors import LabelsError, NoTrueMatchError
from omnireid.types import Crops


def crops(
    person_ids: list[int], names: list[str] | None = None, cameras: list[int] | None = None, **columns: list[str]
) -> Crops:
    if names is not None:
        columns["person_name"] = names
    paths = tuple(Path(f"{i}.jpg") for i in range(len(person_ids)))
    return Crops(paths, np.array(person_ids), None if cameras is None else np.array(cameras), columns)


def same_person(query: Crops, gallery: Crops) -> list[list[bool]]:
    left, right = number_together(query, gallery)
    return (left.person_ids[:, None] == right.person_ids).tolist()  # type: ignore[no-any-return]


def test_people_with_names_are_compared_by_name() -> None:
    assert same_person(crops([0], ["bob"]), crops([0, 1], ["amy", "bob"])) == [[False, True]]


def test_numbers_without_any_name_stay() -> None:
    query, gallery = number_together(crops([7, -1], cameras=[1, 2]), crops([8, 7], cameras=[2, 1]))
    assert query.person_ids.tolist() == [7, -1]
    assert gallery.person_ids.tolist() == [8, 7]
    assert query.camera_ids is not None
    assert query.camera_ids.tolist() == [1, 2]


def test_a_side_without_names_is_named_by_its_numbers() -> None:
    assert same_person(crops([0, 1], ["7", "bob"]), crops([0, 7])) == [[False, True], [False, False]]
    assert same_person(crops([0, 1], ["007", "bob"]), crops([0, 7])) == [[False, True], [False, False]]
    with pytest.raises(NoTrueMatchError, match=r"No person of the query \(bob\) is in the gallery \(0, 1\)"):
        number_together(crops([0], ["bob"]), crops([0, 1]))


def test_junk_stays_junk() -> None:
    query, gallery = number_together(crops([-1, 0], ["-1", "bob"]), crops([-1, 4, 0], ["-1", "zoe", "bob"]))
    assert query.person_ids.tolist() == [-1, 0]
    assert gallery.person_ids.tolist() == [-1, 1, 0]


def test_spellings_of_a_number_are_told_apart_where_one_side_does() -> None:
    both = crops([0, 1], ["01", "1"])
    assert same_person(both, crops([0, 1], ["1", "bob"])) == [[False, False], [True, False]]
    for query, gallery, which in ((both, crops([1]), "gallery"), (crops([1]), both, "query")):
        with pytest.raises(LabelsError, match=f"tells the person '01' from '1', but the {which} crops have only"):
            number_together(query, gallery)


def test_both_normal_forms_of_a_name_are_one_person() -> None:
    assert same_person(crops([0], ["Zoe\u0308"]), crops([0, 1], ["Amy", "Zo\u00eb"])) == [[False, True]]


def test_cameras_with_names_are_compared_by_name() -> None:
    query, gallery = number_together(
        crops([1], cameras=[0], camera_name=["hall"]), crops([1, 1], cameras=[0, 1], camera_name=["door", "hall"])
    )
    assert query.camera_ids is not None
    assert gallery.camera_ids is not None
    assert (query.camera_ids[:, None] == gallery.camera_ids).tolist() == [[False, True]]
    _, unknown = number_together(crops([1], cameras=[0], camera_name=["hall"]), crops([1]))
    assert unknown.camera_ids is None


def test_crops_of_unknown_people_cannot_be_compared() -> None:
    with pytest.raises(LabelsError, match="The gallery crops have no person ids"):
        number_together(crops([1]), Crops((Path("a.jpg"),)))
