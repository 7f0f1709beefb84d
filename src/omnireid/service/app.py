"""The application: the routes of the table behind the gate, with the errors of the library as answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from omnireid.errors import OmnireidError, RequestError, list_briefly
from omnireid.service.answers import AddAnswer, ErrorAnswer
from omnireid.service.backend import Backend
from omnireid.service.gate import ACCESS, Gate
from omnireid.service.observation import Observation, refusal
from omnireid.service.picture_body import PictureBodyRoute
from omnireid.service.route_table import ROUTES, ServiceRoute
from omnireid.service.uploads import SUFFIXES
from omnireid.version import __version__

OPENAPI = "/v1/openapi.json"
_ABOUT = (
    "Search, decide and erase in a gallery of sightings of people. Requests carry a token in the header Authorization: "
    "Bearer TOKEN. Every error is an object with code, message and request_id."
)


def create_app(backend: Backend) -> FastAPI:
    """The application for a backend, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        backend.start()
        yield
        backend.stop()

    app = FastAPI(
        title="omnireid",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    app.state.backend = backend
    for route in ROUTES:
        _add(app, route)

    async def show_openapi() -> Response:
        return JSONResponse(describe_api(app))

    app.add_api_route(OPENAPI, show_openapi, include_in_schema=False, openapi_extra={ACCESS: "anyone"})
    for kind in (OmnireidError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer_error)
    app.add_middleware(Gate, backend=backend, routes=app.router.routes)
    if backend.options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(backend.options.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Observation, backend=backend)
    return app


def describe_api(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    document = app.openapi()
    document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    return document


def _add(app: FastAPI, route: ServiceRoute) -> None:
    answers: dict[int | str, dict[str, Any]] = {
        "4XX": {"model": ErrorAnswer, "description": "The request was refused."},
        "5XX": {"model": ErrorAnswer, "description": "The service failed, or has too much to do."},
    }
    if route.media_types:
        what = "The file." if route.answer is None else "The answer, as the header Accept asks for it."
        answers[route.status] = {"content": {kind: {} for kind in route.media_types}, "description": what}
    if route.status == 201 and route.answer is AddAnswer:
        answers[200] = {"model": AddAnswer, "description": "The crop was there already."}
    extra: dict[str, Any] = {ACCESS: route.access}
    if route.access != "anyone":
        extra["security"] = [{"bearer": []}]
    if route.pictures is not None:
        kinds = {"contentType": ", ".join(SUFFIXES)}
        bodies: dict[str, Any] = {"multipart/form-data": {"encoding": {route.pictures: kinds}}}
        if any(other.is_picture and other.path == route.path for other in ROUTES):
            picture = {"schema": {"type": "string", "format": "binary"}}
            bodies |= dict.fromkeys(SUFFIXES, picture)
        extra["requestBody"] = {"content": bodies}
    app.router.add_api_route(
        route.path,
        route.call,
        methods=[route.method],
        response_model=route.answer,
        response_class=Response if route.answer is None else JSONResponse,
        status_code=route.status,
        responses=answers,
        operation_id=route.call.__name__,
        openapi_extra=extra,
        include_in_schema=not route.is_picture,
        route_class_override=PictureBodyRoute if route.is_picture else None,
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    """The answer to an error of the library, of the framework, or of the body that was not read to its end."""
    backend, request_id = request.app.state.backend, request.state.request_id
    if isinstance(error, RequestValidationError):
        return refusal(RequestError(_say(error)), request_id, backend)
    if not isinstance(error, HTTPException):
        return refusal(error, request_id, backend)
    if isinstance(error.__cause__, OmnireidError):  # what the gate raised while the body was read
        return refusal(error.__cause__, request_id, backend)
    message = "There is no such address." if error.status_code == 404 else str(error.detail)
    headers = error.headers
    if error.status_code == 405:  # the framework names the methods of one route only, and an address may have several
        headers = {"allow": ", ".join(_methods_of(request))}
    body = {"code": RequestError.__name__, "message": message, "request_id": request_id}
    backend.measurements.refused.labels(RequestError.__name__).inc()
    return JSONResponse(body, error.status_code, headers)


def _methods_of(request: Request) -> list[str]:
    """The methods that an address takes."""
    reached = [route for route in request.app.router.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in reached for method in route.methods})


def _say(error: RequestValidationError) -> str:
    """What is wrong with a request, without the values, which may be long or belong to somebody."""
    found = [f"{'.'.join(map(str, one['loc'][1:])) or 'the body'}: {one['msg']}" for one in error.errors()]
    return f"{list_briefly(found)}. The OpenAPI document describes every field."
