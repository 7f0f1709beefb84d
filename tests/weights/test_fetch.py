"""Weights by path, by published name and by address: what is downloaded, what is kept, and how it fails."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
from tests.weights.file_server import CONTENT, DIGEST, Server, serve_files
from tests.weights.openvino_writer import HEIGHT, WEIGHT, WIDTH, write_graph_of_others

from omnireid import load_embedder
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import DiskFullError, DownloadError, WeightsError, WeightsNotFoundError
from omnireid.files import cache_folder, output_errors
from omnireid.weights import fetch
from omnireid.weights.description import WeightsDescription
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.published import PublishedFile, PublishedWeights


@pytest.fixture
def server() -> Iterator[Server]:
    with serve_files() as running:
        yield running


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


def test_a_named_graph_is_converted_from_the_files_of_its_publisher(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_two_files(server, tmp_path, monkeypatch)
    assert resolve_weights("shop/net").parent.name == "artefact"
    assert resolve_weights("shop/net", as_published=True).read_bytes() == (tmp_path / "net.xml").read_bytes()
    words = ["--channels", "bgr", "--range", "255", "--licence", "MIT"]
    assert main(["convert", "shop/net", "--output", str(tmp_path / "ours.xml"), *words]) == 0


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
