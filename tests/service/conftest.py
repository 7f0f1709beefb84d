from __future__ import annotations

import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image
from tests.gallery.tables import mean_embedder

from omnireid.gallery.gallery import Gallery
from omnireid.service.app import create_app
from omnireid.service.backend import Backend
from omnireid.service.options import ServiceOptions
from omnireid.service.server import open_backend, server_config
from omnireid.service.tokens import ROLES, add_token, tokens_file
from omnireid.types import Crops


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is flushed to the disk here; tests/gallery sees that it is asked."""
    monkeypatch.setattr("omnireid.gallery.database._flush", lambda _path: True)


def crop_bytes(seed: int, kind: str = "JPEG", size: tuple[int, int] = (48, 96)) -> bytes:
    """A picture with detail, in colours of its own."""
    rng = np.random.default_rng(seed)
    width, height = size
    pixels = np.clip(rng.integers(0, 255, 3) + rng.integers(-60, 60, (height, width, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind)
    return stream.getvalue()


def file_of(content: bytes, media_type: str = "image/jpeg") -> dict[str, Any]:
    """The file of a form."""
    return {"crop": ("crop.jpg", content, media_type)}


@dataclass(frozen=True)
class Served:
    """A service under test, and whoever asks it.

    Attributes:
        client: Asks it.
        backend: What it holds.
        folder: The gallery's folder, ``g``, the shown crops, ``crops``, and the kept ones, ``kept``, lie here.
        tokens: Role to token; empty for an open service.
    """

    client: TestClient
    backend: Backend
    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)

    def as_role(self, role: str) -> dict[str, str]:
        """The headers of somebody with a role."""
        return {"authorization": f"Bearer {self.tokens[role]}"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sightings of three people by two cameras, a minute apart."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "crops").mkdir()
    paths = []
    for number in range(6):
        path = folder / "crops" / f"{number}.jpg"
        path.write_bytes(crop_bytes(number))
        paths.append(path)
    columns = {"time": [f"2026-03-01T08:0{number}:00+00:00" for number in range(6)], "bag": ["red", "blue"] * 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omnireid.gallery.database._flush", lambda _path: True)
        gallery = Gallery.open(folder / "g", mean_embedder())
        gallery.add(Crops(tuple(paths), np.array([1, 1, 2, 2, 3, 3]), np.array([1, 2] * 3), columns))
    return folder


@pytest.fixture(scope="module")
def unchanged(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An open service that the tests of a module share, because none of them changes its gallery."""
    folder = tmp_path_factory.mktemp("unchanged")
    shutil.copytree(template / "g", folder / "g")
    options = ServiceOptions(
        serve_crops=(template / "crops",), keep_crops=folder / "kept", requests_per_second=1_000_000
    )
    backend = open_backend(str(folder / "g"), mean_embedder(), options)
    with TestClient(create_app(backend), base_url="http://127.0.0.1:8000") as client:
        yield Served(client, backend, folder)


@pytest.fixture
def serve(template: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serves a copy of the template, with a token for each role where that is asked."""
    with ExitStack() as stack:

        def start(*, tokens: bool = False, **options: Any) -> Served:
            folder = tmp_path / f"served-{len(list(tmp_path.iterdir()))}"
            shutil.copytree(template / "g", folder / "g")
            gallery = str(folder / "g")
            file = tokens_file(gallery, None)
            made: dict[str, str] = {role: add_token(file, f"a-{role}", role) for role in ROLES} if tokens else {}
            given = {"serve_crops": (template / "crops",), "keep_crops": folder / "kept", **options}
            backend = open_backend(gallery, mean_embedder(), ServiceOptions(**given))
            client = TestClient(create_app(backend), base_url="http://127.0.0.1:8000")
            return Served(stack.enter_context(client), backend, folder, made)

        yield start


@pytest.fixture
def listening(template: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a service that listens on a port, in a thread, and the folder of its gallery."""
    shutil.copytree(template / "g", tmp_path / "g")
    options = ServiceOptions(port=0, serve_crops=(template / "crops",), keep_crops=tmp_path / "kept")
    backend = open_backend(str(tmp_path / "g"), mean_embedder(), options)
    server = uvicorn.Server(server_config(backend))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", tmp_path
    server.should_exit = True
    thread.join()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """An open service on loopback."""
    return serve()
