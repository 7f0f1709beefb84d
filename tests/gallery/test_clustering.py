from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.gallery.tables import PROVENANCE, WIDTH, table_of
from tests.retrieval.calibrations import calibration_of, curve_through

from omnireid.errors import CalibrationError, GalleryError, SettingError
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ClusterMethod, ClusterOptions, ErasureOptions

PEOPLE, EACH = 5, 8
SMALL = ClusterOptions(k1=7, k2=2)
CALIBRATION = calibration_of(
    PROVENANCE.weights_sha256, curve_through({0.0: 2.0, 2.0: -30.0}), preprocessing=PROVENANCE.preprocessing
)


def looks(people: list[int]) -> Any:
    """An embedding for each sighting: those of one person are near each other."""
    rng = np.random.default_rng(1)
    centres = np.eye(WIDTH)[:PEOPLE] + 0.1
    return (centres[people] + 0.1 * rng.random((len(people), WIDTH))).astype(np.float16).astype(np.float32)


def people_gallery(place: Path, labels: dict[int, int] | None = None, **columns: Any) -> Gallery:
    """Sightings 1 to 40 of five people, eight in a row; nobody is named but the sightings in `labels`."""
    true = [row // EACH for row in range(PEOPLE * EACH)]
    named = [(labels or {}).get(row + 1, -1) for row in range(len(true))]
    gallery = Gallery.open(place)
    gallery.add(replace(table_of(len(true), people=named, **columns), embeddings=looks(true)))
    return gallery


def assigned(gallery: Gallery) -> dict[str, list[int]]:
    people: dict[str, list[int]] = {}
    for sighting in gallery.sightings():
        if sighting.person is not None:
            people.setdefault(sighting.person, []).append(sighting.number)
    return people


TRUTH = [list(range(1 + EACH * person, 1 + EACH * (person + 1))) for person in range(PEOPLE)]


@pytest.mark.parametrize("method", ["components", "hdbscan"])
def test_a_proposal_changes_nothing_until_it_is_adopted_and_can_be_taken_back(
    tmp_path: Path, method: ClusterMethod
) -> None:
    gallery = people_gallery(tmp_path / "g")
    proposal = gallery.cluster(replace(SMALL, method=method))
    assert sorted(list(person.sightings) for person in proposal.people) == TRUTH
    assert "5 new people with 40 sightings" in proposal.table()
    assert "No sighting has a camera and a time or frame" in proposal.table()
    assert assigned(gallery) == {}
    made = gallery.adopt(proposal, reason="looked right")
    assert sorted(assigned(gallery)) == [f"person-{number}" for number in range(1, 6)]
    assert sorted(assigned(gallery).values()) == TRUTH
    assert (made.evidence["method"], made.evidence["new_people"]) == (method, 5)
    assert "cluster 40 sightings into 5 people: looked right" in str(made)
    assert gallery.cluster(replace(SMALL, method=method)).people == (), "everybody has a person now"
    undone = gallery.undo()
    assert assigned(gallery) == {}
    again = gallery.cluster(replace(SMALL, method=method))
    assert {person.name for person in again.people} == {f"person-{number}" for number in range(6, 11)}
    gallery.undo(undone.event)
    assert sorted(assigned(gallery).values()) == TRUTH
    assert gallery.check().problems == ()
    with pytest.raises(GalleryError, match="has changed since the proposal was made"):
        gallery.adopt(again)


def test_one_frame_and_one_time_in_two_places_are_two_people(tmp_path: Path) -> None:
    # Sightings 1 and 4 are by camera 0, 2 by camera 1. Person 0 seems to be twice in a frame, and in two places.
    seconds = [row * 60 for row in range(PEOPLE * EACH)]
    seconds[3], seconds[1] = seconds[0], seconds[0]
    times = [f"2026-03-01T{8 + s // 3600:02d}:{s // 60 % 60:02d}:00+00:00" for s in seconds]
    gallery = people_gallery(tmp_path / "g", time=times)
    proposal = gallery.cluster(SMALL)
    groups = [set(person.sightings) for person in proposal.people]
    assert not any({1, 4} <= group or {1, 2} <= group for group in groups)
    assert set(proposal.kept_apart) == {"frame", "places"}
    assert "two boxes of one frame" in proposal.table()
    assert proposal.json()["constrained"] == 40
    overlapping = gallery.cluster(replace(SMALL, cameras_overlap=True))
    assert not any({1, 4} <= set(person.sightings) for person in overlapping.people)
    assert set(overlapping.kept_apart) == {"frame"}
    for options in (
        replace(SMALL, unconstrained=True),
        replace(SMALL, cameras_overlap=True, duplicate_boxes=True),
    ):
        free = gallery.cluster(options)
        assert sorted(list(person.sightings) for person in free.people) == TRUTH


def test_known_people_get_sightings_but_are_not_merged(tmp_path: Path) -> None:
    gallery = people_gallery(tmp_path / "g", {1: 7, 2: 8, 9: 9})
    gallery.assign([17], None, reason="a poster")
    gallery.differ([25, 26])
    proposal = gallery.cluster(SMALL)
    groups = {person.name: set(person.sightings) for person in proposal.people}
    assert groups.get("7", set()) | groups.get("8", set()) == set(TRUTH[0]) - {1, 2}
    assert groups["9"] == set(TRUTH[1]) - {9}
    assert 17 not in set().union(*groups.values())
    assert not any({25, 26} <= group for group in groups.values())
    assert proposal.kept_apart["people"] >= 1
    assert proposal.kept_apart["decision"] >= 1
    gallery.adopt(proposal)
    kept = assigned(gallery)
    assert set(kept["9"]) == set(TRUTH[1])
    assert {1, 2} & set(kept["7"]) == {1}
    with pytest.raises(GalleryError, match=r"Sightings 9 and 10 are both of '9'"):
        gallery.differ([9, 10])
    with pytest.raises(GalleryError, match="Only sighting 9 was named"):
        gallery.differ([9, 9])
    gallery.undo(2)
    gallery.undo(3)
    free = gallery.cluster(replace(SMALL, least_sightings=8))
    assert [person.sightings for person in free.people if person.is_new] == [tuple(TRUTH[3]), tuple(TRUTH[4])]


def test_an_empty_gallery_has_no_people_to_propose(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="There is no gallery at"):
        Gallery.open(tmp_path / "none").cluster()
    gallery = people_gallery(tmp_path / "g")
    gallery.remove(ErasureOptions(where="sighting > 1"))
    assert gallery.cluster().alone == 1
    gallery.remove(ErasureOptions(where="sighting = 1"))
    proposal = gallery.cluster()
    assert (proposal.people, proposal.sightings) == ((), 0)
    with pytest.raises(GalleryError, match="Nobody is proposed"):
        gallery.adopt(proposal)
    gallery.set_calibration(CALIBRATION)
    assert gallery.questions() == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": 1.1}, "threshold must be a Jaccard distance"),
        ({"k1": 0}, "k1 must be a whole number, at least 1"),
        ({"dense_sightings": 1}, "dense_sightings must be a whole number, at least 2"),
        ({"same_time_s": -1.0}, "same_time_s must be a number of seconds"),
        ({"method": "kmeans"}, "method: there is no 'kmeans'"),
    ],
)
def test_a_setting_out_of_range_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ClusterOptions(**values)


def test_questions_need_a_calibration(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="has no calibration.*omnireid gallery calibrate"):
        people_gallery(tmp_path / "g").questions()


def test_an_answer_is_a_decision_and_is_not_asked_again(tmp_path: Path) -> None:
    # Person 0 has two names, and one sighting of person 1 has none.
    labels = {number: 10 + (number - 1) // 4 for number in range(1, 9)} | dict.fromkeys(range(10, 17), 20)
    labels |= {number: 30 + (number - 1) // EACH for number in range(17, 41)}
    gallery = people_gallery(tmp_path / "g", labels)
    gallery.set_calibration(CALIBRATION)
    first, second = gallery.questions(2, prior=0.5)
    asked = {frozenset((question.one.person, question.other.person)): question for question in (first, second)}
    assert set(asked) == {frozenset(("10", "11")), frozenset((None, "20"))}
    assert first is asked[frozenset(("10", "11"))], "its answer moves four sightings, and the other moves one"
    assert (first.changed, second.changed) == (4, 1)
    assert (first.verdict, second.verdict) == ("ask", "ask")
    assert gallery.is_open(first)
    different = gallery.answer(first, same=False)
    assert different.kind == "differ"
    assert different.evidence["sightings"] == [first.one.number, first.other.number]
    assert not gallery.is_open(first)
    left = gallery.questions(50, prior=0.5)
    assert frozenset(("10", "11")) not in {frozenset((q.one.person, q.other.person)) for q in left}
    assert gallery.answer(second, same=True).kind == "assign"
    assert set(assigned(gallery)["20"]) == set(TRUTH[1])
    with pytest.raises(GalleryError, match="are of one person already"):
        gallery.answer(second, same=True)
    gallery.undo(different.event)
    assert gallery.is_open(first)
    assert gallery.answer(first, same=True).kind == "merge"
    assert assigned(gallery)["10"] == TRUTH[0]
    gallery.undo()
    assert len(assigned(gallery)["10"]) == 4


def test_two_sightings_of_nobody_become_a_person(tmp_path: Path) -> None:
    gallery = people_gallery(tmp_path / "g")
    gallery.set_calibration(CALIBRATION)
    (question,) = gallery.questions(1)
    gallery.answer(question, same=True)
    assert assigned(gallery) == {"person-1": [question.one.number, question.other.number]}
    gallery.remove(ErasureOptions(where=f"sighting = {question.one.number}"))
    assert not gallery.is_open(question)
