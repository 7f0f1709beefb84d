"""HTTP by httptools, a parser in C, with the checks of headers that httptools leaves to the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

from omnireid.errors import RequestError
from omnireid.service.statuses import error_body

if TYPE_CHECKING:
    import asyncio


def strict_protocol(longest_headers: int) -> type[asyncio.Protocol] | None:
    """The protocol of one connection; None where httptools is not installed.

    A request whose headers are too long, or that does not name one host, is answered 400 with the body that other
    errors have, and the connection is closed.

    Args:
        longest_headers: Bytes that the address and the headers of a request may have.
    """
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return None

    class StrictProtocol(HttpToolsProtocol):
        """Counts what arrives until the headers are complete."""

        requests = 0
        reads_headers = False
        header_bytes = 0

        def data_received(self, data: bytes) -> None:
            before = self.requests
            super().data_received(data)
            if self.reads_headers and self.requests == before:  # all of the data belongs to these headers
                self.header_bytes += len(data)
                if self.header_bytes > longest_headers and not self.transport.is_closing():
                    self.send_400_response("The headers are too long.")

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what uvicorn says is too little to go on
            message = f"This is no HTTP request, or its address and headers have more than {longest_headers:,} bytes."
            body = json.dumps(error_body(RequestError(message), uuid4().hex, ())).encode()
            fields = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + fields.encode() + body)
            self.transport.close()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.requests += 1
            self.reads_headers, self.header_bytes = True, 0

        def on_headers_complete(self) -> None:
            self.reads_headers = False
            length = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            hosts = sum(name == b"host" for name, _ in self.headers)
            if length > longest_headers or hosts > 1 or (not hosts and self.parser.get_http_version() != "1.0"):
                raise ValueError("These headers are refused.")  # ends the parsing, and uvicorn answers 400
            super().on_headers_complete()

    return StrictProtocol
