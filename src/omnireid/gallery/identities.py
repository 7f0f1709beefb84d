"""Who is who: decisions as events that are only ever appended, and the people that follow from them.

A person has a key, which never changes: the label that came with a crop, or the name under which somebody first
assigned it. Names shown are keys, unless somebody renamed the person. Events are applied in their order:

- ``assign`` and ``split`` give sightings to a key; the last one that counts wins over the label.
- ``cluster`` gives many sightings to many keys at once.
- ``differ`` says that sightings show different people, which clustering and questions respect.
- ``merge`` says that keys are one person, for sightings that are added later too.
- ``rename`` gives a key a name.
- ``undo`` takes an event back, whatever came after it; an undo can be undone itself.

Because an undone event is left out when the others are applied, any event can be taken back at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from omnireid.errors import NotInGalleryError
from omnireid.gallery.blocking import salted_hash
from omnireid.gallery.database import Database
from omnireid.gallery.schema import DECISIONS, decisions_schema

Kind = Literal["assign", "merge", "split", "rename", "undo", "cluster", "differ"]


@dataclass(frozen=True)
class Decision:
    """One event.

    Attributes:
        event: Its number, from 1.
        time: When, in UTC.
        who: User and machine.
        kind: What was decided.
        details: ``sightings``, ``person`` (a key, or None for nobody), ``people``, ``name`` or ``event``, by kind. A
            ``cluster`` has ``people``, and in ``sightings`` a list for each of them.
        reason: Why, in the words of who decided.
        evidence: What spoke for it, such as a distance.
        undone: Whether it was taken back.
    """

    event: int
    time: datetime
    who: str
    kind: Kind
    details: Mapping[str, Any]
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    undone: bool = False

    def json(self) -> dict[str, Any]:
        """The event as plain values."""
        return dict(vars(self)) | {"time": self.time.isoformat()}

    def __str__(self) -> str:
        what = ", ".join(f"{name} {value}" for name, value in self.details.items())
        if self.kind == "cluster":
            groups = self.details["sightings"]
            what = f"{sum(map(len, groups)):,} sightings into {len(groups):,} people"
        undone = " (undone)" if self.undone else ""
        reason = f": {self.reason}" if self.reason else ""
        time = self.time.isoformat(timespec="seconds")
        return f"{self.event}  {time}  {self.who}  {self.kind} {what}{undone}{reason}"


@dataclass(frozen=True)
class Identities:
    """Who is who after all events that count.

    Attributes:
        assigned: Key of each sighting that was assigned, by its number; None for nobody.
        parents: Key to the key it was merged into.
        names: Key to the name it was given.
        different: Number of a sighting to the numbers of those that show somebody else, because somebody said so.
    """

    assigned: Mapping[int, str | None] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    different: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def root(self, key: str) -> str:
        """The key of the person that a key stands for now."""
        while key in self.parents:
            key = self.parents[key]
        return key

    def name(self, key: str | None) -> str | None:
        """The name shown for a key."""
        return None if key is None else self.names.get(self.root(key), self.root(key))

    def persons(self, numbers: Sequence[int], given: Sequence[str | None]) -> list[str | None]:
        """The name of each of N sightings, from their numbers and the keys that came with them."""
        shown = {key: self.name(key) for key in {*given, *self.assigned.values()}}
        if not self.assigned:
            return [shown[key] for key in given]
        return [shown[self.assigned.get(number, key)] for number, key in zip(numbers, given, strict=True)]

    def keys(self, given: Iterable[str | None]) -> set[str]:
        """Every key there is."""
        known = {*given, *self.assigned.values(), *self.parents, *self.parents.values(), *self.names}
        return {key for key in known if key is not None}

    def key_of_label(self, label: str | None) -> str | None:
        """The key for a label that comes with a new crop: that of the person who is shown by this name."""
        named = (key for key, name in self.names.items() if name == label and self.root(key) == key)
        return next(named, label)


def apply_events(decisions: Sequence[Decision], before: Identities = Identities()) -> Identities:
    """Who is who after `decisions`, which are in the order of their numbers and come after `before`."""
    assigned, different = dict(before.assigned), dict(before.different)
    parents, names = dict(before.parents), dict(before.names)
    for decision in decisions:
        details = decision.details
        if decision.undone or decision.kind == "undo":
            continue
        if decision.kind in ("assign", "split"):
            assigned.update(dict.fromkeys(details["sightings"], details["person"]))
        elif decision.kind == "cluster":
            for key, numbers in zip(details["people"], details["sightings"], strict=True):
                assigned.update(dict.fromkeys(numbers, key))
        elif decision.kind == "differ":
            for number in details["sightings"]:
                others = frozenset(details["sightings"]) - {number}
                different[number] = different.get(number, frozenset()) | others
        elif decision.kind == "rename":
            names[details["person"]] = details["name"]
        else:
            so_far = Identities(parents=parents)
            into = so_far.root(details["person"])
            for key in details["people"]:
                if (root := so_far.root(key)) != into:
                    parents[root] = into
    return Identities(assigned, parents, names, different)


def mark_undone(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """All events in order, with those marked that were undone, and only those."""
    in_order = sorted(decisions, key=lambda decision: decision.event)
    undone: set[int] = set()
    for decision in reversed(in_order):  # an undo is later than what it takes back
        if decision.kind == "undo" and decision.event not in undone:
            undone.add(decision.details["event"])
    return tuple(
        decision if decision.undone == (decision.event in undone) else replace(decision, undone=not decision.undone)
        for decision in in_order
    )


def read_decisions(database: Database) -> tuple[Decision, ...]:
    """All events in order, with those marked that were undone. Reads only where somebody else has written since."""
    return database.remember(DECISIONS, DECISIONS, lambda: mark_undone(_read_events(database)))


def read_identities(database: Database) -> Identities:
    """Who is who after all events that count."""
    return database.remember("identities", DECISIONS, lambda: apply_events(read_decisions(database)))


def _read_events(database: Database) -> Iterator[Decision]:
    for row in database.rows(DECISIONS).to_pylist():
        details, evidence = json.loads(row["details"]), json.loads(row["evidence"])
        yield Decision(row["event"], row["time"], row["who"], row["kind"], details, row["reason"], evidence)


def append_decisions(database: Database, made: Sequence[Decision], decisions: tuple[Decision, ...]) -> None:
    """Append events in one write. They are on the disk when this returns.

    Args:
        database: The gallery's database. The caller holds the lock.
        made: The new events.
        decisions: All events, with the new ones.
    """
    import pyarrow as pa

    rows = {
        "event": [one.event for one in made],
        "time": [one.time for one in made],
        "who": [one.who for one in made],
        "kind": [one.kind for one in made],
        "details": [json.dumps(one.details, sort_keys=True) for one in made],
        "reason": [one.reason for one in made],
        "evidence": [json.dumps(one.evidence, sort_keys=True) for one in made],
    }
    handle = database.append(DECISIONS, pa.table(rows, schema=decisions_schema()))
    database.keep(DECISIONS, DECISIONS, decisions, handle)


def find_person(name: str, identities: Identities, keys: set[str]) -> str:
    """The key of the person who is shown by a name.

    Raises:
        NotInGalleryError: there is nobody of this name; if there was, the message says who that is now.
    """
    for key in sorted(keys):
        if identities.root(key) == key and identities.name(key) == name:
            return key
    if name in keys:
        raise NotInGalleryError(f"{name!r} is {identities.name(name)!r} now, by a merge or a new name. Use that name.")
    from difflib import get_close_matches

    shown = {shown for key in keys if (shown := identities.name(key)) is not None}
    close = get_close_matches(name, shown, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else " omnireid gallery people lists who is there."
    raise NotInGalleryError(f"There is no person {name!r} in the gallery.{hint}")


def erase_people(database: Database, salt: str, names: Iterable[str]) -> None:
    """Replace people's names and keys in all events by a salted hash, and take out the reasons of those events.

    The events stay, and mean the same as before, so that they can still be undone.
    """
    gone = set(names)
    decisions = read_decisions(database)
    identities = apply_events(decisions)
    gone |= {key for key in identities.keys(gone) if identities.name(key) in gone}
    rows, changed = database.rows(DECISIONS).sort_by("event").to_pylist(), False

    def hidden(value: Any) -> Any:
        if isinstance(value, list):
            return [hidden(one) for one in value]
        return f"erased {salted_hash(salt, value)[:12]}" if isinstance(value, str) and value in gone else value

    for row in rows:
        details = {name: hidden(value) for name, value in json.loads(row["details"]).items()}
        if details != json.loads(row["details"]):
            row |= {"details": json.dumps(details, sort_keys=True), "reason": "", "evidence": "{}"}
            changed = True
    if changed:
        import pyarrow as pa

        database.rewrite(DECISIONS, pa.Table.from_pylist(rows, schema=decisions_schema()).to_reader())
