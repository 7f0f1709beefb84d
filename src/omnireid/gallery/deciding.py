"""Decisions about people: whether one fits who is who now, and the event that it is.

Nothing is written here; `omnireid.gallery.decision_writing` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypedDict

from omnireid.errors import DecisionError, NotInGalleryError, list_briefly
from omnireid.gallery.database import Database
from omnireid.gallery.identities import (
    Decision,
    Identities,
    Kind,
    apply_events,
    find_person,
    mark_undone,
    read_decisions,
    read_identities,
)
from omnireid.gallery.register import read_register


class Why(TypedDict, total=False):
    """What may be said of a decision: why, in words, and what spoke for it, such as a distance."""

    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class ProposedPerson:
    """Sightings that are proposed to be one person.

    Attributes:
        name: The name of the person.
        sightings: Numbers of the sightings that nobody has yet.
        is_new: Whether the gallery has nobody of this name yet.
    """

    name: str
    sightings: tuple[int, ...]
    is_new: bool


@dataclass(frozen=True, eq=False)
class People:
    """Who is who at one moment.

    Attributes:
        decisions: All events so far.
        identities: What follows from them.
        given: Key that came with each sighting, by its number.
        labels: All keys that came with sightings.
    """

    decisions: tuple[Decision, ...]
    identities: Identities
    given: Mapping[int, str | None]
    labels: frozenset[str | None]

    @property
    def keys(self) -> set[str]:
        """Every key there is."""
        return self.identities.keys(self.labels)

    @property
    def next_event(self) -> int:
        """The number of the next event."""
        return 1 + (self.decisions[-1].event if self.decisions else 0)

    def after(self, made: Decision) -> People:
        """Who is who after one more event."""
        decisions = (*self.decisions, made)
        if made.kind == "undo":  # which may bring back what any later event overruled
            decisions = mark_undone(decisions)
            return replace(self, decisions=decisions, identities=apply_events(decisions))
        return replace(self, decisions=decisions, identities=apply_events([made], self.identities))

    def key(self, name: str) -> str:
        """The key of the person who is shown by a name."""
        return find_person(name, self.identities, self.keys)

    def name_of(self, sighting: int) -> str | None:
        """Who a sighting is of."""
        return self.identities.name(self.identities.assigned.get(sighting, self.given[sighting]))

    def sightings_of(self, name: str) -> set[int]:
        """Numbers of a person's sightings."""
        return {number for number in self.given if self.name_of(number) == name}

    def taken_names(self) -> set[str]:
        """Names that a person has, or that a decision ever gave, also one that was undone."""
        taken = self.keys | set(self.identities.names.values())
        for decision in self.decisions:
            values = (decision.details.get(name) for name in ("person", "people", "name"))
            taken |= {name for value in values for name in ([value] if isinstance(value, str) else value or ())}
        return taken

    def free_names(self, stem: str) -> Iterator[str]:
        """Names that are not taken: ``stem-1`` and so on."""
        taken = self.taken_names()
        return (name for number in count(1) if (name := f"{stem}-{number}") not in taken)


def read_people(database: Database) -> People:
    """Read all events and what follows from them."""
    register = read_register(database)
    given = dict(zip(register.numbers, register.labels, strict=True))
    return People(read_decisions(database), read_identities(database), given, frozenset(given.values()))


def assign(people: People, sightings: Sequence[int], name: str | None) -> tuple[Kind, dict[str, Any]]:
    """Give sightings to a person, who may be new; None says that they are of nobody known.

    Raises:
        NotInGalleryError: a sighting is not there.
        DecisionError: the name belonged to a person who has another one now.
    """
    numbers = _check_sightings(people, sightings)
    key = name
    if name is not None and (name in people.keys or name in people.identities.names.values()):
        key = people.key(name)
    return "assign", {"sightings": numbers, "person": key}


def merge(people: People, into: str, others: Sequence[str]) -> tuple[Kind, dict[str, Any]]:
    """Say that people are one person, who keeps the name of `into`.

    Raises:
        NotInGalleryError: somebody is not there.
        DecisionError: somebody is to be merged with themselves.
    """
    target, keys = people.key(into), [people.key(name) for name in others]
    if not keys or target in keys:
        raise DecisionError(
            f"A merge needs two people; {into!r} was to be merged with {'themselves' if keys else 'nobody'}. Name "
            "another person."
        )
    return "merge", {"person": target, "people": keys}


def split(people: People, sightings: Sequence[int], name: str | None) -> tuple[Kind, dict[str, Any]]:
    """Make some of a person's sightings a person of their own.

    Raises:
        DecisionError: the sightings are not of one person, are all of them, or the new name is taken.
    """
    numbers = _check_sightings(people, sightings)
    names = {people.name_of(number) for number in numbers}
    if len(names) != 1 or None in names:
        shown = list_briefly(sorted(str(one or "nobody") for one in names))
        raise DecisionError(f"A split takes sightings of one person; these are of {shown}. Assign them instead.")
    (old,) = names
    assert old is not None
    if people.sightings_of(old) <= set(numbers):
        raise DecisionError(f"These are all sightings of {old!r}, so nothing is split off. Rename the person instead.")
    taken = people.keys | set(people.identities.names.values())
    if name is None:
        name = next(free for free in people.free_names(old) if free != f"{old}-1")
    if name in taken:
        raise DecisionError(f"The name {name!r} is taken. Choose another one, or assign the sightings to that person.")
    return "split", {"sightings": numbers, "person": name}


def rename(people: People, name: str, new_name: str) -> tuple[Kind, dict[str, Any]]:
    """Give a person another name.

    Raises:
        NotInGalleryError: there is nobody of this name.
        DecisionError: the new one is empty or taken.
    """
    key = people.key(name)
    shown = {people.identities.name(other) for other in people.keys}
    if not new_name.strip() or new_name in shown:
        problem = "is taken; if both are one person, merge them" if new_name.strip() else "is empty"
        raise DecisionError(f"The name {new_name!r} {problem}.")
    return "rename", {"person": key, "name": new_name}


def differ(people: People, sightings: Sequence[int]) -> tuple[Kind, dict[str, Any]]:
    """Say that sightings show different people, each somebody else.

    Raises:
        NotInGalleryError: a sighting is not there.
        DecisionError: there are fewer than two, or two of them have one person already.
    """
    numbers = _check_sightings(people, sightings)
    if len(numbers) < 2:
        raise DecisionError(f"Only sighting {numbers[0]} was named. Name two sightings at least that differ.")
    seen: dict[str, int] = {}
    for number in numbers:
        name = people.name_of(number)
        if name is not None and name in seen:
            raise DecisionError(
                f"Sightings {seen[name]} and {number} are both of {name!r}. Split the person first, or undo the "
                "decision that put them together."
            )
        if name is not None:
            seen[name] = number
    return "differ", {"sightings": numbers}


def answer(people: People, one: int, other: int, *, same: bool) -> tuple[Kind, dict[str, Any]]:
    """Say whether two sightings are of one person.

    Raises:
        NotInGalleryError: a sighting is not there.
        DecisionError: both have one person already.
    """
    return join_two(people, one, other) if same else differ(people, [one, other])


def join_two(people: People, one: int, other: int) -> tuple[Kind, dict[str, Any]]:
    """Say that two sightings are of one person: their people are merged, or who has none gets the other's person.

    Two sightings of nobody become a new person. Of two people, the one with more sightings keeps the name.

    Raises:
        NotInGalleryError: a sighting is not there.
        DecisionError: both have one person already.
    """
    numbers = _check_sightings(people, [one, other])
    names = [name for number in numbers if (name := people.name_of(number)) is not None]
    if len(numbers) < 2 or (len(names) == 2 and names[0] == names[1]):
        raise DecisionError(f"Sightings {one} and {other} are of one person already.")
    if len(names) == 2:
        larger, smaller = sorted(names, key=lambda name: -len(people.sightings_of(name)))
        return merge(people, larger, [smaller])
    if names:
        return assign(people, [number for number in numbers if people.name_of(number) is None], names[0])
    return assign(people, numbers, next(people.free_names("person")))


def is_open(people: People, one: int, other: int) -> bool:
    """Whether nothing has decided yet if two sightings show one person."""
    if one not in people.given or other not in people.given:
        return False
    names = people.name_of(one), people.name_of(other)
    groups = [people.sightings_of(name) if name else {number} for name, number in zip(names, (one, other), strict=True)]
    different = people.identities.different
    return names[0] is None or (
        names[0] != names[1] and not any(different.get(a, frozenset()) & groups[1] for a in groups[0])
    )


def adopt(people: People, proposal: Sequence[ProposedPerson]) -> tuple[Kind, dict[str, Any]]:
    """Give sightings that nobody has to the people who were proposed for them.

    Raises:
        DecisionError: nothing was proposed, or the gallery has changed since.
    """
    if not proposal:
        raise DecisionError("Nobody is proposed, so there is nothing to apply.")
    taken = people.keys | {people.identities.name(key) for key in people.keys}
    keys = []
    for one in proposal:
        is_free = all(number in people.given and people.name_of(number) is None for number in one.sightings)
        if not is_free or (one.name in taken) == one.is_new:
            raise DecisionError(
                f"The gallery has changed since the proposal was made: {one.name!r} or their sightings are not as "
                "they were. Propose people again."
            )
        keys.append(one.name if one.is_new else people.key(one.name))
    return "cluster", {"people": keys, "sightings": [list(one.sightings) for one in proposal]}


def undo(people: People, event: int | None) -> tuple[Kind, dict[str, Any]]:
    """Take an event back: the last one that counts, or any other.

    Raises:
        NotInGalleryError: there is no such event.
        DecisionError: it was undone already.
    """
    if event is None:
        counting = [decision.event for decision in people.decisions if not decision.undone and decision.kind != "undo"]
        if not counting:
            raise DecisionError("There is no decision to undo.")
        event = counting[-1]
    found = [decision for decision in people.decisions if decision.event == event]
    if not found:
        raise NotInGalleryError(f"There is no decision {event}. omnireid gallery decisions lists them.")
    if found[0].undone:
        raise DecisionError(f"Decision {event} was undone already. To have it again, undo the undo.")
    return "undo", {"event": event}


def _check_sightings(people: People, sightings: Sequence[int]) -> list[int]:
    numbers = sorted(set(sightings))
    missing = [number for number in numbers if number not in people.given]
    if missing or not numbers:
        gone = f"There is no sighting {list_briefly(missing)}" if missing else "No sighting was named"
        kind = NotInGalleryError if missing else DecisionError
        raise kind(f"{gone}. A search prints the numbers of sightings.")
    return numbers
