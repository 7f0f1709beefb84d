"""The attributes of drawn people, as yes-or-no columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omnireid.data.attribute_list import write_person_attributes
from omnireid.files import atomic_output
from omnireid.synthetic.pedestrian import NOTHING, Pedestrian, draw_pedestrians, possible_values
from omnireid.synthetic.plan import Plan

_TASKS = ("upper", "upper_colour", "lower", "lower_colour", "hair", "hair_colour", "hat", "bag", "pattern", "shoe")
"""What becomes a column for each value. Build and skin do not: nobody should be sorted by them."""

ATTRIBUTE_NAMES = (*(f"{task}={value}" for task in _TASKS for value in possible_values(task)), "logo")
"""Columns of a drawn set's attributes; those of one word before ``=`` are the values of one task."""


def attributes_of(person: Pedestrian) -> Mapping[str, bool]:
    """Which of `ATTRIBUTE_NAMES` a person has. Of a task whose thing is absent, such as a bag, no column is true."""
    chosen = {f"{task}={getattr(person, task)}" for task in _TASKS}
    return {name: name in chosen for name in ATTRIBUTE_NAMES} | {"logo": person.logo != NOTHING}


def write_attributes(file: Path, plan: Plan) -> None:
    """Write the attributes of all people of `plan`, a row for each.

    Raises:
        OutputError: The file cannot be written.
    """
    people = draw_pedestrians(plan.identities, cue=plan.cue, seed=plan.seed)
    rows = [list(attributes_of(person).values()) for person in people]
    with atomic_output(file) as temporary:
        write_person_attributes(temporary, range(1, len(people) + 1), ATTRIBUTE_NAMES, rows)
