"""Every route of the service: address, whom it is for, what it answers. A route is added here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omnireid.service import answers, operating, routes
from omnireid.service.gate import Access
from omnireid.service.shapes import Shape
from omnireid.service.uploads import SUFFIXES


@dataclass(frozen=True)
class ServiceRoute:
    """A route.

    Attributes:
        method: Method of the request.
        path: Address.
        call: What answers.
        access: The lowest role that may use it, or anyone.
        answer: Shape of the answer; None for one that is no JSON.
        media_types: Types of an answer that is no JSON; next to a shape, those that a caller may ask for instead.
        status: Status of the answer.
        pictures: Field of the form that takes pictures, where there is one.
        is_picture: The body is a picture itself. Such a route stands before the one of its address for other bodies.
    """

    method: str
    path: str
    call: Callable[..., Any]
    access: Access
    answer: type[Shape] | None = None
    media_types: tuple[str, ...] = ()
    status: int = 200
    pictures: str | None = None
    is_picture: bool = False


ROUTES = (
    ServiceRoute(
        "POST", "/v1/embed", routes.embed_body, "read", answers.EmbedAnswer, (routes.FLOATS,), is_picture=True
    ),
    ServiceRoute("POST", "/v1/embed", routes.embed, "read", answers.EmbedAnswer, (routes.FLOATS,), pictures="crops"),
    ServiceRoute("POST", "/v1/search", routes.search, "read", answers.SearchAnswer, pictures="crop"),
    ServiceRoute("GET", "/v1/sightings", routes.list_sightings, "read", answers.SightingsAnswer),
    ServiceRoute("POST", "/v1/sightings", routes.add_sighting, "write", answers.AddAnswer, status=201, pictures="crop"),
    ServiceRoute("GET", "/v1/sightings/{sighting}", routes.show_sighting, "read", answers.SightingShape),
    ServiceRoute("GET", "/v1/sightings/{sighting}/crop", routes.show_crop, "read", media_types=tuple(SUFFIXES)),
    ServiceRoute("GET", "/v1/people", routes.list_people, "read", answers.PeopleAnswer),
    ServiceRoute("GET", "/v1/people/{person:path}", routes.show_person, "read", answers.PersonAnswer),
    ServiceRoute("GET", "/v1/decisions", routes.list_decisions, "read", answers.DecisionsAnswer),
    ServiceRoute("POST", "/v1/decisions", routes.decide, "write", answers.DecisionShape, status=201),
    ServiceRoute("GET", "/v1/review", routes.list_questions, "read", answers.ReviewAnswer),
    ServiceRoute("POST", "/v1/review", routes.answer_question, "write", answers.DecisionShape, status=201),
    ServiceRoute("POST", "/v1/erasures", routes.erase, "erase", answers.ErasureAnswer),
    ServiceRoute("GET", "/v1/gallery", operating.show_gallery, "read", answers.GalleryAnswer),
    ServiceRoute("GET", "/v1/audit", operating.list_audit, "admin", answers.AuditAnswer),
    ServiceRoute("GET", "/metrics", operating.show_metrics, "read", media_types=("text/plain",)),
    ServiceRoute("GET", "/health/live", operating.show_live, "anyone", answers.HealthAnswer),
    ServiceRoute("GET", "/health/ready", operating.show_ready, "anyone", answers.HealthAnswer),
    ServiceRoute("GET", "/", operating.show_page, "anyone", media_types=("text/html",)),
    ServiceRoute("GET", "/page/{name:path}", operating.show_page_file, "anyone", media_types=operating.PAGE_TYPES),
)
"""The OpenAPI document itself, at /v1/openapi.json, is for anyone too."""
