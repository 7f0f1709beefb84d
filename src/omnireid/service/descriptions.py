"""Values of the gallery as plain values that may leave the server: no path is among them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.gallery.found import GalleryMatches
from omnireid.gallery.info import Person
from omnireid.gallery.questions import Question
from omnireid.gallery.schema import OWN_COLUMNS
from omnireid.gallery.sightings import Sighting
from omnireid.service.crop_files import CropFiles

if TYPE_CHECKING:
    import pyarrow as pa


def describe_rows(rows: pa.Table, crops: CropFiles) -> list[dict[str, Any]]:
    """Rows of the table of sightings."""
    own = [name for name in rows.column_names if name not in OWN_COLUMNS]
    return [
        _describe(record, {name: _plain(record[name]) for name in own if record[name] is not None}, crops)
        for record in rows.to_pylist()
    ]


def describe_sighting(sighting: Sighting, crops: CropFiles) -> dict[str, Any]:
    """One sighting."""
    columns = {name: _plain(value) for name, value in sighting.columns.items() if value is not None}
    return _describe({"sighting": sighting.number, **vars(sighting)}, columns, crops)


def describe_matches(found: GalleryMatches, crops: CropFiles) -> list[dict[str, Any]]:
    """What was found for the first query, nearest first."""
    chosen = np.flatnonzero(found.ranked.indices[0] >= 0)
    rows = found.sightings.table.take(found.ranked.indices[0][chosen])
    distances = found.ranked.distances[0][chosen].tolist()
    likely = [None] * len(chosen) if found.probabilities is None else found.probabilities[0][chosen].tolist()
    described = describe_rows(rows, crops)
    return [
        {
            "rank": rank,
            "distance": distance,
            "probability": probability,
            "verdict": found.verdict(probability),
            **record,
        }
        for rank, (distance, probability, record) in enumerate(zip(distances, likely, described, strict=True), start=1)
    ]


def describe_question(question: Question, crops: CropFiles) -> dict[str, Any]:
    """A question about two sightings."""
    pair = {"one": describe_sighting(question.one, crops), "other": describe_sighting(question.other, crops)}
    return question.json() | pair


def describe_person(person: Person) -> dict[str, Any]:
    """A person."""
    return person.json()


def first_pictures(rows: pa.Table, crops: CropFiles) -> dict[str, str]:
    """The address of the first picture of each person that may be shown, by the person's name."""
    found: dict[str, str] = {}
    columns = (rows.column(name).to_pylist() for name in ("person", "sighting", "path"))
    for person, number, path in zip(*columns, strict=True):
        if person is not None and person not in found and crops.may_show(path):
            found[person] = _crop_address(number)
    return found


def describe_similar(matches: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first `count` people among matches, each by the nearest of their sightings."""
    similar: dict[str, dict[str, Any]] = {}
    for match in matches:
        if match["person"] is not None and match["person"] not in similar:
            sighting = {name: match[name] for name in match if name not in _OF_A_MATCH}
            similar[match["person"]] = {
                "person": match["person"],
                "distance": match["distance"],
                "sighting": sighting,
            }
    return list(similar.values())[:count]


_OF_A_MATCH = ("rank", "distance", "probability", "verdict")


def _describe(record: dict[str, Any], columns: dict[str, Any], crops: CropFiles) -> dict[str, Any]:
    number, box = record["sighting"], record["box_xyxy"]
    return {
        "sighting": number,
        "camera": record["camera"],
        "time": _plain(record["time"]),
        "person": record["person"],
        "track": record["track"],
        "box_xyxy": None if box is None else list(box),
        "quality": record["quality"],
        "columns": columns,
        "crop": _crop_address(number) if crops.may_show(record["path"]) else None,
    }


def _crop_address(number: int) -> str:
    return f"/v1/sightings/{number}/crop"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
