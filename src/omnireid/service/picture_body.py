"""Requests whose body is a picture, without a form around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.routing import APIRoute
from starlette.routing import Match

from omnireid.service.uploads import SUFFIXES

if TYPE_CHECKING:
    from starlette.types import Scope


class PictureBodyRoute(APIRoute):
    """A route for requests whose body is a picture. Others go on to the next route of the same address."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for this route."""
        match, found = super().matches(scope)
        if match is Match.FULL and media_type_of_body(scope) is None:
            return Match.NONE, {}
        return match, found


def media_type_of_body(scope: Scope) -> str | None:
    """The type of picture that a request says its body is; None where it says another type or none."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            said = value.decode("latin-1").partition(";")[0].strip().lower()
            return said if said in SUFFIXES else None
    return None
