"""Splitting data that has no split: by identity, with a seed, and independent of the order of the files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from omnireid.errors import DataError, list_briefly
from omnireid.terms import Protocol
from omnireid.types import Split


@dataclass(frozen=True, eq=False)
class Partition:
    """Train, query and gallery of crops that came without a split.

    Attributes:
        train: All crops of half the identities; empty if only queries were to be drawn.
        query: One crop for each test identity and camera, or for each identity if cameras are not known.
        gallery: The other crops of the test identities.
        notes: Sentences that say what was done.
    """

    train: Split
    query: Split
    gallery: Split
    notes: tuple[str, ...]


def protocol_of(split: Split) -> Protocol:
    """The protocol for your own data: Market-1501's rule if cameras are known."""
    return "no-cameras" if split.camera_ids is None else "single-query"


def partition(crops: Split, *, seed: int, distractors: frozenset[int] = frozenset()) -> Partition:
    """Split the identities into a training half and a test half, and draw the queries of the test half.

    An identity with nothing to find (a single crop, or crops from a single camera
    where cameras are known) never becomes a query. Such identities are halved
    separately; those in the test half only make the gallery harder. If an odd number
    of identities can be searched for, the test half gets the extra one.

    Args:
        crops: Crops without junk.
        seed: Seed for the draw. The same seed and crops give the same split on every machine.
        distractors: Ids that stand for no person, such as Market-1501's 0. All their crops go to the gallery.

    Raises:
        DataError: no identity can be searched for; the message names the ids and cameras seen.
    """
    crops = _sort_by_path(crops)
    people = [int(person) for person in np.unique(crops.person_ids) if int(person) not in distractors]
    rows = _rows_by_person(crops)
    searchable = [person for person in people if _can_be_searched(crops, rows[person])]
    if not searchable:
        raise DataError(_nothing_to_search(crops, people))
    others = sorted(set(people) - set(searchable))
    learned = []
    for group in (searchable, others):
        drawn_order = sorted(group, key=lambda person: _draw_number(seed, "person", person))
        learned += drawn_order[: len(group) // 2]
    in_train = np.isin(crops.person_ids, learned)
    drawn = draw_queries(crops.select(~in_train), seed=seed, distractors=distractors)
    note = (
        f"Split automatically with seed {seed}: {len(learned)} identities to train, {len(people) - len(learned)} to "
        "test. To keep this split fixed, give the crops a split of their own (docs/datasets.md)."
    )
    return Partition(crops.select(in_train), drawn.query, drawn.gallery, (note, *drawn.notes))


def draw_queries(crops: Split, *, seed: int, distractors: frozenset[int] = frozenset()) -> Partition:
    """Draw one query for each identity and camera so that each keeps a true match in the gallery.

    Raises:
        DataError: no identity can be searched for.
    """
    crops = _sort_by_path(crops)
    queries: list[int] = []
    alone = []
    for person, rows in _rows_by_person(crops).items():
        if person in distractors:
            continue
        if _can_be_searched(crops, rows):
            queries += _draw_queries_of_person(crops, person, rows, seed)
        else:
            alone.append(person)
    if not queries:
        raise DataError(_nothing_to_search(crops, sorted(alone)))
    is_query = np.zeros(len(crops), dtype=bool)
    is_query[queries] = True
    seen = "one crop" if crops.camera_ids is None else "crops from one camera"
    note = (
        f"{len(alone)} test identit{'y has' if len(alone) == 1 else 'ies have'} only {seen} and cannot be searched "
        f"for ({list_briefly(alone)}). Such crops are in the gallery only."
    )
    nobody = np.zeros(len(crops), dtype=bool)
    return Partition(crops.select(nobody), crops.select(is_query), crops.select(~is_query), (note,) if alone else ())


def _sort_by_path(crops: Split) -> Split:
    names = [path.as_posix() for path in crops.paths]
    return crops.select(np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64))


def _rows_by_person(crops: Split) -> dict[int, list[int]]:
    rows: dict[int, list[int]] = defaultdict(list)
    for row, person in enumerate(crops.person_ids.tolist()):
        rows[person].append(row)
    return dict(sorted(rows.items()))


def _can_be_searched(crops: Split, rows: list[int]) -> bool:
    if crops.camera_ids is None:
        return len(rows) > 1
    return len(set(crops.camera_ids[rows].tolist())) > 1


def _draw_queries_of_person(crops: Split, person: int, rows: list[int], seed: int) -> list[int]:
    """The rows drawn as queries: one for each camera, or a single one if cameras are not known."""
    if crops.camera_ids is None:
        return [rows[_draw_number(seed, "query", person) % len(rows)]]
    by_camera: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_camera[int(crops.camera_ids[row])].append(row)
    cameras = sorted(by_camera)
    left = [camera for camera in cameras if len(by_camera[camera]) > 1]
    if len(left) < 2:
        # A query's match must come from another camera. With crops left in fewer than two cameras,
        # some query would have none, so one more camera keeps its only crop in the gallery.
        spare = [camera for camera in cameras if camera not in left]
        cameras.remove(spare[_draw_number(seed, "spare", person) % len(spare)])
    return [
        by_camera[camera][_draw_number(seed, "query", person, camera) % len(by_camera[camera])] for camera in cameras
    ]


def _draw_number(seed: int, *what: object) -> int:
    """A random number for one purpose. It is a digest, since NumPy may change its draws between versions."""
    return int.from_bytes(hashlib.sha256(repr((seed, *what)).encode()).digest()[:8], "big")


def _nothing_to_search(crops: Split, people: list[int]) -> str:
    if crops.camera_ids is None:
        return (
            f"None of the {len(people)} identities has two crops, so there is nothing to find "
            f"(ids: {list_briefly(people, 5)}). Check that crops of one person share its id."
        )
    cameras = np.unique(crops.camera_ids).tolist()
    return (
        f"None of the {len(people)} identities was seen by two cameras, so there is nothing to find across cameras "
        f"(ids: {list_briefly(people, 5)}; cameras: {list_briefly(cameras, 5)}). Check the camera ids; where they "
        "are not known, leave them out and the protocol is no-cameras."
    )
