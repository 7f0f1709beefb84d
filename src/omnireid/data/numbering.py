"""One numbering of people and cameras for two lists of crops that were read separately."""

from __future__ import annotations

import re

import numpy as np

from omnireid.errors import LabelsError, NoTrueMatchError, list_briefly
from omnireid.types import JUNK_PERSON_ID, Crops, IntArray, Labels

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


def number_together(query: Crops, gallery: Crops) -> tuple[Labels, Labels]:
    """Labels of both sides in which equal numbers mean the same person and the same camera.

    Ids that are not whole numbers were numbered within their own file, so they are
    compared by name. A side without names is named by its numbers: "7" in one file
    is 7 in the other. Leading zeros do not count, unless one side tells "1" from
    "01". Without any name the numbers stay as they are, and junk (-1) stays junk.

    Args:
        query: crops to look for.
        gallery: crops to look in.

    Raises:
        LabelsError: a side has no person ids; or one side tells "1" from "01", and the other has only the number.
        NoTrueMatchError: names were compared, and no query's person is in the gallery.
    """
    for what, side in (("query", query), ("gallery", gallery)):
        if side.person_ids is None:
            raise LabelsError(
                f"The {what} crops have no person ids, so there is nothing to score. Embed a data set's split "
                "(--split), a manifest with person_id, or crops with Market-1501-style names."
            )
    assert query.person_ids is not None
    assert gallery.person_ids is not None
    people = _number("person", query, query.person_ids, gallery, gallery.person_ids)
    cameras: tuple[IntArray | None, IntArray | None] = (query.camera_ids, gallery.camera_ids)
    if query.camera_ids is not None and gallery.camera_ids is not None:
        cameras = _number("camera", query, query.camera_ids, gallery, gallery.camera_ids)
    return Labels(people[0], cameras[0]), Labels(people[1], cameras[1])


def _number(
    what: str, query: Crops, query_ids: IntArray, gallery: Crops, gallery_ids: IntArray
) -> tuple[IntArray, IntArray]:
    """Both sides' ids of people or cameras, numbered together where there are names."""
    column = f"{what}_name"
    if column not in query.columns and column not in gallery.columns:
        return query_ids, gallery_ids
    names = [_names(crops, column, ids) for crops, ids in ((query, query_ids), (gallery, gallery_ids))]
    if any(len({_without_zeros(name) for name in side}) < len(side) for side in map(set, names)):
        _require_spelling(what, query, gallery, names)
    else:
        names = [[_without_zeros(name) for name in side] for side in names]
    junk = str(JUNK_PERSON_ID)
    if what == "person" and not (set(names[0]) & set(names[1]) - {junk}):
        sought, present = (list_briefly(sorted(set(side))) for side in names)
        raise NoTrueMatchError(
            f"No person of the query ({sought}) is in the gallery ({present}). People with names are compared by "
            "name. Check that both sides call a person the same."
        )
    number = {name: index for index, name in enumerate(sorted({*names[0], *names[1]} - {junk}))}
    number[junk] = JUNK_PERSON_ID
    first, second = (np.array([number[name] for name in side], dtype=np.int64) for side in names)
    return first, second


def _names(crops: Crops, column: str, ids: IntArray) -> list[str]:
    """What each id was written as; the number itself where it was a number."""
    return [str(name) for name in crops.columns[column]] if column in crops.columns else list(map(str, ids.tolist()))


def _without_zeros(name: str) -> str:
    return str(int(name)) if _NUMBER.fullmatch(name) else name


def _require_spelling(what: str, query: Crops, gallery: Crops, names: list[list[str]]) -> None:
    """Where spellings of one number are told apart, refuse a side that has lost them: it has only the number."""
    column = f"{what}_name"
    for side, crops, others in (("query", query, names[1]), ("gallery", gallery, names[0])):
        if column in crops.columns:
            continue
        zeros = sorted({other for other in others if other != _without_zeros(other)})
        lost = [name for name in zeros if _without_zeros(name) in set(names[side == "gallery"])]
        if lost:
            raise LabelsError(
                f"The other side tells the {what} {lost[0]!r} from {_without_zeros(lost[0])!r}, but the {side} crops "
                "have only the number. Write the ids of both sides in one way, and embed them again."
            )
