"""Starting the service: what must hold before anybody can connect, and the server itself."""

from __future__ import annotations

import gc
import sys
from socket import socket
from typing import TYPE_CHECKING

from omnireid.errors import GalleryError, OmnireidError, OutputError, SettingError, require
from omnireid.gallery.gallery import Gallery
from omnireid.service.options import ServiceOptions
from omnireid.service.tokens import TokenCheck, read_tokens, tokens_file

if TYPE_CHECKING:
    import uvicorn

    from omnireid.embedding.embedder import Embedder
    from omnireid.service.backend import Backend

_LONGEST_HEADERS = 32_768
_MOST_CONNECTIONS = 2_000
_STOP_SECONDS = 30
_QUEUE = 2_048
"""Connections that the system keeps waiting while the service is busy."""


def check_access(gallery: str, options: ServiceOptions) -> TokenCheck:
    """Find the tokens, and refuse to serve other machines without any. This is quick, so it comes before the model.

    Raises:
        GalleryError: there is no gallery.
        SettingError: there is no token, and the address is not a loopback one; or the tokens cannot be read.
    """
    file = tokens_file(gallery, options.tokens)
    if Gallery.open(gallery).model is None:
        raise GalleryError(f"There is no gallery at {gallery} yet. Make one first: omnireid gallery add")
    tokens = read_tokens(file)
    if not options.is_loopback and not any(token.revoked is None for token in tokens):
        raise SettingError(
            f"There is no token, and {options.host} can be reached from other machines, so anybody could search and "
            f"erase. Make a token first: omnireid serve token add --gallery {gallery} --name anna. Or leave --host "
            "out (host), to serve this machine only."
        )
    return TokenCheck(file, open_access=options.is_loopback and not tokens)


def open_backend(gallery: str, embedder: Embedder, options: ServiceOptions) -> Backend:
    """Open everything that the service needs, and write the names that a killed service left unwritten.

    Raises:
        OmnireidError: those names cannot be written. A search would contradict decisions that were acknowledged, so
            nothing is served until that is put right.
        SettingError: an option cannot be used.
        GalleryError: there is no gallery, or it is damaged.
        GalleryModelError: the gallery belongs to another model.
        MissingDependencyError: a library of the extra ``serve`` is not installed.
    """
    require_libraries()
    from omnireid.service.backend import Backend
    from omnireid.service.crop_files import open_crop_files
    from omnireid.service.operating import read_page

    tokens = check_access(gallery, options)
    opened = Gallery.open(gallery, embedder)
    _finish_decisions(opened)
    crops = open_crop_files(options.serve_crops, options.keep_crops)
    return Backend(opened, embedder, crops, options, tokens, page=read_page())


def _finish_decisions(gallery: Gallery) -> None:
    try:
        gallery.finish_decisions()
    except OmnireidError as error:
        raise type(error)(
            "The service does not start, because the last decision about people was cut short and cannot be finished: "
            f"{error}"
        ) from error


def require_libraries() -> None:
    """Check that the libraries of the extra ``serve`` are there.

    Raises:
        MissingDependencyError: one is not.
    """
    for library in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        require(library, "serve", "Serving a gallery")


def serve(backend: Backend) -> None:
    """Serve until the process is told to stop; then finish the requests that have begun.

    Raises:
        OutputError: the address cannot be listened on.
    """
    import uvicorn

    from omnireid.service.observation import log_to

    options = backend.options
    log_to(sys.stderr)
    config = server_config(backend)
    try:
        listening = config.bind_socket()
    except (OSError, SystemExit) as error:
        raise OutputError(
            f"Cannot listen on {options.host}, port {options.port}: it is taken, or no address of this machine. Choose "
            "another one: --host, --port."
        ) from error
    name = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{name}:{listening.getsockname()[1]}/"

    class AnnouncedServer(uvicorn.Server):
        """Says where it listens as soon as it does."""

        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                _announce(backend, address)

    # What exists now stays until the end. Looking through it for garbage again and again took 0.1 s each time, in which
    # nothing was answered.
    gc.collect()
    gc.freeze()
    try:
        AnnouncedServer(config).run(sockets=[listening])
    finally:
        gc.unfreeze()


def server_config(backend: Backend) -> uvicorn.Config:
    """How the server speaks HTTP."""
    import uvicorn

    from omnireid.service.app import create_app
    from omnireid.service.http_parser import strict_protocol

    options = backend.options
    return uvicorn.Config(
        create_app(backend),
        host=options.host,
        port=options.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(options.trusted_proxies),
        forwarded_allow_ips=list(options.trusted_proxies),
        http=strict_protocol(_LONGEST_HEADERS) or "h11",
        h11_max_incomplete_event_size=_LONGEST_HEADERS,
        ws="none",
        lifespan="on",
        limit_concurrency=_MOST_CONNECTIONS,
        backlog=_QUEUE,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _announce(backend: Backend, address: str) -> None:
    print(f"{backend.gallery.database.uri}: {address}", flush=True)
    if backend.tokens.is_open:
        print("no tokens: whoever uses this machine may search, decide and erase", file=sys.stderr, flush=True)
