"""A server of files on this machine, which is also a hub with one repository."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 5000


DIGEST = hashlib.sha256(CONTENT).hexdigest()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Server(ThreadingHTTPServer):
    """A file server, and a hub with one repository, that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.files: dict[str, bytes] = {}  # further ones, by the last part of their address
        self.cut_off: set[str] = set()  # those of which only the first half is sent
        self.stopping = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.respond(body=False)

    def do_GET(self) -> None:
        self.respond(body=True)

    def respond(self, *, body: bool) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        name = self.path.rpartition("/")[2]
        if name in self.server.files:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.files[name])))
            self.end_headers()
            length = len(self.server.files[name]) // (2 if name in self.server.cut_off else 1)
            self.wfile.write(self.server.files[name][:length])
            return
        kind = name.partition(".")[0]
        known = kind in ("w", "cut", "chunked", "reset", "stall")
        self.send_response(200 if known else 404)
        self.send_header("ETag", f'"{kind}"')  # by which the hub's cache knows a file
        self.send_header("X-Repo-Commit", COMMIT)
        if not known and self.path.startswith("/team"):
            self.send_header("X-Error-Code", "EntryNotFound")
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(CONTENT) if known else 0))
        self.end_headers()
        if known and body:
            self.send_body(kind)

    def send_body(self, kind: str) -> None:
        if kind == "w":
            self.wfile.write(CONTENT)
            return
        self.wfile.write(b"2000\r\n" if kind == "chunked" else b"")
        self.wfile.write(CONTENT[:1000])
        if kind == "stall":
            self.server.stopping.wait(30)
        if kind == "reset":
            self.server.stopping.wait(0.3)  # until the client has read what came before
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serve_files() -> Iterator[Server]:
    """A running server."""
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.stopping.set()
        running.shutdown()
