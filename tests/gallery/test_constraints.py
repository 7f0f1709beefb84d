from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.gallery.constraints import Circumstances, Groups

ROWS = 8
APART = (0.0, 0.0, 10.0, 20.0)
NEAR = (1.0, 0.0, 11.0, 20.0)
FAR = (40.0, 0.0, 50.0, 20.0)


def seen(*sightings: tuple[str | None, float | None], same_time_s: float | None = 0.0) -> Circumstances:
    """Sightings by (camera, seconds), without boxes."""
    frames: Sequence[tuple[object, ...] | None] = [
        None if camera is None or time is None else (camera, time) for camera, time in sightings
    ]
    cameras, seconds = [camera for camera, _ in sightings], [time for _, time in sightings]
    return Circumstances(cameras, frames, seconds, [None] * len(sightings), same_time_s)


def test_two_boxes_of_one_frame_are_two_people() -> None:
    groups = Groups(3, seen(("1", 5.0), ("1", 5.0), ("1", 6.0)))
    assert not groups.join(0, 1)
    assert groups.join(0, 2)
    assert not groups.join(1, 2), "the group has a sighting of the same frame"
    assert groups.refused == {"frame": 2}


def test_a_box_that_was_found_twice_is_one_person() -> None:
    for boxes, joined in (((APART, NEAR), True), ((APART, FAR), False)):
        circumstances = Circumstances(["1", "1"], [("1", 5), ("1", 5)], [5.0, 5.0], boxes)
        assert Groups(2, circumstances).join(0, 1) == joined


def test_one_moment_in_two_places_is_two_people() -> None:
    sightings = (("1", 5.0), ("2", 5.5), (None, 5.0), ("2", None))
    assert Groups(4, seen(*sightings)).join(0, 1)
    within = Groups(4, seen(*sightings, same_time_s=0.5))
    assert not within.join(0, 1)
    assert within.refused == {"places": 1}
    assert within.join(0, 2), "an unknown camera says nothing"
    assert within.join(0, 3), "an unknown time says nothing"
    assert Groups(4, seen(*sightings, same_time_s=None)).join(0, 1), "the cameras may see one place"


def test_known_people_are_neither_torn_nor_merged() -> None:
    groups = Groups(5, seen(("1", 5.0), ("1", 5.0), ("1", 6.0), ("1", 7.0), ("1", 8.0)))
    groups.bind([0, 1], "anna")
    groups.bind([2], "bert")
    assert groups.root(0) == groups.root(1), "what was decided counts more than the frame"
    assert not groups.join(1, 2)
    assert groups.join(1, 3)
    assert not groups.join(3, 2)
    assert groups.join(2, 4)
    assert groups.all() == [("anna", (0, 1, 3)), ("bert", (2, 4))]
    assert groups.refused == {"people": 2}


def test_what_somebody_said_differs_stays_apart() -> None:
    groups = Groups(4, None, {0: frozenset({1}), 1: frozenset({0})})
    assert groups.join(0, 2)
    assert groups.join(1, 3)
    assert not groups.join(2, 3)
    assert groups.refused == {"decision": 1}


PAIRS = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, ROWS - 1)), max_size=20)
MOMENTS = st.tuples(st.sampled_from(["1", "2", None]), st.sampled_from([0.0, 0.9, 1.0, 1.1, 2.5, None]))


@settings(max_examples=150, deadline=None)
@given(pairs=PAIRS, sightings=st.lists(MOMENTS, min_size=ROWS, max_size=ROWS), window=st.sampled_from([None, 0.0, 1.0]))
def test_no_group_ever_holds_two_sightings_that_cannot_be_one(
    pairs: list[tuple[int, int]], sightings: list[tuple[str | None, float | None]], window: float | None
) -> None:
    circumstances = seen(*sightings, same_time_s=window)
    groups = Groups(ROWS, circumstances)

    def cannot(one: int, other: int) -> bool:
        frame = circumstances.frames[one]
        same_frame = frame is not None and frame == circumstances.frames[other]
        known = circumstances.cameras[one] is not None and circumstances.cameras[other] is not None
        return same_frame or (known and circumstances.are_apart_in_space(one, other))

    for one, other in pairs:
        before = [np.flatnonzero([groups.root(row) == groups.root(at) for row in range(ROWS)]) for at in (one, other)]
        is_new = groups.root(one) != groups.root(other)
        possible = not any(cannot(int(a), int(b)) for a in before[0] for b in before[1])
        assert groups.join(one, other) == (is_new and possible)
