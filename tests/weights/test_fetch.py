from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import platformdirs
import pytest
from huggingface_hub import errors as hub_errors
from tests.weights.openvino_writer import HEIGHT, WEIGHT, WIDTH, write_graph_of_others

from omnireid import load_embedder
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import DiskFullError, DownloadError, OutputError, WeightsError, WeightsNotFoundError
from omnireid.files import cache_folder, output_errors
from omnireid.weights import fetch
from omnireid.weights.description import WeightsDescription
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.published import PublishedFile, PublishedWeights

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
        self.send_header("ETag", f'"{DIGEST}"')
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


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.stopping.set()
        running.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNIREID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_published_weights_without_an_address_say_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "torchreid/osnet_x0_25.market1501"
    message = (
        rf"^{name} does not ship with omnireid.*Get osnet_x0_25_market1501\.pth from https://.*prints c0ff09177a21"
    )
    with pytest.raises(WeightsNotFoundError, match=message):
        resolve_weights(name)
    with pytest.raises(WeightsNotFoundError, match=r"Did you mean torchreid/osnet_x1_0\.market1501\?"):
        resolve_weights("osnet_x1_0.market1501")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torchreid").mkdir()
    (tmp_path / name).write_bytes(b"mine")
    assert resolve_weights(name) == Path(name)


def test_published_weights_with_addresses_are_downloaded_into_one_folder(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tuple(PublishedFile(f"w{end}", DIGEST, url=f"{server.address}/w{end}") for end in (".xml", ".bin"))
    two = PublishedWeights("shop/w", "osnet_x0_25", "nothing", "MIT", "https://shop.example", files)
    monkeypatch.setattr(fetch, "PUBLISHED_WEIGHTS", {"shop/w": two})
    first = resolve_weights("shop/w")
    assert first == cache / "downloads" / DIGEST / "w.xml"
    assert first.read_bytes() == first.with_suffix(".bin").read_bytes() == CONTENT
    assert resolve_weights("shop/w") == first
    assert len(server.requests) == 2


def name_two_files(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, **sha256: str) -> None:
    """Offer a small OpenVINO graph under the name ``shop/net``. Other checksums than the true ones may be stated."""
    xml = write_graph_of_others(folder / "net.xml")
    files = []
    for path in (xml, xml.with_suffix(".bin")):
        server.files[path.name] = path.read_bytes()
        stated = sha256.get(path.suffix[1:], hashlib.sha256(path.read_bytes()).hexdigest())
        files.append(PublishedFile(path.name, stated, url=f"{server.address}/{path.name}"))
    said = WeightsDescription(channels="bgr", range=255, distance="cosine")
    net = PublishedWeights("shop/net", "net", "shoppers", "MIT", "https://shop.example", tuple(files), description=said)
    monkeypatch.setattr(fetch, "PUBLISHED_WEIGHTS", {"shop/net": net})


def test_a_named_openvino_graph_is_downloaded_once_described_and_run_offline(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_two_files(server, tmp_path, monkeypatch)
    options = RuntimeOptions(precision="fp32", threads=1)
    embedder = load_embedder("shop/net", options)
    metadata = embedder.metadata
    assert (metadata.architecture, metadata.licence, metadata.distance) == ("net", "MIT", "cosine")
    assert metadata.origin.startswith("https://shop.example: net.xml and its .bin, ")
    crops = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    expected = crops[..., ::-1].mean(axis=(1, 2)) @ WEIGHT
    assert np.allclose(embedder.embed(crops), expected, rtol=1e-3)
    assert len(server.requests) == 2
    server.shutdown()
    server.server_close()
    assert load_embedder("shop/net", options).weights == embedder.weights
    embedder.weights.with_suffix(".bin").write_bytes(b"damaged")
    assert np.allclose(load_embedder("shop/net", options).embed(crops), expected, rtol=1e-3)


@pytest.mark.parametrize("fault", ["cut off", "another checksum"])
def test_of_two_files_neither_is_kept_where_one_fails(
    server: Server,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    name_two_files(server, tmp_path, monkeypatch, **({} if fault == "cut off" else {"bin": "0" * 64}))
    server.cut_off |= {"net.bin"} if fault == "cut off" else set()
    assert main(["inspect", "shop/net"]) == 2
    message = r"broke off after \d+ of \d+ bytes" if fault == "cut off" else "arrived with SHA-256 .* It was not kept"
    assert re.search(rf"net\.bin {message}", capsys.readouterr().err)
    assert len(server.requests) == 2
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_path_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"x")
    assert resolve_weights(path) == path
    with pytest.raises(WeightsNotFoundError, match=r"No such file of weights: .*gone\.pth.*hf://owner"):
        resolve_weights(tmp_path / "gone.pth")
    with pytest.raises(WeightsNotFoundError, match="is a folder, not a file of weights"):
        resolve_weights(tmp_path)


def test_a_path_that_cannot_be_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"cannot be looked up: File name too long. Check the path"):
        resolve_weights(tmp_path / ("x" * 300))
    with pytest.raises(WeightsNotFoundError, match=r"'w\\x00\.pth' cannot be looked up: .*null"):
        resolve_weights("w\0.pth")
    with pytest.raises(WeightsNotFoundError, match="cannot be looked up: .*home"):
        resolve_weights("~nobody-of-that-name/w.pth")
    with pytest.raises(WeightsNotFoundError, match="No such file of weights"):
        resolve_weights(Path(__file__) / "w.pth")

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)  # tests may run as root, whom no folder keeps out
    with pytest.raises(
        WeightsNotFoundError, match=r"w\.pth' cannot be looked up: Permission denied. Check the path and"
    ):
        resolve_weights(tmp_path / "w.pth")


def test_downloaded_once_then_taken_from_the_cache(server: Server) -> None:
    name = f"{server.address}/w.safetensors#sha256={DIGEST}"
    first = resolve_weights(name)
    assert first.read_bytes() == CONTENT
    assert first.name == "w.safetensors"
    assert resolve_weights(name) == first
    assert server.requests == ["GET /w.safetensors"]


def test_works_offline_from_the_cache(server: Server) -> None:
    name = f"{server.address}/w.safetensors#sha256={DIGEST}"
    resolve_weights(name)
    server.shutdown()
    server.server_close()
    assert resolve_weights(name).read_bytes() == CONTENT


def test_a_damaged_cache_is_fetched_again(server: Server) -> None:
    name = f"{server.address}/w.safetensors#sha256={DIGEST}"
    resolve_weights(name).write_bytes(b"damaged")
    assert resolve_weights(name).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_other_bytes_are_not_kept(server: Server, cache: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(DownloadError, match=f"arrived with SHA-256 {DIGEST}, expected {wrong}. It was not kept"):
        resolve_weights(f"{server.address}/w.safetensors#sha256={wrong}")
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_broken_off_download_is_not_kept(server: Server, cache: Path) -> None:
    with pytest.raises(DownloadError, match=r"broke off after 1,000 of 1,280,000 bytes .*Run the command again"):
        resolve_weights(f"{server.address}/cut.bin#sha256={DIGEST}")
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("stall.bin", r"broke off after [\d,]+ of 1,280,000 bytes \(.*timed out\). Run the command again"),
        ("reset.bin", r"broke off after [\d,]+ of 1,280,000 bytes \(.*reset.*\). Run the command again"),
        ("chunked.bin", r"broke off after [\d,]+ bytes \(.*\). Run the command again"),
    ],
)
def test_a_network_that_fails_is_not_a_disk_that_fails(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, file: str, message: str
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT_S", 2.0)
    with pytest.raises(DownloadError, match=message):
        resolve_weights(f"{server.address}/{file}#sha256={DIGEST}")
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fails_is_not_a_network_that_fails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def on_full_disk(path: Path) -> Iterator[Path]:
        with output_errors(path):
            yield Path("/dev/full")

    monkeypatch.setattr(fetch, "atomic_output", on_full_disk)
    with pytest.raises(DiskFullError, match=r"No space left on the disk while writing .*w\.safetensors"):
        resolve_weights(f"{server.address}/w.safetensors#sha256={DIGEST}")


def test_addresses_that_are_refused(server: Server) -> None:
    with pytest.raises(DownloadError, match=r"does not say which bytes to expect.*#sha256="):
        resolve_weights(f"{server.address}/w.safetensors")
    with pytest.raises(DownloadError, match="without encryption. Use https://"):
        resolve_weights(f"http://example.org/w.safetensors#sha256={DIGEST}")
    with pytest.raises(DownloadError, match="answered 404"):
        resolve_weights(f"{server.address}/other#sha256={DIGEST}")
    with pytest.raises(DownloadError, match=r"does not have the form hf://owner/repository/file\[@revision\]"):
        resolve_weights("hf://only-an-owner")
    for address in ("http://[::1/x", "https://[::1/x", "http://[x]/w"):
        with pytest.raises(DownloadError, match="is not an address: .* Check it"):
            resolve_weights(f"{address}#sha256={DIGEST}")
    for path in ("a file", "gewichte-für-x"):
        with pytest.raises(DownloadError, match="could not be reached"):
            resolve_weights(f"{server.address}/{path}#sha256={DIGEST}")
    assert not [request for request in server.requests if "/w." in request]


def test_nobody_answers(server: Server) -> None:
    address = server.address
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="could not be reached.*download the file elsewhere"):
        resolve_weights(f"{address}/w.safetensors#sha256={DIGEST}")


def on_hub(name: str, endpoint: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Resolve `name` in a fresh process: huggingface_hub reads its endpoint when it is imported."""
    code = (
        "import sys; from omnireid.weights.fetch import resolve_weights; from omnireid.errors import DownloadError\n"
        "try: print(resolve_weights(sys.argv[1]))\n"
        "except DownloadError as error: print('DownloadError:', error); sys.exit(2)"
    )
    settings = {"HF_ENDPOINT": endpoint, "OMNIREID_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, name],
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_hub_file_is_downloaded_once_and_works_offline(server: Server, cache: Path) -> None:
    name = "hf://team/osnet/w.bin@main"
    first = on_hub(name, server.address, cache)
    assert first.returncode == 0, first.stderr
    path = Path(first.stdout.strip())
    assert path.read_bytes() == CONTENT
    assert cache in path.parents
    gets = [request for request in server.requests if request.startswith("GET")]
    offline = on_hub(name, server.address, cache, HF_HUB_OFFLINE="1")
    assert Path(offline.stdout.strip()) == path
    assert [request for request in server.requests if request.startswith("GET")] == gets


def test_hub_file_that_is_not_there(server: Server, cache: Path) -> None:
    missing = on_hub("hf://team/osnet/other.bin@main", server.address, cache)
    assert missing.returncode == 2
    assert "could not be fetched" in missing.stdout
    never_seen = on_hub("hf://team/osnet/w.bin", server.address, cache, HF_HUB_OFFLINE="1")
    assert never_seen.returncode == 2
    assert "is not in the cache" in never_seen.stdout


def test_hub_file_comes_from_the_cache_when_the_hub_is_dead(server: Server, cache: Path) -> None:
    name = "hf://team/osnet/w.bin@main"
    first = on_hub(name, server.address, cache)
    server.shutdown()
    server.server_close()
    second = on_hub(name, server.address, cache)
    assert (second.returncode, second.stdout) == (0, first.stdout)


def test_hub_connection_that_breaks(server: Server, cache: Path) -> None:
    broken = on_hub("hf://team/osnet/reset.bin@main", server.address, cache)
    assert broken.returncode == 2, broken.stderr
    assert "reset.bin@main could not be fetched from the hub: " in broken.stdout
    assert "Run the command again" in broken.stdout


@pytest.mark.parametrize(
    "kind",
    ["RevisionResolutionError", "XetDownloadError", "FileMetadataError", "OfflineModeIsEnabled", "EntryNotFoundError"],
)
def test_errors_of_the_hub(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = getattr(hub_errors, kind, None)
    if error is None:
        pytest.skip(f"this huggingface_hub has no {kind}")
    with pytest.raises(DownloadError, match="hf://a/b/w.pth could not be fetched from the hub: it says why. Run the"):
        resolve_from_hub_that_raises(error("first line\nit says why"), monkeypatch)


@pytest.mark.parametrize(
    "error",
    [
        OSError("Consistency check failed"),  # huggingface_hub raises it bare, after a short file
        RuntimeError("Data processing error: CAS service error"),  # Xet
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError(errno.ETIMEDOUT, "timed out"),
        *(kind("") for kind in hub_errors.HfHubHTTPError.__mro__[1:2]),  # the HTTP client's, without a word
    ],
)
def test_errors_below_the_hub(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match="could not be fetched from the hub: .+ Run the command again") as caught:
        resolve_from_hub_that_raises(error, monkeypatch)
    assert caught.value.__cause__ is error


def test_errors_of_the_disk_below_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiskFullError, match="No space left on the disk"):
        resolve_from_hub_that_raises(OSError(errno.ENOSPC, "No space left on device"), monkeypatch)
    with pytest.raises(OutputError, match="No permission to write"):
        resolve_from_hub_that_raises(PermissionError(errno.EACCES, "Permission denied"), monkeypatch)


def resolve_from_hub_that_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    resolve_weights("hf://a/b/w.pth")


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIREID_CACHE", "/chosen")
    assert cache_folder() == Path("/chosen")
    monkeypatch.delenv("OMNIREID_CACHE")
    assert cache_folder() == Path(platformdirs.user_cache_dir("omnireid", appauthor=False))


@pytest.mark.parametrize("weights", [None, 3, ["w.pth"]])
def test_what_is_no_name_names_the_parameter(weights: Any) -> None:
    with pytest.raises(WeightsError, match=r"weights is a path or a name, .*; got .*(NoneType|int|list)"):
        load_embedder(weights)
    with pytest.raises(WeightsNotFoundError, match="weights is empty"):
        load_embedder("")


def test_a_path_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "wé.pth").write_bytes(b"weights")
    assert resolve_weights(str(tmp_path / "wé.pth").encode()) == tmp_path / "wé.pth"
