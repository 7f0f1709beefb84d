"""Writing decisions about people, several in one write, and what follows from them into the sightings.

The caller holds the lock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from omnireid.gallery.audit import AuditEntry, acting_user, log_entries
from omnireid.gallery.database import Database
from omnireid.gallery.deciding import People, read_people
from omnireid.gallery.identities import Decision, Kind, append_decisions, read_identities
from omnireid.gallery.register import Register, keep_register, read_register
from omnireid.gallery.schema import SIGHTINGS

if TYPE_CHECKING:
    import pyarrow as pa

_CHANGED_TOGETHER = 65_536


@dataclass(frozen=True, eq=False)
class WantedDecision:
    """A decision that somebody wants to take.

    Attributes:
        choose: Gives kind and details of the event from who is who at that moment, or raises why it does not fit, such
            as `omnireid.gallery.deciding.assign` with its arguments.
        reason: Why, in the words of who decides.
        evidence: What speaks for it, such as a distance.
        who: Who decides; None is whoever opened the gallery.
    """

    choose: Callable[[People], tuple[Kind, dict[str, Any]]]
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    who: str | None = None


def decide_together(database: Database, wanted: Sequence[WantedDecision]) -> list[Decision | Exception]:
    """Take decisions in their order, in one write; the event of each, or the error of one that does not fit.

    Each is checked against who is who after those before it, exactly as if it were taken alone. What returns an event
    is on the disk. Killed before that, the events are there all together or not at all, and their names are written by
    the next decision, `optimize` or the start of a service.

    Raises:
        DiskFullError: no space is left.
    """
    people, user = read_people(database), acting_user(database)
    results: list[Decision | Exception] = []
    for one in wanted:
        try:
            kind, details = one.choose(people)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to this decision, and the others are taken
            results.append(error)
            continue
        time, who = datetime.now(UTC), one.who or user
        made = Decision(people.next_event, time, who, kind, _as_stored(details), one.reason, _as_stored(one.evidence))
        people = people.after(made)
        results.append(made)
    taken = [result for result in results if isinstance(result, Decision)]
    if taken:
        append_decisions(database, taken, people.decisions)
        apply_decisions(database)
        log_entries(database, [AuditEntry(one.time, one.who, one.kind, {"event": one.event}) for one in taken])
    return results


def _as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as they will be read again, because they are kept in memory too."""
    stored: dict[str, Any] = json.loads(json.dumps(dict(values), sort_keys=True))
    return stored


def unwritten_names(database: Database) -> dict[int, str | None]:
    """Number to name of the sightings that have another name, or none, than follows from all decisions."""
    register = read_register(database)
    return _changes(register, _names_of(database, register))


def apply_decisions(database: Database) -> int:
    """Write the names that follow from all decisions into the sightings, in one step; returns how many changed.

    Killed before, the decision is there and the names are not; the next decision, `optimize` or `add` writes them.
    """
    import pyarrow as pa

    register = read_register(database)
    names = _names_of(database, register)
    changes = _changes(register, names)
    if not changes:
        return 0
    handle = database.table(SIGHTINGS)
    changed = _read_numbers(database, handle, sorted(changes))
    column = pa.array([changes[number] for number in changed.column("sighting").to_pylist()], pa.string())
    changed = changed.set_column(changed.schema.get_field_index("person"), "person", column)
    with database.writing(SIGHTINGS):
        handle.merge_insert("sighting").when_matched_update_all().execute(changed.cast(handle.schema))
    keep_register(database, register.with_names(names), handle)
    return len(changes)


def _names_of(database: Database, register: Register) -> list[str | None]:
    return read_identities(database).persons(register.numbers, register.labels)


def _changes(register: Register, names: Sequence[str | None]) -> dict[int, str | None]:
    found = zip(register.numbers, names, register.names, strict=True)
    return {number: name for number, name, written in found if name != written}


def _read_numbers(database: Database, handle: Any, numbers: Sequence[int]) -> pa.Table:
    import pyarrow as pa

    parts = [numbers[start : start + _CHANGED_TOGETHER] for start in range(0, len(numbers), _CHANGED_TOGETHER)]
    wanted = (f"sighting IN ({', '.join(map(str, part))})" for part in parts)
    return pa.concat_tables([database.read(handle, None, where) for where in wanted])
