"""One connection to a service: requests out, answers or typed errors back. Standard library only."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from omnireid.errors import OmnireidError, ServiceError, SettingError, error_class

_KEPT_SECONDS = 3.0
"""A connection that was idle for longer is made anew: a server closes it after five seconds."""

Field = tuple[str, str]
FilePart = tuple[str, str, bytes]
"""Name of the field, media type and content."""


@dataclass(eq=False)
class Connection:
    """A connection to a service, for one thread at a time. It is made again when it was idle.

    Attributes:
        address: Scheme, host and port, such as https://reid.example.org.
        token: The token; None for an open service on this machine.
        timeout_s: Longest time that the service may be silent.
        ca_file: PEM file of the authorities that the service's certificate may come from; None for those of the system.

    Raises:
        SettingError: The address is none, or the file of authorities cannot be read.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    ca_file: Path | None = None
    _tls: ssl.SSLContext | None = field(default=None, repr=False)
    _http: http.client.HTTPConnection | None = field(default=None, repr=False)
    _used: float = 0.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise SettingError(
                f"{self.address!r} is no address of a service. Write it as http://127.0.0.1:8000 or "
                "https://reid.example.org."
            )
        if parts.scheme == "https":
            try:
                self._tls = ssl.create_default_context(cafile=self.ca_file)
            except OSError as error:
                raise SettingError(f"ca_file: {self.ca_file} cannot be read as PEM certificates ({error}).") from error

    def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def get(self, path: str, query: Sequence[Field] = ()) -> Any:
        """The JSON value at an address."""
        return json.loads(self.get_bytes(path, query))

    def get_bytes(self, path: str, query: Sequence[Field] = ()) -> bytes:
        """The file at an address."""
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None, {})

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send an object, and return the one that is answered."""
        content = json.dumps(body).encode()
        return json.loads(self._ask("POST", path, content, {"Content-Type": "application/json"}))

    def post_form(self, path: str, fields: Sequence[Field], files: Sequence[FilePart]) -> Any:
        """Send a form with files, and return the object that is answered."""
        return json.loads(self._post_form(path, fields, files, "application/json"))

    def post_pictures(self, path: str, pictures: Sequence[FilePart], accept: str) -> bytes:
        """Send pictures, a single one without a form around it, and return the answer in a media type."""
        _, media_type, content = pictures[0]
        if len(pictures) == 1 and media_type.startswith("image/"):
            return self._ask("POST", path, content, {"Content-Type": media_type, "Accept": accept})
        return self._post_form(path, (), pictures, accept)

    def _post_form(self, path: str, fields: Sequence[Field], files: Sequence[FilePart], accept: str) -> bytes:
        boundary = secrets.token_hex(16)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": accept}
        return self._ask("POST", path, _form(boundary, fields, files), headers)

    def _ask(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        sent = dict(headers) | ({} if self.token is None else {"Authorization": f"Bearer {self.token}"})
        if time.monotonic() - self._used > _KEPT_SECONDS:
            self.close()
        try:
            if self._http is None:
                self._http = self._connect()
            prefix = urlsplit(self.address).path.rstrip("/")
            self._http.request(method, prefix + target, body, sent)
            answer = self._http.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ServiceError(
                f"The service at {self.address} does not answer ({error or type(error).__name__}). Look whether it "
                "runs; whether a write was done before the connection broke is not known."
            ) from error
        self._used = time.monotonic()
        if answer.status >= 400:
            raise error_of(answer.status, content)
        return content

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.address)
        if self._tls is not None:
            return http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=self.timeout_s, context=self._tls
            )
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout_s)


def error_of(status: int, content: bytes) -> OmnireidError:
    """The error that an answer stands for: of the class that the service raised, where it is one of ours."""
    try:
        record = json.loads(content)
        code, message, request = str(record["code"]), str(record["message"]), str(record["request_id"])
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"The service answered {status} without saying why; a proxy may have answered instead.")
    return (error_class(code) or ServiceError)(f"{message} (request {request})")


def _form(boundary: str, fields: Sequence[Field], files: Sequence[FilePart]) -> bytes:
    parts = []
    for name, value in fields:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, media_type, content in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="crop"\r\n'
        parts.append(f"{head}Content-Type: {media_type}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])
