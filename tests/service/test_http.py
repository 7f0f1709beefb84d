"""What comes over a connection, byte by byte, with each of the parsers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from tests.gallery.tables import mean_embedder

from omnireid.service import http_parser
from omnireid.service.options import ServiceOptions
from omnireid.service.server import open_backend, server_config

LIVE = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LONG = b"x" * 40_000


@pytest.fixture(scope="module", params=["httptools", "h11"])
def port(request: pytest.FixtureRequest, template: Path) -> Iterator[int]:
    """Port of a service that listens."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "h11":
            patch.setattr(http_parser, "strict_protocol", lambda _longest: None)
        options = ServiceOptions(port=0, requests_per_second=1_000_000)
        config = server_config(open_backend(str(template / "g"), mean_embedder(), options))
    config.load()
    assert any(request.param in kind.__module__ for kind in config.http_protocol_class.__mro__)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def answer(port: int, *pieces: bytes) -> bytes:
    """Everything that is answered until the service closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.05 if len(pieces) > 1 else 0)
            while more := connection.recv(65536):
                received += more
        except ConnectionError:  # it was closed while we spoke
            pass
    return received


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /health/live HTTP/1.1\r\n\r\n"],
        [LIVE + b"Host: reid.example.org\r\n\r\n"],
        [LIVE + b"X-Long: " + LONG, b"\r\n\r\n"],
        [LIVE + b"X-Long: ", LONG, LONG, LONG],
        [b"GET /" + LONG, b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"],
        [LIVE + b"X-Odd : 1\r\n\r\n"],
        [LIVE + b"X-Odd: \x00\r\n\r\n"],
        [LIVE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy"],
        [LIVE + b"Content-Length: -1\r\n\r\n"],
        [LIVE + b"Transfer-Encoding: gzip\r\n\r\n"],
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"],
    ],
    ids=["no host", "two hosts", "long", "endless", "address", "space", "zero", "lengths", "negative", "coding", "TLS"],
)
def test_a_request_that_is_none_is_refused_and_the_connection_closed(port: int, pieces: list[bytes]) -> None:
    received = answer(port, *pieces)
    assert received == b"" or received.startswith(b"HTTP/1.1 400"), received
    assert answer(port, LIVE + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200"), "it goes on"


@pytest.mark.parametrize("port", ["httptools"], indirect=True)  # h11 counts only while headers are incomplete
def test_headers_that_are_too_long_are_refused_even_in_one_piece(port: int) -> None:
    for address, header in ((b"/" + LONG, b""), (b"/", b"X-Long: " + LONG + b"\r\n")):
        received = answer(port, b"GET " + address + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + header + b"\r\n")
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400"), received
        assert b"content-type: application/json" in head
        assert json.loads(body)["code"] == "RequestError"


def test_requests_of_one_connection_are_answered_in_turn(port: int) -> None:
    """400 requests in one piece: more than the longest headers, but each is short."""
    many = (LIVE + b"X-Request-ID: request-%03d\r\n\r\n") * 400
    received = answer(port, many % tuple(range(400)) + LIVE + b"Connection: close\r\n\r\n")
    assert received.count(b"HTTP/1.1 200") == 401
    places = [received.index(b"request-%03d" % number) for number in range(400)]
    assert places == sorted(places)


def test_a_body_that_breaks_off_is_no_failure_of_the_service(port: int) -> None:
    for media_type in (b"image/jpeg", b"multipart/form-data; boundary=x"):
        head = b"POST /v1/embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\nContent-Type: " + media_type
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head + b"\r\n\r\n\xff\xd8\xff")
    counted, until = b"", time.monotonic() + 60
    while b'{method="POST",route="/v1/embed",status="400"} 2.0' not in counted:
        assert time.monotonic() < until, counted
        counted = answer(port, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
