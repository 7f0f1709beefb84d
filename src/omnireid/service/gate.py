"""What every request passes before anything of it is read: origin, size, rate, token and role."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from starlette.datastructures import Headers
from starlette.routing import Match

from omnireid.errors import (
    OmnireidError,
    RateLimitError,
    RequestError,
    RequestTooLargeError,
    RoleError,
    TokenError,
)
from omnireid.service.observation import refuse
from omnireid.service.tokens import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from omnireid.service.backend import Backend

Access = Role | Literal["anyone"]
ACCESS = "x-role"
"""The field of the OpenAPI document in which a route says whom it is for."""

_MOST_CLIENTS = 10_000
_BODY_SECONDS = 30.0
_FAILED_TRIES_PER_SECOND = 2.0
_SAFE = frozenset({"GET", "HEAD"})
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_OF_A_PROXY = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})


@dataclass
class RateLimit:
    """A bucket of permits for each client, filled at a rate. The clients seen last are remembered.

    Attributes:
        per_second: Permits a second; a bucket holds those of two seconds, and at least two.
    """

    per_second: float
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, client: str) -> None:
        """Take a permit.

        Raises:
            RateLimitError: there is none.
        """
        now, most = time.monotonic(), max(2.0, 2 * self.per_second)
        left, at = self._buckets.get(client, (most, now))
        permits = min(most, left + (now - at) * self.per_second)
        if permits < 1:
            raise RateLimitError(
                f"More than {self.per_second:g} requests a second. Try again in {(1 - permits) / self.per_second:.1f} "
                "seconds."
            )
        self._buckets[client] = permits - 1, now
        self._buckets.move_to_end(client)
        while len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)


def access_of(route: BaseRoute | None) -> Access:
    """Whom a route is for. One that does not say is for administrators; None is an address without a route."""
    if route is None:
        return "read"
    said = (getattr(route, "openapi_extra", None) or {}).get(ACCESS, "admin")
    access: Access = said
    return access


class Gate:
    """Lets a request in, or answers why not."""

    def __init__(self, app: ASGIApp, backend: Backend, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._backend = backend
        self._routes = routes
        self._rate = RateLimit(backend.options.requests_per_second)
        self._failures = RateLimit(_FAILED_TRIES_PER_SECOND)
        self._most_bytes = backend.options.largest_upload_mb * 1_000_000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            try:
                self._admit(scope)
            except OmnireidError as error:
                await refuse(error, scope, receive, send, self._backend)
                return
            receive = self._limited(receive)
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        headers, route = Headers(scope=scope), self._route(scope)
        scope["state"]["route"] = getattr(route, "path", "none")
        self._check_origin(scope, headers)
        self._check_size(headers)
        scope["state"]["who"] = self._check_token(scope, headers, access_of(route))

    def _route(self, scope: Scope) -> BaseRoute | None:
        partial = None
        for route in self._routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return route
            if match is Match.PARTIAL:
                partial = partial or route
        return partial

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Refuse pages of other sites, and whoever reaches an open service under another name than this machine's.

        A page of another site can send forms to this machine without asking, and can make its own name point here.
        """
        own = headers.get("host", "")
        origin = headers.get("origin")
        if self._backend.tokens.is_open:
            name = own if own.endswith("]") else own.rsplit(":", maxsplit=1)[0]
            names = {header for header, _ in scope["headers"]}
            if name.lower() not in _LOCAL_HOSTS or names & _OF_A_PROXY:
                raise RoleError(
                    "This service has no tokens, so it answers this machine only, under 127.0.0.1 or localhost."
                )
        if origin is None or scope["method"] in _SAFE or origin in self._backend.options.cors_origins:
            return
        if origin.partition("://")[2] != own:
            raise RoleError("A page of another site may not use this service. Its operator can allow that site.")

    def _check_size(self, headers: Headers) -> None:
        stated = headers.get("content-length", "0")
        if not stated.isdecimal():
            raise RequestError("The header Content-Length is no number.")
        if int(stated) > self._most_bytes:
            raise self._too_large()

    def _check_token(self, scope: Scope, headers: Headers, access: Access) -> str:
        client = scope["client"][0] if scope.get("client") else "unknown"
        if access == "anyone":
            self._rate.take(f"address {client}")
            return "anyone"
        try:
            token = self._backend.tokens.check(headers.get("authorization"), access)
        except TokenError:
            self._failures.take(client)  # those with a token are let in, whoever else comes from their address
            raise
        scope["state"]["role"] = "admin" if token is None else token.role
        who = f"{'anyone' if token is None else token.name}@service"
        self._rate.take(who)
        return who

    def _limited(self, receive: Receive) -> Receive:
        """Receive the body, and stop where it is too long or too slow."""
        received, until = 0, time.monotonic() + _BODY_SECONDS
        ended = False

        async def limited() -> Message:
            nonlocal received, ended
            if ended:  # what comes now is a disconnection, which may take for ever
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise RequestError(f"The request did not arrive within {_BODY_SECONDS:.0f} seconds.") from None
            received += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if received > self._most_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> RequestTooLargeError:
        return RequestTooLargeError(
            f"The request is larger than {self._backend.options.largest_upload_mb} MB. Send fewer or smaller pictures."
        )
