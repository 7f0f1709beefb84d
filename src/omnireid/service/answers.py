"""The answers, with an example each."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from omnireid.retrieval.calibration import Verdict
from omnireid.service.shapes import Shape, with_example
from omnireid.service.tokens import Role

# Lists with a length, not tuples with a type for each place: many readers of OpenAPI documents know only the former.
Box = Annotated[tuple[float, ...], Field(min_length=4, max_length=4)]
Thresholds = Annotated[tuple[float, ...], Field(min_length=2, max_length=2)]

_SIGHTING: dict[str, Any] = {
    "sighting": 12,
    "camera": "3",
    "time": "2026-03-01T08:15:00+00:00",
    "person": "anna",
    "track": "41",
    "box_xyxy": [10.0, 20.0, 58.0, 148.0],
    "quality": 0.71,
    "columns": {"bag": "red"},
    "crop": "/v1/sightings/12/crop",
}
_MATCH: dict[str, Any] = _SIGHTING | {"rank": 1, "distance": 0.21, "probability": 0.97, "verdict": "same"}
_PERSON: dict[str, Any] = {
    "person": "anna",
    "sightings": 14,
    "cameras": ["1", "3"],
    "first": "2026-03-01T08:15:00+00:00",
    "last": "2026-03-01T17:40:00+00:00",
    "crop": "/v1/sightings/12/crop",
}
_DECISION: dict[str, Any] = {
    "event": 3,
    "time": "2026-03-01T09:00:00+00:00",
    "who": "anna@service",
    "kind": "assign",
    "details": {"sightings": [12], "person": "bert"},
    "reason": "seen at the desk",
    "evidence": {},
    "undone": False,
}


class SightingShape(Shape):
    """A sighting. Where its picture may be shown, `crop` is the address."""

    model_config = with_example(**_SIGHTING)
    sighting: int
    camera: str | None
    time: str | None
    person: str | None
    track: str | None
    box_xyxy: Box | None
    quality: float | None
    columns: dict[str, Any]
    crop: str | None


class MatchShape(SightingShape):
    """A sighting that was found. Without a calibration there is neither a probability nor a verdict."""

    model_config = with_example(**_MATCH)
    rank: int
    distance: float
    probability: float | None
    verdict: Verdict | None


class SearchAnswer(Shape):
    """What a search found, nearest first."""

    model_config = with_example(
        distance="cosine", prior=0.02, thresholds=[0.2, 0.8], index_recall=0.99, crop_sha256="9f2c…", matches=[_MATCH]
    )
    distance: str
    prior: float | None
    thresholds: Thresholds | None
    index_recall: float | None
    crop_sha256: str | None
    matches: list[MatchShape]


class EmbedAnswer(Shape):
    """Embeddings, a row for each crop, not normalised."""

    model_config = with_example(
        architecture="osnet_x0_25", weights_sha256="9f…", distance="cosine", embeddings=[[0.1, 0.4]]
    )
    architecture: str
    weights_sha256: str
    distance: str
    embeddings: list[list[float]]


class AddAnswer(Shape):
    """The sighting of a crop. It is on the disk. `added` is false where the crop was there already."""

    model_config = with_example(added=True, sighting=_SIGHTING)
    added: bool
    sighting: SightingShape


class SightingsAnswer(Shape):
    """A page of sightings; `next` is None on the last one."""

    model_config = with_example(total=101, next=12, sightings=[_SIGHTING])
    total: int
    next: int | None
    sightings: list[SightingShape]


class PersonShape(Shape):
    """A person; `crop` is the address of a picture of them, where one may be shown."""

    model_config = with_example(**_PERSON)
    person: str
    sightings: int
    cameras: list[str]
    first: str | None
    last: str | None
    crop: str | None


class PeopleAnswer(Shape):
    """A page of people, those seen most often first."""

    model_config = with_example(total=1, people=[_PERSON])
    total: int
    people: list[PersonShape]


class SimilarPerson(Shape):
    """Somebody who looks like a person, and the sighting that does most."""

    model_config = with_example(person="17", distance=0.3, sighting=_SIGHTING)
    person: str
    distance: float
    sighting: SightingShape


class PersonAnswer(Shape):
    """A person, their first sightings, and who looks like them."""

    model_config = with_example(person=_PERSON, sightings=[_SIGHTING], similar=[])
    person: PersonShape
    sightings: list[SightingShape]
    similar: list[SimilarPerson]


class DecisionShape(Shape):
    """A decision."""

    model_config = with_example(**_DECISION)
    event: int
    time: str
    who: str
    kind: str
    details: dict[str, Any]
    reason: str
    evidence: dict[str, Any]
    undone: bool


class DecisionsAnswer(Shape):
    """A page of decisions, the last one first."""

    model_config = with_example(total=1, decisions=[_DECISION])
    total: int
    decisions: list[DecisionShape]


class QuestionShape(Shape):
    """Do two sightings show one person?"""

    model_config = with_example(
        one=_SIGHTING, other=_SIGHTING | {"sighting": 40}, distance=0.4, probability=0.5, verdict="ask", changed=3
    )
    one: SightingShape
    other: SightingShape
    distance: float
    probability: float
    verdict: Verdict
    changed: int


class ReviewAnswer(Shape):
    """Questions, the most useful ones first."""

    model_config = with_example(questions=[])
    questions: list[QuestionShape]


class ErasureAnswer(Shape):
    """What an erasure would erase, or what it has erased and the signed receipt."""

    model_config = with_example(
        sightings=14,
        people=["anna"],
        pictures_deleted=2,
        receipt={"gallery": "people.gallery", "sightings": 14, "verified": True},
    )
    sightings: int
    people: list[str]
    pictures_deleted: int
    receipt: dict[str, Any] | None


class GalleryAnswer(Shape):
    """What the gallery is, and who asks."""

    model_config = with_example(
        name="people.gallery",
        architecture="osnet_x1_0",
        licence="Apache-2.0",
        distance="cosine",
        sightings=1200,
        unassigned=40,
        people=31,
        cameras={"1": 700, "3": 500},
        first="2026-03-01T08:15:00+00:00",
        last="2026-03-01T17:40:00+00:00",
        columns=["bag"],
        calibrated_on="tracks of March",
        thresholds=[0.2, 0.8],
        index_recall=0.99,
        bytes=1800000,
        created="2026-03-01T08:00:00+00:00",
        keeps_crops=True,
        who="anna@service",
        role="write",
    )
    name: str
    architecture: str
    licence: str
    distance: str
    sightings: int
    unassigned: int
    people: int
    cameras: dict[str, int]
    first: str | None
    last: str | None
    columns: list[str]
    calibrated_on: str | None
    thresholds: Thresholds | None
    index_recall: float | None
    bytes: int | None
    created: str
    keeps_crops: bool
    who: str
    role: Role


class AuditShape(Shape):
    """An entry of the log."""

    model_config = with_example(
        time="2026-03-01T09:00:00+00:00",
        who="anna@service",
        action="search",
        details={"queries": 1, "count": 20, "found": 20},
    )
    time: str
    who: str
    action: str
    details: dict[str, Any]


class AuditAnswer(Shape):
    """A page of the log, the last entry first."""

    model_config = with_example(total=0, entries=[])
    total: int
    entries: list[AuditShape]


class HealthAnswer(Shape):
    """Whether the service runs."""

    model_config = with_example(status="ready")
    status: str


class ErrorAnswer(Shape):
    """Why a request was refused. `code` is the class of the error in the library."""

    model_config = with_example(
        code="FilterError", message="where: there is no column 'bagg'.", request_id="5f1c0c9a0d6b4c7e8a3b2f90d1e4a6b7"
    )
    code: str
    message: str
    request_id: str
