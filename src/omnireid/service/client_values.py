"""What the client answers with: the service's objects as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from omnireid.gallery.identities import Decision
from omnireid.gallery.info import Person
from omnireid.retrieval.calibration import Verdict


@dataclass(frozen=True)
class ServedSighting:
    """A sighting as a service shows it: without its path.

    Attributes:
        number: Its number in the gallery.
        camera: The camera that saw it; None where it is not known.
        time: When, in UTC.
        person: Who it is, by label or decision.
        track: The track it belongs to.
        box_xyxy: Left, top, right and bottom in its frame.
        quality: Between 0 and 1.
        columns: The user's own columns; a time among them is text.
        has_crop: Whether the service shows its picture.
    """

    number: int
    camera: str | None = None
    time: datetime | None = None
    person: str | None = None
    track: str | None = None
    box_xyxy: tuple[float, float, float, float] | None = None
    quality: float | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    has_crop: bool = False


@dataclass(frozen=True)
class ServedMatch:
    """A sighting that was found.

    Attributes:
        rank: Its place, from 1.
        distance: Distance to the query.
        sighting: What was found.
        probability: That both show one person; None without a calibration.
        verdict: ``same``, ``ask`` or ``new``; None without a calibration.
    """

    rank: int
    distance: float
    sighting: ServedSighting
    probability: float | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class ServedMatches:
    """What a search found.

    Attributes:
        distance: How embeddings were compared.
        matches: What was found, nearest first.
        prior: The probability that the probabilities begin with; None without a calibration.
        thresholds: A probability below the first is *new*, from the second on *same*.
        index_recall: None where every sighting was compared, else the measured recall of the index.
        crop_sha256: SHA-256 of the crop, as the log has it.
    """

    distance: str
    matches: tuple[ServedMatch, ...]
    prior: float | None = None
    thresholds: tuple[float, float] | None = None
    index_recall: float | None = None
    crop_sha256: str | None = None


@dataclass(frozen=True)
class AddedSighting:
    """What became of a crop.

    Attributes:
        sighting: Its sighting, which is on the disk of the service.
        is_new: Whether it was not there before.
    """

    sighting: ServedSighting
    is_new: bool


@dataclass(frozen=True)
class SimilarPerson:
    """Somebody who looks like a person.

    Attributes:
        person: The name.
        distance: Distance of the nearest of their sightings.
        sighting: That sighting.
    """

    person: str
    distance: float
    sighting: ServedSighting


@dataclass(frozen=True)
class ServedPerson:
    """A person.

    Attributes:
        person: The name, and how often, when and by which cameras the person was seen.
        sightings: The first sightings.
        similar: People who look like this one, the nearest first.
    """

    person: Person
    sightings: tuple[ServedSighting, ...]
    similar: tuple[SimilarPerson, ...]


@dataclass(frozen=True)
class ServedQuestion:
    """Do two sightings show one person?

    Attributes:
        one: A sighting.
        other: Another one.
        distance: Distance of their embeddings.
        probability: The probability that both show one person.
        verdict: What the calibration's costs say.
        changed: Number of sightings that get another person if the answer is yes.
    """

    one: ServedSighting
    other: ServedSighting
    distance: float
    probability: float
    verdict: Verdict
    changed: int


@dataclass(frozen=True)
class ServedErasure:
    """What was erased, or would be.

    Attributes:
        sightings: Number of sightings.
        people: Names of the people who are among them.
        pictures_deleted: Number of pictures that the service kept and deleted.
        receipt: The signed receipt; None where nothing was erased yet.
    """

    sightings: int
    people: tuple[str, ...]
    pictures_deleted: int
    receipt: Mapping[str, Any] | None


def sighting_of(record: Mapping[str, Any]) -> ServedSighting:
    """A sighting from its JSON object."""
    box = record["box_xyxy"]
    return ServedSighting(
        number=record["sighting"],
        camera=record["camera"],
        time=_time(record["time"]),
        person=record["person"],
        track=record["track"],
        box_xyxy=None if box is None else tuple(box),
        quality=record["quality"],
        columns=record["columns"],
        has_crop=record["crop"] is not None,
    )


def matches_of(record: Mapping[str, Any]) -> ServedMatches:
    """What was found, from its JSON object."""
    thresholds = record["thresholds"]
    return ServedMatches(
        distance=record["distance"],
        matches=tuple(
            ServedMatch(one["rank"], one["distance"], sighting_of(one), one["probability"], one["verdict"])
            for one in record["matches"]
        ),
        prior=record["prior"],
        thresholds=None if thresholds is None else tuple(thresholds),
        index_recall=record["index_recall"],
        crop_sha256=record["crop_sha256"],
    )


def person_of(record: Mapping[str, Any]) -> Person:
    """A person from their JSON object."""
    return Person(
        name=record["person"],
        sightings=record["sightings"],
        cameras=tuple(record["cameras"]),
        first=_time(record["first"]),
        last=_time(record["last"]),
    )


def served_person_of(record: Mapping[str, Any]) -> ServedPerson:
    """A person with sightings and similar people, from their JSON object."""
    return ServedPerson(
        person_of(record["person"]),
        tuple(map(sighting_of, record["sightings"])),
        tuple(SimilarPerson(one["person"], one["distance"], sighting_of(one["sighting"])) for one in record["similar"]),
    )


def decision_of(record: Mapping[str, Any]) -> Decision:
    """A decision from its JSON object."""
    return Decision(**{**record, "time": datetime.fromisoformat(record["time"])})


def question_of(record: Mapping[str, Any]) -> ServedQuestion:
    """A question from its JSON object."""
    return ServedQuestion(**{**record, "one": sighting_of(record["one"]), "other": sighting_of(record["other"])})


def erasure_of(record: Mapping[str, Any]) -> ServedErasure:
    """An erasure from its JSON object."""
    return ServedErasure(**{**record, "people": tuple(record["people"])})


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
