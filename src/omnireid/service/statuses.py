"""How each error is answered, as one table. No message says anything about the server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omnireid.errors import (
    BusyError,
    CalibrationError,
    DataError,
    DecisionError,
    DiskFullError,
    FilterError,
    ImageError,
    ImageTooLargeError,
    LabelsError,
    MediaTypeError,
    NotInGalleryError,
    OmnireidError,
    OutputInUseError,
    RateLimitError,
    RequestError,
    RequestTooLargeError,
    RoleError,
    SettingError,
    TokenError,
)

_HIDDEN = "Something failed in the service. Give the request id to its operator: the log says what it was."


@dataclass(frozen=True)
class Refusal:
    """How an error is answered.

    Attributes:
        status: Status of the answer.
        is_shown: Whether its message is for the caller. Others may speak of the server, so the caller gets a sentence
            that says nothing, and the log the message.
    """

    status: int
    is_shown: bool = True


REFUSALS: dict[type[Exception], Refusal] = {
    RequestError: Refusal(400),
    FilterError: Refusal(400),
    SettingError: Refusal(400),
    TokenError: Refusal(401),
    RoleError: Refusal(403),
    NotInGalleryError: Refusal(404),
    DecisionError: Refusal(409),
    CalibrationError: Refusal(409),
    RequestTooLargeError: Refusal(413),
    ImageTooLargeError: Refusal(413),
    MediaTypeError: Refusal(415),
    ImageError: Refusal(422),
    DataError: Refusal(422),
    LabelsError: Refusal(422),
    RateLimitError: Refusal(429),
    BusyError: Refusal(503),
    OutputInUseError: Refusal(503, is_shown=False),
    DiskFullError: Refusal(507, is_shown=False),
    OmnireidError: Refusal(500, is_shown=False),
}
"""The answer for each class. An error without an entry gets that of its nearest base class, any other exception 500."""

# An absolute path or an address, as a message of the library may name one. No message here names a route.
_PATH = re.compile(r"(?:[A-Za-z]:\\|\\\\|(?<![\w/.:])/|\w+://)[^\s'\",;()]+")


def refusal_of(error: Exception) -> Refusal:
    """How an error is answered."""
    for kind in type(error).__mro__:
        if kind in REFUSALS:
            return REFUSALS[kind]
    return REFUSALS[OmnireidError]


def error_body(error: Exception, request_id: str, places: Sequence[str]) -> dict[str, Any]:
    """The body of the answer: the class of the error, what is wrong, and the request's id.

    Args:
        error: The error.
        request_id: The request's id.
        places: Places of the server, which may have spaces in their names, that the message must not say.
    """
    shown = refusal_of(error).is_shown
    code = type(error).__name__ if isinstance(error, OmnireidError) else "ServiceError"
    message = str(error)
    for place in sorted(places, key=len, reverse=True):
        message = message.replace(place, "…")
    message = re.sub("…+", "…", _PATH.sub("…", message)) if shown else _HIDDEN
    return {"code": code, "message": message, "request_id": request_id}
