"""Your own crops, from folders or a manifest, turned into a data set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omnireid.data.layout import Request
from omnireid.data.market_names import DISTRACTOR_PERSON_ID
from omnireid.data.partition import draw_queries, partition, protocol_of
from omnireid.types import JUNK_PERSON_ID, Column, Dataset, IntArray, Split, select_rows

ROLES = ("train", "validation", "query", "gallery", "multi_query", "test")
"""The parts a crop may belong to. ``test`` is query and gallery together: its queries are drawn."""

_JUNK = str(JUNK_PERSON_ID)
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Row:
    """One crop as the user gave it.

    Attributes:
        path: The image file.
        person: The person's id as written.
        camera: The camera's id as written; None if cameras are not known.
        role: One of `ROLES`, or None if the data has no split.
    """

    path: Path
    person: str
    camera: str | None
    role: str | None


@dataclass(frozen=True)
class OwnData:
    """Your own crops and where they came from.

    Attributes:
        name: The data set's name.
        layout: Name of the layout that read it.
        root: Its folder or manifest.
        licence: Terms of use in one line.
        rows: The crops. All of them have a camera or none has one; the same holds for roles.
        columns: Further columns, with a value for each row.
        has_distractors: Whether person 0 is a distractor, as in Market-style names. Otherwise 0 is a person.
        notes: Sentences from reading the crops.
    """

    name: str
    layout: str
    root: Path
    licence: str
    rows: Sequence[Row]
    columns: Mapping[str, Column] = field(default_factory=dict)
    has_distractors: bool = False
    notes: tuple[str, ...] = ()


def role_problem(roles: set[str]) -> str | None:
    """What is wrong with a set of roles, or None if there is something to search for and something to search in."""
    if "test" in roles and roles & {"query", "gallery", "multi_query"}:
        return "test stands beside query or gallery; use test alone (its queries are drawn), or query and gallery"
    if "test" in roles:
        return None
    missing = sorted({"query", "gallery"} - roles)
    return f"no {' and no '.join(missing)}" if missing else None


def number_ids(texts: Sequence[str]) -> tuple[IntArray, bool]:
    """Turn ids as written into numbers, and say whether they had to be numbered anew.

    Whole numbers keep their value, unless two spellings such as "1" and "01" would
    become one. All other ids are numbered from 0 in sorted order (by code point, so
    every machine agrees). -1 is junk and stays -1.
    """
    distinct = set(texts) - {_JUNK}
    plain = all(_NUMBER.fullmatch(text) for text in distinct)
    named = not plain or len({int(text) for text in distinct}) < len(distinct)
    number = {text: index if named else int(text) for index, text in enumerate(sorted(distinct))}
    number[_JUNK] = JUNK_PERSON_ID
    return np.array([number[text] for text in texts], dtype=np.int64), named


def assemble(data: OwnData, request: Request) -> Dataset:
    """Number the ids, drop junk, and split the crops by their roles, or automatically if they have none.

    Raises:
        DataError: no identity can be searched for.
    """
    rows = sorted(
        (i for i, row in enumerate(data.rows) if row.person != _JUNK), key=lambda i: data.rows[i].path.as_posix()
    )
    dropped = len(data.rows) - len(rows)
    notes = (f"{dropped:,} crop(s) of person -1 left out; -1 marks junk, a crop that counts neither way.",) * bool(
        dropped
    )
    crops = _number_rows(data, rows)
    distractors = frozenset({DISTRACTOR_PERSON_ID}) if data.has_distractors else frozenset[int]()
    roles = None if data.rows[0].role is None else np.array([data.rows[i].role for i in rows])
    if roles is None:
        parts = partition(crops, seed=request.seed, distractors=distractors)
        splits = {"train": parts.train, "query": parts.query, "gallery": parts.gallery}
        notes += parts.notes
    else:
        splits = {role: crops.select(roles == role) for role in ROLES}
        if "test" in roles:
            parts = draw_queries(splits["test"], seed=request.seed, distractors=distractors)
            splits |= {"query": parts.query, "gallery": parts.gallery}
            notes += (f"Queries were drawn from the test crops with seed {request.seed}.", *parts.notes)
        for role in ("train", "query"):
            splits[role], role_notes = _people_only(splits[role], role, distractors)
            notes += role_notes
    return Dataset(
        name=data.name,
        layout=data.layout,
        root=data.root,
        train=splits["train"],
        query=splits["query"],
        gallery=splits["gallery"],
        protocol=protocol_of(crops),
        validation=_unless_empty(splits.get("validation")),
        multi_query=_unless_empty(splits.get("multi_query")),
        licence=data.licence,
        notes=data.notes + notes,
    )


def _number_rows(data: OwnData, order: Sequence[int]) -> Split:
    """The rows at `order`, with their ids numbered and any names kept in columns."""
    rows = [data.rows[i] for i in order]
    places = np.asarray(order, dtype=np.int64)
    columns = {name: select_rows(values, places) for name, values in data.columns.items()}
    people = [row.person for row in rows]
    person_ids, named = number_ids(people)
    if named:
        columns["person_name"] = people
    camera_ids = None
    if data.rows[0].camera is not None:
        cameras = [str(row.camera) for row in rows]
        camera_ids, named = number_ids(cameras)
        if named:
            columns["camera_name"] = cameras
    return Split(tuple(row.path for row in rows), person_ids, camera_ids, columns)


def _people_only(split: Split, role: str, distractors: frozenset[int]) -> tuple[Split, tuple[str, ...]]:
    nobody = np.isin(split.person_ids, sorted(distractors))
    note = f"{role}: {int(nobody.sum()):,} crop(s) of person 0 left out; in Market-style names 0 marks a distractor."
    return split.select(~nobody), (note,) if nobody.any() else ()


def _unless_empty(split: Split | None) -> Split | None:
    return split if split is not None and len(split) else None
