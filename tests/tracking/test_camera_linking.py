from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from tests.retrieval.calibrations import calibration_of, curve_through

from omnireid.errors import CalibrationError, SettingError, TrackingError
from omnireid.retrieval.calibration import Calibration
from omnireid.tracking.agglomeration import group_members
from omnireid.tracking.camera_appearance import learn_mixture, normalise_distances
from omnireid.tracking.camera_linking import LinkedCameras, link_cameras
from omnireid.tracking.camera_linking_options import CameraLinkingOptions
from omnireid.tracking.track_table import Recording, TrackTable
from omnireid.tracking.travel_times import TravelTime, TravelTimes

from .cameras import CAMERAS, START, seen, table, walks


def groups(linked: LinkedCameras) -> dict[int, set[tuple[str, int]]]:
    found: dict[int, set[tuple[str, int]]] = {}
    for key, person in linked.table.people.items():
        found.setdefault(person, set()).add(key)
    return found


def test_people_who_walk_through_cameras_are_found_and_numbered() -> None:
    linked = link_cameras(table(walks()))
    assert sorted(map(sorted, groups(linked).values())) == sorted(
        [(camera, n) for camera in CAMERAS] for n in range(10)
    )
    assert sorted(groups(linked)) == list(range(1, 11))
    assert (linked.new_people, linked.notes) == (10, ())
    assert linked.mixture is not None
    assert min(linked.probabilities.values()) > 0.95
    assert {(bar.start, bar.end) for bar in linked.times.times} == {
        ("door", "hall"),
        ("hall", "yard"),
        ("door", "yard"),
    }
    direct = [bar for bar in linked.times.times if (bar.start, bar.end) == ("door", "hall")]
    assert [(bar.least_s, bar.most_s, bar.weight) for bar in direct] == [(7, 10, 10)]


def test_the_order_of_tracks_does_not_matter() -> None:
    there, back = link_cameras(table(walks())), link_cameras(table(walks()[::-1]))
    assert there.table.people == back.table.people


def test_nobody_is_at_two_places_at_one_time_unless_the_views_overlap() -> None:
    rng = np.random.default_rng(3)
    tracklets = [
        seen(camera, person, person, float(rng.uniform(0, 60)), 6.0) for camera in CAMERAS for person in range(12)
    ]
    linked = link_cameras(table(tracklets))
    joined = 0
    for one, other in combinations(linked.table.tracklets, 2):
        if linked.table.people[one.camera, one.number] == linked.table.people[other.camera, other.number]:
            joined += 1
            common = min(one.end, other.end) - max(one.start, other.start)
            assert common <= (0 if one.camera == other.camera else 0.5)
    assert joined > 10

    together = [replace(one, camera="hall") for one in walks(10, ("door",))] + walks(10, ("door",))
    crowd = [*together, *walks(10, ("yard",))]
    assert any("say overlap door:hall" in note for note in link_cameras(table(crowd)).notes)
    overlapping = link_cameras(table(together), CameraLinkingOptions(overlap=("hall:door",)))
    assert [sorted(one) for one in groups(overlapping).values()] == [[("door", n), ("hall", n)] for n in range(10)]


def test_travel_times_decide_between_people_who_look_alike() -> None:
    """The two who come to the hall change places, so looks alone are wrong in one of both orders."""
    stated = TravelTimes((TravelTime("door", "hall", 7, 10),))
    by_looks = set()
    for first, second in ((42, 43), (43, 42)):
        twins = [
            seen("door", 20, 12, 200, 3.0),
            seen("door", 21, 12, 201, 8.0),
            seen("hall", first, 12, 211, 8.0),
            seen("hall", second, 12, 217, 3.0),
        ]
        tracklets = table([*walks(8, ("door", "hall")), *twins])
        timed = link_cameras(tracklets, times=stated).table.people
        assert (timed["door", 20], timed["door", 21]) == (timed["hall", first], timed["hall", second])
        looks = link_cameras(tracklets, CameraLinkingOptions(learn_times=False)).table.people
        by_looks.add(looks["door", 20] == looks["hall", first])
    assert by_looks == {True, False}


def test_people_of_one_camera_stay_together() -> None:
    tracklets = [*walks(8), seen("door", 30, 9, 300), seen("door", 31, 9, 310)]
    given = replace(table(tracklets), people={("door", 30): 4, ("door", 31): 4, ("door", 0): 5})
    people = link_cameras(given).table.people
    assert people["door", 30] == people["door", 31]
    assert people["door", 0] == people["hall", 0]
    assert people["door", 30] not in {people["hall", n] for n in range(8)}


def test_new_tracks_join_or_found_people_whose_numbers_stay() -> None:
    first = link_cameras(table(walks(10, ("door", "hall"))))
    before = replace(first.table, people={key: person + 100 for key, person in first.table.people.items()})
    later = [*(seen("yard", n, n, n * 8.0 + 22) for n in range(9)), seen("yard", 40, 12, 400)]
    linked = link_cameras(table(later), before=before)
    assert {key: linked.table.people[key] for key in before.people} == before.people
    assert [linked.table.people["yard", n] for n in range(9)] == [before.people["door", n] for n in range(9)]
    assert linked.table.people["yard", 40] == 1 + max(before.people.values())
    assert linked.new_people == 1


def test_cameras_can_be_added_one_by_one() -> None:
    people: TrackTable | None = None
    for place, camera in enumerate(CAMERAS):
        linked = link_cameras(table([seen(camera, n, n, n * 8.0 + 11 * place) for n in range(10)]), before=people)
        people = linked.table
        assert (linked.new_people, linked.notes) == (0 if place else 10, ())
    assert sorted(map(sorted, groups(linked).values())) == [[(camera, n) for camera in CAMERAS] for n in range(10)]


def test_people_decided_before_are_never_merged() -> None:
    first = link_cameras(table(walks(10, ("door", "hall"))))
    torn = replace(first.table, people={key: n for n, key in enumerate(first.table.people, start=1)})
    linked = link_cameras(table([seen("yard", n, n, n * 8.0 + 22) for n in range(10)]), before=torn)
    assert {key: linked.table.people[key] for key in torn.people} == torn.people


def test_nobody_is_linked_where_nothing_can_be_learned() -> None:
    few = link_cameras(table(walks(3, ("door", "hall"))))
    assert len(groups(few)) == 6
    assert "too few people are seen by several cameras" in few.notes[0]
    rng = np.random.default_rng(0)
    blind = [replace(one, embeddings=rng.normal(size=one.embeddings.shape).astype(np.float32)) for one in walks()]
    assert max(map(len, groups(link_cameras(table(blind))).values())) == 1
    assert groups(link_cameras(TrackTable((), {}, {"door": Recording(640, 480, START)}))) == {}
    one = walks(1)[0]
    plain = replace(one, embedded=one.embedded[:0], embeddings=one.embeddings[:0], qualities=one.qualities[:0])
    assert link_cameras(TrackTable((plain,))).table.people == {("door", 0): 1}


def test_three_people_in_two_cameras_are_linked_by_what_is_learned_within_each() -> None:
    three = [seen(camera, n, n, start + n) for camera, start in (("door", 0), ("hall", 20)) for n in range(3)]
    linked = link_cameras(table(three))
    assert sorted(map(sorted, groups(linked).values())) == [[("door", n), ("hall", n)] for n in range(3)]
    assert linked.mixture is None
    assert "what was learned within each camera is used" in linked.notes[0]


def calibration(weights: str = "a") -> Calibration:
    curve = curve_through({0.2: 9.0, 0.9: -9.0})
    return calibration_of(weights * 64, curve, preprocessing={"height": 256}, distance="cosine")


def test_a_calibration_with_labels_stands_in_where_there_is_too_little_to_learn_from() -> None:
    linked = link_cameras(table(walks(3, ("door", "hall"))), calibration=calibration())
    assert sorted(map(sorted, groups(linked).values())) == [[("door", n), ("hall", n)] for n in range(3)]
    assert (linked.mixture, linked.notes) == (None, ())
    with pytest.raises(CalibrationError, match="is for weights bbbbbbbbbbbb"):
        link_cameras(table(walks(3)), calibration=calibration("b"))


def shifted(seconds: int, cameras: Mapping[str, int] | None = None) -> TrackTable:
    made = table(walks(10, pause_s=20.0))
    late = f"2026-05-01T10:{seconds // 60:02}:{seconds % 60:02}+00:00"
    return replace(made, recordings={**made.recordings, "yard": Recording(640, 480, late)})


def test_clocks_that_disagree_by_minutes_are_said() -> None:
    assert link_cameras(shifted(0)).notes == ()
    (one_way, *_) = link_cameras(shifted(120)).notes
    assert "comes to yard 139 to 139 s later" in one_way
    assert "a clock is off by minutes, and the travel times between them cannot be right" in one_way
    for seconds in (230, 1800):
        (nothing_common, *_) = link_cameras(shifted(seconds)).notes
        assert "no moment in common: " in nothing_common
    stated = TravelTimes((TravelTime("hall", "yard", 5, 20),))
    notes = link_cameras(shifted(100), times=stated).notes
    assert notes
    assert link_cameras(shifted(0), times=stated).notes == ()


def test_cameras_without_a_clock_are_linked_by_looks_alone() -> None:
    linked = link_cameras(table(walks(), started=None))
    assert len(groups(linked)) == 10
    assert linked.times.times == ()
    assert "The clock of door, hall, yard is not known" in linked.notes[0]


def test_options_out_of_range_are_refused() -> None:
    for overlap in ("door", "door:", "door:door", "a:b:c"):
        with pytest.raises(SettingError, match="two cameras as A:B"):
            CameraLinkingOptions(overlap=(overlap,))
    with pytest.raises(SettingError, match="between 0 and 1"):
        CameraLinkingOptions(probability=1.0)
    with pytest.raises(TrackingError, match="no camera roof whose view could overlap. Known: door, hall, yard"):
        link_cameras(table(walks(2)), CameraLinkingOptions(overlap=("door:roof",)))


def brute_force(log_odds: np.ndarray, apart: np.ndarray, starts: np.ndarray, least: float) -> set[frozenset[int]]:
    """Average linkage as it is stated: the best pair of groups, again and again."""
    found = [frozenset(np.flatnonzero(starts == group).tolist()) for group in np.unique(starts)]
    while True:
        pairs = [
            (float(np.mean([log_odds[i, j] for i in one for j in other])), one, other)
            for one, other in combinations(found, 2)
            if not any(apart[i, j] for i in one for j in other)
        ]
        best = max(pairs, key=lambda pair: pair[0], default=None)
        if best is None or best[0] <= least:
            return set(found)
        found = [group for group in found if group not in best[1:]] + [best[1] | best[2]]


def test_groups_are_those_of_average_linkage() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        count = int(rng.integers(1, 14))
        values = rng.normal(0, 2, (count, count))
        log_odds = (values + values.T) / 2
        blocked = rng.random((count, count)) < 0.15
        apart = (blocked | blocked.T) & ~np.eye(count, dtype=bool)
        starts = np.arange(count)
        if count > 4:
            starts[1], apart[0, 1], apart[1, 0] = 0, False, False
            starts = np.unique(starts, return_inverse=True)[1]
        labels = group_members(log_odds, apart, starts, 0.2)
        found = {frozenset(np.flatnonzero(labels == group).tolist()) for group in np.unique(labels)}
        assert found == brute_force(log_odds, apart, starts, 0.2)
        assert list(dict.fromkeys(labels.tolist())) == list(range(labels.max() + 1))
    assert len(group_members(np.zeros((0, 0)), np.zeros((0, 0), bool), np.zeros(0, np.int64), 0.0)) == 0


def test_normalisation_takes_out_what_a_camera_adds_to_all_distances() -> None:
    rng = np.random.default_rng(1)
    cameras = np.repeat(np.arange(3), 60)
    base = rng.normal(1, 0.1, (180, 180))
    distances = (base + base.T) / 2
    moved = distances + np.where(cameras[:, None] != cameras[None], 0.5 * np.abs(cameras[:, None] - cameras[None]), 0.0)
    plain, corrected = normalise_distances(distances, cameras), normalise_distances(moved, cameras)
    others = ~np.eye(180, dtype=bool)
    assert np.abs(plain - corrected)[others].max() < 1.0 < np.abs(moved - distances).max() / distances[others].std()
    np.testing.assert_array_equal(corrected, corrected.T)


def test_a_mixture_is_learned_also_where_everybody_is_seen_everywhere() -> None:
    linked = link_cameras(table(walks(12, ("door", "hall"))))
    assert linked.mixture is not None
    assert linked.mixture.share == 0.95
    strangers = [*walks(6, ("door",)), *(seen("hall", n, n, n * 8.0) for n in range(6, 12))]
    assert sum(len(one) > 1 for one in groups(link_cameras(table(strangers))).values()) <= 2
    assert learn_mixture(np.zeros((2, 2)), np.array([0, 1])) is None
