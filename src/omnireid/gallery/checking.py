"""Reading a whole gallery to see whether it is sound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omnireid.errors import GalleryError
from omnireid.gallery.audit import audit_rows
from omnireid.gallery.database import Database
from omnireid.gallery.identities import apply_events, read_decisions
from omnireid.gallery.schema import AUDIT, SIGHTINGS, GalleryFacts, sightings_schema
from omnireid.gallery.snapshot import embeddings_of


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        sightings: Number of sightings that were read.
        problems: What is wrong, a sentence each; empty where the gallery is sound.
    """

    sightings: int
    problems: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {"sightings": self.sightings, "problems": list(self.problems)}


def check_gallery(database: Database, facts: GalleryFacts) -> CheckReport:
    """Read every row of every table, and check what must hold between them."""
    problems: list[str] = []
    database = replace(database, _open={})  # a connection of its own, which has nothing of the files in memory
    if facts.erasing:
        problems.append(
            "An erasure was stopped, and files of what it erased may be left. Run the same command again to finish it."
        )
    if AUDIT not in database.table_names():
        problems.append(f"The table {AUDIT!r} is missing: nobody can say who searched and changed what.")
    else:
        try:
            audit_rows(database)
        except GalleryError as error:
            problems.append(str(error))
    try:
        table = database.rows(SIGHTINGS)
    except GalleryError as error:
        return CheckReport(0, (*problems, str(error)))
    for column in sightings_schema(facts):
        index = table.schema.get_field_index(column.name)
        if index < 0 or table.schema.field(index).type != column.type:
            problems.append(f"The column {column.name!r} is missing, or is no {column.type}.")
            return CheckReport(len(table), tuple(problems))
    numbers, keys = table.column("sighting").to_numpy(), table.column("key").to_pylist()
    for name, values in (("number", numbers.tolist()), ("key", keys)):
        doubled = len(values) - len(set(values))
        if doubled:
            problems.append(f"{doubled:,} sightings have the {name} of another one.")
    finite = np.isfinite(embeddings_of(table)).all(axis=1) if len(table) else np.ones(0, dtype=bool)
    if not finite.all():
        first = int(numbers[int(np.argmin(finite))])
        problems.append(f"{int((~finite).sum()):,} embeddings are not finite; the first is sighting {first}.")
    identities = apply_events(read_decisions(database))
    persons = identities.persons(numbers.tolist(), table.column("given_person").to_pylist())
    stale = sum(one != two for one, two in zip(persons, table.column("person").to_pylist(), strict=True))
    if stale:
        problems.append(
            f"{stale:,} sightings do not have the person that the decisions give them; a decision was stopped. Bring "
            "them up to date with: omnireid gallery optimize"
        )
    return CheckReport(len(table), tuple(problems))
