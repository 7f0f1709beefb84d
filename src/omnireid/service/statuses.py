"""From errors to answers: one table, and nothing of the server in a message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from omnireid import errors

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
    errors.RequestError: Refusal(400),
    errors.FilterError: Refusal(400),
    errors.SettingError: Refusal(400),
    errors.TokenError: Refusal(401),
    errors.RoleError: Refusal(403),
    errors.NotInGalleryError: Refusal(404),
    errors.DecisionError: Refusal(409),
    errors.CalibrationError: Refusal(409),
    errors.RequestTooLargeError: Refusal(413),
    errors.ImageTooLargeError: Refusal(413),
    errors.MediaTypeError: Refusal(415),
    errors.ImageError: Refusal(422),
    errors.DataError: Refusal(422),
    errors.LabelsError: Refusal(422),
    errors.RateLimitError: Refusal(429),
    errors.BusyError: Refusal(503),
    errors.OutputInUseError: Refusal(503, is_shown=False),
    errors.DiskFullError: Refusal(507, is_shown=False),
    errors.OmnireidError: Refusal(500, is_shown=False),
}
"""Class to answer. The nearest class above an error counts; whatever is no `OmnireidError` is answered with 500."""

# A path with a folder in it, as a message of the library may name one. A route of the service has none in messages.
_PATH = re.compile(r"(?:[A-Za-z]:\\|\\\\|(?<![\w/.:])/|\w+://)[^\s'\",;:()]*[/\\][^\s'\",;()]*")


def refusal_of(error: Exception) -> Refusal:
    """How an error is answered."""
    for kind in type(error).__mro__:
        if kind in REFUSALS:
            return REFUSALS[kind]
    return REFUSALS[errors.OmnireidError]


def error_body(error: Exception, request_id: str) -> dict[str, Any]:
    """The body of the answer: the class of the error, what is wrong, and the request's id."""
    shown = refusal_of(error).is_shown
    code = type(error).__name__ if isinstance(error, errors.OmnireidError) else "ServiceError"
    message = _PATH.sub("…", str(error)) if shown else _HIDDEN
    return {"code": code, "message": message, "request_id": request_id}
