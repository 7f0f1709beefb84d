"""``omnireid serve``: a gallery as an HTTP API and a page."""

from __future__ import annotations

import os

from omnireid.commands.gallery import load_gallery_embedder
from omnireid.commands.options import GalleryOption, OptionalWeights
from omnireid.embedding.options import RuntimeOptions
from omnireid.service.options import ServiceOptions


def serve(
    *,
    gallery: GalleryOption,
    weights: OptionalWeights = None,
    service: ServiceOptions = ServiceOptions(),
    runtime: RuntimeOptions = RuntimeOptions(),
) -> None:
    """Serve a gallery to a team: a page and an HTTP API, on this machine only until there are tokens.

    Tokens are made by omnireid serve token add. Pictures are shown from the folders of --serve-crops only. Every
    search is kept in the gallery's log. TLS is the task of a proxy in front. Ctrl-C finishes what has begun.

    Example: omnireid serve --gallery people.gallery --serve-crops crops --keep-crops added

    Args:
        service: How the gallery is served.
        runtime: How the model is run.
    """
    from omnireid.memory import give_back_memory

    give_back_memory(os.environ)
    from omnireid.service import server

    server.require_libraries()
    server.check_access(gallery, service)
    embedder = load_gallery_embedder(gallery, weights, runtime)
    server.serve(server.open_backend(gallery, embedder, service))
