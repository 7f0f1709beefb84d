"""The service behind a real proxy with TLS: nginx with packaging/nginx.conf, started here on the loopback interface."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.gallery.tables import mean_embedder
from tests.ports import free_port, wait_for_port
from tests.service.conftest import crop_bytes

from omnireid import ServiceClient, ServiceError, SettingError
from omnireid.errors import RequestTooLargeError
from omnireid.service.gate import RateLimit
from omnireid.service.options import ServiceOptions
from omnireid.service.server import open_backend, server_config
from omnireid.service.tokens import add_token, tokens_file

ROOT = Path(__file__).resolve().parents[2]
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
LIMIT = 16_000_000


def make_certificate(folder: Path) -> Path:
    """A certificate for localhost, which is its own authority, in localhost.pem, and its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "localhost.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    (folder / "localhost.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder / "localhost.pem"


@contextmanager
def proxied(folder: Path, service_port: int) -> Iterator[int]:
    """The packaged configuration with other ports and files, in an nginx of its own."""
    port = free_port()
    server = (ROOT / "packaging" / "nginx.conf").read_text()
    for packaged, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server_name reid.example.org": "server_name localhost",
        "/etc/ssl/reid.example.org.pem": f"{folder}/localhost.pem",
        "/etc/ssl/reid.example.org.key": f"{folder}/localhost.key",
        "proxy_pass http://127.0.0.1:8000": f"proxy_pass http://127.0.0.1:{service_port}",
    }.items():
        assert server.count(packaged) == 1, packaged
        server = server.replace(packaged, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/temporary;" for kind in kinds)
    outer = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}"
    (folder / "nginx.conf").write_text(f"{outer}\nhttp {{\n{places}\n{server}}}\n")
    assert NGINX is not None
    process = subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", f"{folder}/error.log"]
    )
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def served(backend: Any) -> Iterator[int]:
    """The service as `omnireid serve` runs it, in a thread, and its port."""
    server = uvicorn.Server(server_config(backend))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def padded(crop: bytes, size: int) -> bytes:
    """The same JPEG picture with comments, so that it has `size` bytes."""
    missing = size - len(crop)
    parts = []
    while missing:
        part = missing if missing <= 65_000 else min(65_000, missing - 4)
        parts.append(b"\xff\xfe" + (part - 2).to_bytes(2, "big") + bytes(part - 4))
        missing -= part
    return crop[:2] + b"".join(parts) + crop[2:]


def ask(port: int, pem: Path, method: str, path: str, address: str, **headers: str) -> http.client.HTTPResponse:
    """An answer through the proxy to a client with an address on loopback."""
    context = ssl.create_default_context(cafile=pem)
    connection = http.client.HTTPSConnection("localhost", port, context=context, source_address=(address, 0))
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None and os.environ.get("CI") != "true", reason="nginx is missing (apt install nginx)")
def test_the_page_the_client_and_client_addresses_work_through_nginx_with_tls(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert NGINX is not None, "CI must have nginx"
    limited: list[str] = []
    monkeypatch.setattr(RateLimit, "take", lambda _limit, client: limited.append(client))
    shutil.copytree(template / "g", tmp_path / "g")
    pem, token = make_certificate(tmp_path), add_token(tokens_file(str(tmp_path / "g"), None), "anna", "write")
    options = ServiceOptions(port=0, keep_crops=tmp_path / "kept", trusted_proxies=("127.0.0.1",))
    backend = open_backend(str(tmp_path / "g"), mean_embedder(), options)
    with served(backend) as service_port, proxied(tmp_path, service_port) as port:
        address = f"https://localhost:{port}"

        page = ask(port, pem, "GET", "/", "127.0.0.2")
        assert page.status == 200
        assert page.headers.get_all("strict-transport-security") == ["max-age=31536000"]
        assert "default-src 'none'" in (page.headers["content-security-policy"] or "")
        assert page.headers["set-cookie"] is None

        # Who the client is comes from the proxy, and not from the client.
        assert limited == ["address 127.0.0.2"]
        refused = ask(port, pem, "GET", "/v1/people", "127.0.0.3", X_Forwarded_For="203.0.113.9")
        assert (refused.status, limited[-1]) == (401, "127.0.0.3")
        assert refused.headers["strict-transport-security"] == "max-age=31536000"
        direct = http.client.HTTPConnection("127.0.0.1", service_port, source_address=("127.0.0.4", 0))
        direct.request("GET", "/v1/people", headers={"X-Forwarded-For": "203.0.113.9"})
        assert (direct.getresponse().status, limited[-1]) == (401, "127.0.0.4")
        direct.close()

        with ServiceClient(address, token, ca_file=pem) as client:
            assert client.search(crop_bytes(2), count=1).matches[0].sighting.number == 3
            assert client.add_sighting(crop_bytes(60)).is_new
            assert backend.gallery.audit()[-1].who == "anna@service"
            overhead = 300  # of the form around the picture
            assert client.search(padded(crop_bytes(2), LIMIT - overhead), count=1).matches[0].sighting.number == 3
            with pytest.raises(RequestTooLargeError, match="larger than 16 MB"):
                client.search(padded(crop_bytes(2), LIMIT + 1), count=1)
            with pytest.raises(ServiceError, match="answered 413 without saying why; a proxy may have answered"):
                client.search(padded(crop_bytes(2), 17_500_000), count=1)
        with ServiceClient(address, token) as client, pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED"):
            client.search(crop_bytes(2))
        origin = {"Authorization": f"Bearer {token}", "Origin": address, "Content_Length": "0"}
        assert ask(port, pem, "POST", "/v1/decisions", "127.0.0.2", **origin).status == 400  # and not 403
        assert ask(port, pem, "POST", "/v1/decisions", "127.0.0.2", **origin | {"Origin": "https://b"}).status == 403
    assert list((tmp_path / "temporary").rglob("*")) == [], "a picture was written to a file of the proxy"


def test_the_documentation_shows_the_packaged_configuration() -> None:
    assert (ROOT / "packaging" / "nginx.conf").read_text() in (ROOT / "docs" / "service.md").read_text()


@pytest.mark.parametrize("trusted", ["*", "proxy.example.org", "10.0.0.1/8"])
def test_trusted_proxies_are_addresses_or_networks(trusted: str) -> None:
    with pytest.raises(SettingError, match="trusted_proxies"):
        ServiceOptions(trusted_proxies=(trusted,))


def test_a_file_of_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    for name in ("none.pem", "gone.pem"):
        with pytest.raises(SettingError, match="ca_file: .* cannot be read as PEM"):
            ServiceClient("https://localhost:1", ca_file=tmp_path / name)
