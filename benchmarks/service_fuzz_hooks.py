"""What schemathesis sends for pictures. `service_fuzz.py` names this module to it."""

from __future__ import annotations

import os
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}


def encoded(format_name: str) -> list[bytes]:
    """Three drawn crops in a format."""
    pictures = []
    for path in sorted(Path(os.environ["OMNIREID_FUZZ_CROPS"]).rglob("*.jpg"))[:3]:
        stream = BytesIO()
        with Image.open(path) as image:
            image.save(stream, format=format_name)
        pictures.append(stream.getvalue())
    return pictures


@st.composite
def pictures(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """A crop: whole, cut short, with a changed byte, or with bytes of something else."""
    content = draw(st.sampled_from(whole))
    damage = draw(st.sampled_from(["none", "none", "none", "cut", "changed", "inserted"]))
    at = draw(st.integers(0, len(content) - 1))
    if damage == "cut":
        return content[:at]
    if damage == "changed":
        return content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
    if damage == "inserted":
        return content[:at] + draw(st.binary(max_size=200)) + content[at:]
    return content


for media_type, name in _FORMATS.items():
    schemathesis.openapi.media_type(media_type, pictures(encoded(name)))


_REPAIRED: set[str] = set()
"""Ids of the cases that `before_call` changed."""


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Make a list of the one picture that schemathesis gives a field of several ones, so that crops are embedded."""
    body = case.body
    if case.path == "/v1/embed" and isinstance(body, dict) and isinstance(body.get("crops"), bytes):
        case.body = {**body, "crops": [body["crops"]]}
        _REPAIRED.add(case.id)


@schemathesis.hook
def filter_failure(_context: Any, failure: Any, case: Any, _response: Any) -> bool:
    """Whether a report counts.

    Three kinds do not. A request without a valid token that gets 429 is refused, because such requests are limited for
    each address. A picture that `before_call` put in order is no longer the invalid data that was generated. And a
    form has text alone: a number or true arrives as text, and null or an empty list does not arrive.
    """
    if re.search(r"got `?429 ", failure.message, re.IGNORECASE):
        return False
    is_valid_after_all = case.id in _REPAIRED or _is_text_in_a_form(failure.message, case)
    return not (type(failure).__name__ == "AcceptedNegativeData" and is_valid_after_all)


def _is_text_in_a_form(message: str, case: Any) -> bool:
    fields = set(re.findall(r"at /properties/(\w+)", message))
    if not fields or case.media_type != "multipart/form-data" or not isinstance(case.body, dict):
        return False
    return not any(isinstance(case.body.get(field), str | bytes) for field in fields)
