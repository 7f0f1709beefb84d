"""The outermost layer: request ids, security headers, the log of requests, and an answer to whatever fails."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from omnireid.errors import RateLimitError, TokenError
from omnireid.service.statuses import error_body, refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from omnireid.service.backend import Backend

LOGGER = logging.getLogger("omnireid.service")

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_ALWAYS = tuple(
    (name.encode(), value.encode()) for name, value in (SECURITY_HEADERS | {"cache-control": "no-store"}).items()
)


class Observation:
    """Gives each request an id and a line in the log, and each answer the security headers."""

    def __init__(self, app: ASGIApp, backend: Backend) -> None:
        self._app = app
        self._backend = backend
        self._measurements = backend.measurements

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Nothing that fails inside gets out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["request_id"] = _request_id(scope)
        status, started = 0, time.perf_counter()

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", ()), scope["state"]["request_id"])
            await send(message)

        self._backend.open_requests += 1
        try:
            await self._app(scope, receive, observed_send)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer and the log the rest
            if status == 0:
                await refuse(error, scope, receive, observed_send, self._backend)
        finally:
            self._end(scope, status, time.perf_counter() - started)

    def _end(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope["state"].get("route", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._backend.open_requests -= 1
        self._measurements.requests.labels(method, route, str(status)).inc()
        self._measurements.seconds.labels(route).observe(seconds)
        LOGGER.info(
            json.dumps(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "request_id": scope["state"]["request_id"],
                    "who": scope["state"].get("who"),
                    "method": method,
                    "route": route,
                    "status": status,
                    "seconds": round(seconds, 4),
                }
            )
        )


async def refuse(error: Exception, scope: Scope, receive: Receive, send: Send, backend: Backend) -> None:
    """Answer with an error. One whose message is not for the caller is logged, with where it came from."""
    await refusal(error, scope["state"]["request_id"], backend)(scope, receive, send)


def refusal(error: Exception, request_id: str, backend: Backend) -> JSONResponse:
    """The answer to an error."""
    how, body = refusal_of(error), error_body(error, request_id, backend.places)
    backend.measurements.refused.labels(body["code"]).inc()
    if not how.is_shown:
        LOGGER.error("request %s failed: %s", request_id, error, exc_info=error)
    headers: dict[str, str] = {}
    if isinstance(error, TokenError):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, RateLimitError) or how.status == 503:
        headers["retry-after"] = "1"
    return JSONResponse(body, how.status, headers)


def _request_id(scope: Scope) -> str:
    """The caller's own id, where it is one, or a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def _completed(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those of safety that it does not have, and the request's id."""
    own = list(headers)
    names = {name for name, _ in own}
    return [*own, *(one for one in _ALWAYS if one[0] not in names), (b"x-request-id", request_id.encode())]


def log_to(stream: Any) -> None:
    """Write the service's log to a stream, one line a request."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.handlers = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(logging.INFO)
