from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gallery.tables import drawn_embeddings, filled, table_of

from omnireid import search
from omnireid.errors import GalleryError, SettingError
from omnireid.gallery import deciding, decision_writing
from omnireid.gallery.decision_writing import WantedDecision
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.identities import Decision, apply_events
from omnireid.gallery.options import ErasureOptions
from omnireid.gallery.schema import DECISIONS, SIGHTINGS

NUMBERS = range(1, 7)
GIVEN = ["a", "a", "b", "b", "c", None]


def people_of(gallery: Gallery) -> dict[str, list[int]]:
    """Numbers of the sightings of each person."""
    people: dict[str, list[int]] = {}
    for sighting in gallery.sightings():
        people.setdefault(sighting.person or "", []).append(sighting.number)
    return people


@pytest.fixture
def six(tmp_path: Path) -> Gallery:
    """Two sightings each of persons 0, 1 and 2."""
    return filled(tmp_path / "g", 6, people=[0, 0, 1, 1, 2, 2])


def test_decisions_change_people_and_can_all_be_undone(six: Gallery) -> None:
    first = people_of(six)
    assert first == {"0": [1, 2], "1": [3, 4], "2": [5, 6]}
    merged = six.merge("0", ["1"], reason="the same coat", evidence={"distance": 0.2})
    assert people_of(six) == {"0": [1, 2, 3, 4], "2": [5, 6]}
    renamed = six.rename("0", "anna")
    six.assign([6], "anna")
    divided = six.split([2, 3])
    assert people_of(six) == {"anna": [1, 4, 6], "anna-2": [2, 3], "2": [5]}
    six.undo(merged.event)
    assert people_of(six) == {"anna": [1, 6], "anna-2": [2, 3], "1": [4], "2": [5]}
    six.undo(renamed.event)
    assert people_of(six) == {"0": [1, 6], "anna-2": [2, 3], "1": [4], "2": [5]}
    six.undo(divided.event)
    undone = six.undo()
    assert undone.details == {"event": 3}
    assert people_of(six) == first
    with pytest.raises(GalleryError, match="There is no decision to undo"):
        six.undo()
    six.undo(undone.event)
    assert people_of(six) == {"0": [1, 2, 6], "1": [3, 4], "2": [5]}
    assert [decision.undone for decision in six.decisions()] == [
        *(True, True, False, True),
        *(False, False, False, True, False),
    ]
    listed = six.decisions()[0]
    assert (listed.reason, listed.evidence, "@" in listed.who) == ("the same coat", {"distance": 0.2}, True)
    assert "merge people ['1'], person 0 (undone): the same coat" in str(listed)
    assert six.check().problems == ()


def test_what_cannot_be_decided_is_refused(six: Gallery) -> None:
    six.merge("0", ["1"])
    cases: list[tuple[Any, str]] = [
        (lambda: six.merge("0", ["0"]), "'0' was to be merged with themselves"),
        (lambda: six.merge("0", ["2", "0"]), "merged with themselves"),
        (lambda: six.merge("0", []), "merged with nobody"),
        (lambda: six.merge("0", ["1"]), "'1' is '0' now, by a merge or a new name"),
        (lambda: six.merge("0", ["bert"]), "no person 'bert' in the gallery"),
        (lambda: six.assign([99], "0"), "There is no sighting 99"),
        (lambda: six.assign([], "0"), "No sighting was named"),
        (lambda: six.assign([1], "1"), "'1' is '0' now"),
        (lambda: six.split([1, 5]), "these are of 0, 2"),
        (lambda: six.split([5, 6]), "all sightings of '2'"),
        (lambda: six.split([5], "0"), "The name '0' is taken"),
        (lambda: six.rename("2", "0"), "is taken; if both are one person, merge them"),
        (lambda: six.rename("2", " "), "is empty"),
        (lambda: six.undo(7), "There is no decision 7"),
    ]
    for decide, message in cases:
        with pytest.raises(GalleryError) as refused:
            decide()
        assert message in str(refused.value)
    six.undo(1)
    with pytest.raises(GalleryError, match="Decision 1 was undone already"):
        six.undo(1)
    assert len(six.decisions()) == 2


def test_a_decision_holds_for_what_is_added_later(six: Gallery) -> None:
    six.merge("0", ["1"])
    six.rename("2", "anna")
    six.add(table_of(2, seed=3, people=[1, 2]))
    assert people_of(six) == {"0": [1, 2, 3, 4, 7], "anna": [5, 6, 8]}
    six.undo(1)
    assert people_of(six) == {"0": [1, 2], "1": [3, 4, 7], "anna": [5, 6, 8]}
    six.assign([1], None)
    assert people_of(six)[""] == [1]


def test_a_decision_that_was_stopped_is_finished(six: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_writing, "apply_decisions", lambda _database: 0)
    six.merge("0", ["1"])
    monkeypatch.undo()
    assert "2 sightings do not have the person that the decisions give them" in six.check().problems[0]
    six.optimize()
    assert people_of(six) == {"0": [1, 2, 3, 4], "2": [5, 6]}
    assert six.check().problems == ()


def test_a_stopped_decision_is_finished_when_a_service_starts(six: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_writing, "apply_decisions", lambda _database: 0)
    six.assign([1], "anna")
    monkeypatch.undo()
    again = Gallery.open(six.database.uri)
    assert "a decision was stopped" in again.check().problems[0]
    assert again.finish_decisions() == 1
    assert again.finish_decisions() == 0
    assert again.check().problems == ()


def test_an_erased_person_leaves_the_decisions(six: Gallery) -> None:
    six.rename("1", "anna maria")
    six.merge("anna maria", ["2"], reason="anna maria said so")
    six.remove(ErasureOptions(person=("anna maria",)))
    folder = Path(six.database.uri)
    assert not [path for path in folder.rglob("*") if path.is_file() and b"anna maria" in path.read_bytes()]
    assert [decision.kind for decision in six.decisions()] == ["rename", "merge"]
    assert all("erased " in str(decision) for decision in six.decisions())
    assert people_of(six) == {"0": [1, 2]}
    six.undo(1)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), st.sets(st.sampled_from(NUMBERS), min_size=1), st.sampled_from("abcd")),
        st.tuples(st.just("merge"), st.sampled_from("abcd"), st.sampled_from("abcd")),
        st.tuples(st.just("rename"), st.sampled_from("abcd"), st.sampled_from("xyz")),
    ),
    max_size=8,
)


def decided(events: list[tuple[Any, ...]]) -> list[Decision]:
    made = []
    for event, (kind, one, two) in enumerate(events, start=1):
        details: dict[str, Any] = {"person": one, "people": [two]}
        if kind == "assign":
            details = {"sightings": sorted(one), "person": two}
        elif kind == "rename":
            details = {"person": one, "name": two}
        made.append(Decision(event, datetime(2026, 1, 1, tzinfo=UTC), "me", kind, details))
    return made


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, data=st.data())
def test_an_undone_event_is_as_if_it_had_never_been(events: list[tuple[Any, ...]], data: st.DataObject) -> None:
    decisions = decided(events)
    undone = data.draw(st.sets(st.sampled_from([d.event for d in decisions])) if decisions else st.just(set()))
    marked = [Decision(d.event, d.time, d.who, d.kind, d.details, undone=d.event in undone) for d in decisions]
    left = [d for d in decisions if d.event not in undone]
    assert apply_events(marked).persons(NUMBERS, GIVEN) == apply_events(left).persons(NUMBERS, GIVEN)


@settings(max_examples=40, deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=8))
def test_merges_join_whoever_they_connect(pairs: list[tuple[str, str]]) -> None:
    identities = apply_events(decided([("merge", one, two) for one, two in pairs]))
    groups = {key: {key} for key in "abcdef"}
    for one, two in pairs:
        joined = groups[one] | groups[two]
        groups |= dict.fromkeys(joined, joined)
    for one in "abcdef":
        for two in "abcdef":
            assert (identities.root(one) == identities.root(two)) == (two in groups[one])


def test_a_person_is_searched_by_all_sightings(gallery: Gallery) -> None:
    stored = drawn_embeddings(30)
    own = [row for row in range(30) if row % 5 == 2]
    others = np.array([row for row in range(30) if row % 5 != 2])
    distances = np.linalg.norm(stored[own][:, None] - stored[others][None], axis=2)
    best = gallery.search_person("2", 7)
    assert [m.sighting.number - 1 for m in best[0]] == others[np.argsort(distances.min(axis=0))[:7]].tolist()
    assert [m.distance for m in best[0]] == pytest.approx(np.sort(distances.min(axis=0))[:7].tolist(), abs=1e-5)
    mean = gallery.search_person("2", 7, method="mean")
    expected = search(stored[own].mean(axis=0, keepdims=True), stored[others], 7)
    assert [m.sighting.number - 1 for m in mean[0]] == others[expected.indices[0]].tolist()
    ranks = np.argsort(np.argsort(distances, axis=1), axis=1) + 1
    votes = (61 / (60 + ranks)).mean(axis=0)
    vote = gallery.search_person("2", 7, method="vote")
    assert [1 - m.distance for m in vote[0]] == pytest.approx(np.sort(votes)[::-1][:7].tolist(), abs=1e-5)
    assert best.queries == ("person 2",)
    with pytest.raises(GalleryError, match="no person 'anna'"):
        gallery.search_person("anna")
    with pytest.raises(SettingError, match="method: there is no 'most'"):
        gallery.search_person("2", method="most")  # type: ignore[arg-type]


def test_decisions_of_one_write_follow_each_other_and_each_has_its_own_error(six: Gallery) -> None:
    def wanted(choose: Any, *given: Any, who: str | None = None) -> WantedDecision:
        return WantedDecision(lambda people: choose(people, *given), who=who)

    results = six.decide_together(
        [
            wanted(deciding.merge, "0", ["1"], who="anna"),
            wanted(deciding.merge, "2", ["1"], who="bert"),  # who is 0 now
            wanted(deciding.rename, "0", "kim"),
            wanted(deciding.assign, [5], "kim", who="bert"),
            wanted(deciding.undo, 1, who="anna"),
            wanted(deciding.undo, 1),
            wanted(lambda _people: 1 / 0),
            wanted(deciding.split, [5]),
        ]
    )
    problems = [str(one) for one in results if isinstance(one, Exception)]
    assert ["'1' is '0' now" in problems[0], "undone already" in problems[1], len(problems)] == [True, True, 4]
    assert [one.event for one in results if isinstance(one, Decision)] == [1, 2, 3, 4]
    assert people_of(six) == {"kim": [1, 2, 5], "1": [3, 4], "2": [6]}
    again = Gallery.open(six.database.uri)
    assert again.check().problems == ()
    assert again.decisions() == six.decisions()
    assert [(one.who.split("@")[0], one.undone) for one in again.decisions()][::3] == [("anna", True), ("anna", False)]
    logged = [(entry.who, entry.details["event"]) for entry in again.audit() if "event" in entry.details]
    assert logged == [(one.who, one.event) for one in again.decisions()]
    assert [handle.version for handle in (six.database.table(name) for name in (DECISIONS, SIGHTINGS))] == [2, 3]


def test_what_a_writer_keeps_in_memory_is_read_again_after_another_has_written(six: Gallery) -> None:
    other = Gallery.open(six.database.uri)
    six.assign([1], "anna")
    other.merge("1", ["anna"])
    other.add(table_of(2, seed=3, people=[1, 7]))
    assert six.rename("7", "kim").event == 3
    six.add(table_of(3, seed=3, people=[1, 7, 8]))
    other.undo(2)
    six.assign([9], "1")
    assert people_of(other) == people_of(six) == {"anna": [1], "0": [2], "1": [3, 4, 7, 9], "2": [5, 6], "kim": [8]}
    assert six.check().problems == ()
    assert other.decisions() == six.decisions()
