"""Routes for the operator of the service, and for the files of the page."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse

from omnireid.errors import BusyError, NotInGalleryError
from omnireid.gallery.schema import SIGHTINGS
from omnireid.retrieval.calibration import Calibration
from omnireid.service import shapes
from omnireid.service.backend import Backend

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webp": "image/webp",
    "woff2": "font/woff2",
    "webmanifest": "application/manifest+json",
}
PAGE_TYPES = tuple(kind.partition(";")[0] for kind in _MEDIA_TYPES.values())
"""The media types of the page's files."""


def read_page() -> dict[str, tuple[bytes, str]]:
    """The files of the page by their names, each with its media type. Read once, so that no name leads elsewhere."""
    found: dict[str, tuple[bytes, str]] = {}

    def visit(folder: Traversable, before: str) -> None:
        for one in folder.iterdir():
            if one.is_dir():
                visit(one, f"{before}{one.name}/")
            elif (kind := _MEDIA_TYPES.get(one.name.rsplit(".", maxsplit=1)[-1])) is not None:
                found[before + one.name] = one.read_bytes(), kind

    visit(files("omnireid.service") / "page", "")
    return found


async def show_page(request: Request) -> Response:
    """The page."""
    return await show_page_file(request, "index.html")


async def show_page_file(request: Request, name: str) -> Response:
    """A file of the page."""
    found = _backend(request).page.get(name)
    if found is None:
        raise NotInGalleryError("There is no such page.")
    content, kind = found
    return Response(content, media_type=kind, headers={"cache-control": "no-cache"})


async def show_live() -> Response:
    """Whether the process answers."""
    return JSONResponse({"status": "live"})


async def show_ready(request: Request) -> Response:
    """Whether the gallery can be read, and new requests are welcome."""
    backend = _backend(request)
    if backend.is_stopping:
        raise BusyError("The service is stopping.")
    await backend.read(lambda: (backend.gallery.facts, backend.gallery.database.table(SIGHTINGS)))
    return JSONResponse({"status": "ready"})


async def show_metrics(request: Request) -> Response:
    """What the service counts, in the format of Prometheus."""
    return Response(_backend(request).measurements.text(), media_type=CONTENT_TYPE_LATEST)


async def show_gallery(request: Request) -> Response:
    """What the gallery is, whether it is calibrated, and who asks."""
    backend = _backend(request)

    def answer() -> dict[str, Any]:
        info, facts = backend.gallery.info().json(), backend.gallery.facts
        calibration = None
        if facts.calibration is not None:
            calibration = Calibration.from_json(facts.calibration, "the gallery's calibration")
        kept = ("sightings", "unassigned", "people", "cameras", "first", "last", "columns", "index_recall", "bytes")
        return {name: info[name] for name in (*kept, "created")} | {
            "name": backend.gallery.database.name,
            "architecture": facts.model.architecture,
            "licence": facts.model.licence,
            "distance": facts.model.distance,
            "calibrated_on": None if calibration is None else calibration.data,
            "thresholds": None if calibration is None else calibration.thresholds,
            "keeps_crops": backend.crops.keep is not None,
            "who": request.state.who,
            "role": request.state.role,
        }

    return JSONResponse(await backend.read(answer))


async def list_audit(request: Request, page: Annotated[shapes.Page, Query()]) -> Response:
    """List who searched, changed and removed what, the last entry first."""
    backend = _backend(request)

    def answer() -> dict[str, Any]:
        entries = backend.gallery.audit()[::-1]
        chosen = [entry.json() for entry in entries[page.offset : page.offset + page.limit]]
        for entry in chosen:
            # A filter by paths comes from the command line, and paths stay on the server.
            entry["details"].get("filter", {}).pop("paths", None)
        return {"total": len(entries), "entries": chosen}

    return JSONResponse(await backend.read(answer))


def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend
