import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnireid.errors import SettingError
from omnireid.synthetic.plan import Plan, count_splits, planned_crops

SMALL = Plan(identities=4, cameras=2, per_camera=2, distractors=0, seed=0, cue="mixed", difficulty=0.5, height=64)


def test_the_default_set_has_2400_crops() -> None:
    plan = replace(SMALL, identities=100, cameras=6, per_camera=4)
    assert count_splits(planned_crops(plan)) == {"train": 1200, "query": 300, "gallery": 900}


@given(st.integers(2, 9), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_every_crop_is_planned_once_under_a_market_name(
    identities: int, cameras: int, per_camera: int, distractors: int
) -> None:
    if cameras * per_camera < 2:
        return
    plan = replace(SMALL, identities=identities, cameras=cameras, per_camera=per_camera, distractors=distractors)
    crops = planned_crops(plan)
    assert len({crop.path for crop in crops}) == len(crops) == cameras * (identities * per_camera + distractors)
    for crop in crops:
        match = re.fullmatch(r"(\d{4})_c(\d+)s1_\d{6}_\d\d\.jpg", crop.name)
        assert match is not None
        assert (int(match[1]), int(match[2])) == (crop.person_id, crop.camera_id)
    people = {
        split: {c.person_id for c in crops if c.split == split and c.person_id}
        for split in ("train", "query", "gallery")
    }
    assert not people["train"] & (people["query"] | people["gallery"])
    assert people["train"]
    assert people["query"] == {person for person in range(1, identities + 1) if person % 2 == 0}
    assert people["query"] == people["gallery"] or cameras == 1


@pytest.mark.parametrize(("cameras", "per_camera"), [(2, 1), (5, 1), (2, 2), (3, 4)])
def test_every_query_has_a_match_in_another_camera(cameras: int, per_camera: int) -> None:
    crops = planned_crops(replace(SMALL, cameras=cameras, per_camera=per_camera))
    for query in (crop for crop in crops if crop.split == "query"):
        assert any(
            c.split == "gallery" and c.person_id == query.person_id and c.camera_id != query.camera_id for c in crops
        )


def test_distractors_are_in_the_gallery_and_come_on_top() -> None:
    crops = planned_crops(replace(SMALL, distractors=3))
    strangers = [crop for crop in crops if crop.person_id == 0]
    assert {crop.split for crop in strangers} == {"gallery"}
    assert len(strangers) == 6
    assert set(planned_crops(SMALL)) == set(crops) - set(strangers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identities": 1}, r"identities must be 2 to 9999: half of them train .*; got 1\."),
        ({"identities": 10_000}, r"a file name holds four digits; got 10000\."),
        ({"cameras": 0}, r"cameras must be 1 to 99: .*; got 0\."),
        ({"per_camera": 0}, r"per_camera must be 1 to 99: .*; got 0\."),
        ({"distractors": -1}, r"distractors must be 0 to 9999: .*; got -1\."),
        ({"seed": -1}, r"seed must be 0 to .*; got -1\."),
        ({"height": 8}, r"height must be 32 to 1024: .*; got 8\."),
        ({"height": 65}, r"height must be even, since a crop is half as wide; got 65\."),
        ({"difficulty": 1.5}, r"difficulty must be 0 \(easy\) to 1 \(hard\); got 1\.5\."),
        ({"difficulty": float("nan")}, r"difficulty must be 0 .* got nan\."),
        ({"cue": "colour"}, r"No cue 'colour'\. Known: fine, middle, global, mixed\."),
        ({"cameras": 1, "per_camera": 1}, r"no pair of crops to compare\. Ask for 2 cameras, or for 2 crops\."),
    ],
)
def test_a_value_out_of_range_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Plan(**{**SMALL.parameters, **change})  # type: ignore[arg-type]  # that is the point
