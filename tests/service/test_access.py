from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route
from tests.service.conftest import Served, crop_bytes, file_of

from omnireid.errors import RoleError, SettingError, TokenError
from omnireid.service.gate import access_of
from omnireid.service.options import ServiceOptions
from omnireid.service.picture_body import PictureBodyRoute
from omnireid.service.server import check_access
from omnireid.service.tokens import ROLES, TokenCheck, add_token, read_tokens, revoke_token, tokens_file

PUBLIC = {"/", "/page/{name:path}", "/health/live", "/health/ready", "/v1/openapi.json"}
"""Addresses that are for anyone. Whoever adds one here has decided that strangers may see it."""


def routes_of(served: Served) -> list[tuple[str, str, str, dict[str, str]]]:
    """Method, address, access and needed headers of every route that the application has, wherever it came from."""
    found: list[tuple[str, str, str, dict[str, str]]] = []
    for route in served.client.app.router.routes:  # type: ignore[attr-defined]
        assert isinstance(route, Route), f"{route} is of a kind that this test does not know"
        needed = {"content-type": "image/jpeg"} if isinstance(route, PictureBodyRoute) else {}
        found += [(method, route.path, access_of(route), needed) for method in (route.methods or set()) - {"HEAD"}]
    return found


def ask(served: Served, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    address = path.replace("{sighting}", "1").replace("{person:path}", "1").replace("{name:path}", "index.html")
    answer = served.client.request(method, address, headers=headers)
    code = (
        answer.json()["code"] if answer.headers["content-type"] == "application/json" and not answer.is_success else ""
    )
    return answer.status_code, code


def test_every_route_refuses_whoever_may_not_use_it(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All routes that the application has are visited, so a new one cannot be forgotten."""
    monkeypatch.setattr("omnireid.service.gate._FAILED_TRIES_PER_SECOND", 10_000)
    served = serve(tokens=True, requests_per_second=10_000)
    gallery = str(served.folder / "g")
    revoked = add_token(tokens_file(gallery, None), "gone", "admin")
    revoke_token(tokens_file(gallery, None), "gone")
    routes = routes_of(served)
    assert len(routes) >= 20
    assert {path for _, path, access, _ in routes if access == "anyone"} == PUBLIC
    for method, path, access, needed in routes:
        if access == "anyone":
            assert ask(served, method, path, needed)[0] == 200, path
            continue
        assert access in ROLES
        unknown = [{}, {"authorization": f"Basic {served.tokens['admin']}"}, {"authorization": f"Bearer {revoked}"}]
        for headers in unknown:
            assert ask(served, method, path, needed | headers) == (401, "TokenError"), (path, headers)
        for role in ROLES[: ROLES.index(access)]:
            assert ask(served, method, path, needed | served.as_role(role)) == (403, "RoleError"), (path, role)
        for role in ROLES[ROLES.index(access) :]:
            assert ask(served, method, path, needed | served.as_role(role))[0] not in (401, 403, 500), (path, role)


def test_a_route_that_says_nothing_is_for_administrators(serve: Callable[..., Served]) -> None:
    served = serve(tokens=True)

    async def show_secret() -> dict[str, str]:
        return {"secret": "told"}

    served.client.app.add_api_route("/v1/secret", show_secret)  # type: ignore[attr-defined]
    for role in ROLES[:-1]:
        assert served.client.get("/v1/secret", headers=served.as_role(role)).status_code == 403
    assert served.client.get("/v1/secret").status_code == 401
    assert served.client.get("/v1/secret", headers=served.as_role("admin")).status_code == 200


def test_a_token_is_refused_from_the_moment_it_is_revoked(serve: Callable[..., Served]) -> None:
    served = serve(tokens=True)
    headers = served.as_role("read")
    assert served.client.get("/v1/people", headers=headers).status_code == 200
    revoke_token(served.folder / "g" / ".tokens.json", "a-read")
    assert served.client.get("/v1/people", headers=headers).status_code == 401
    for token in ("write", "erase", "admin"):
        revoke_token(served.folder / "g" / ".tokens.json", f"a-{token}")
    assert served.client.get("/v1/people").status_code == 401, "without any token left it must not open"
    (served.folder / "g" / ".tokens.json").unlink()
    assert served.client.get("/v1/people").status_code == 401
    (served.folder / "g" / ".tokens.json").write_text("{")
    assert served.client.get("/v1/people").status_code == 500


def test_an_open_service_closes_when_a_token_is_made(served: Served) -> None:
    assert served.client.get("/v1/gallery").json()["role"] == "admin"
    token = add_token(served.folder / "g" / ".tokens.json", "anna", "read")
    assert served.client.get("/v1/gallery").status_code == 401
    answer = served.client.get("/v1/gallery", headers={"authorization": f"Bearer {token}"}).json()
    assert (answer["role"], answer["who"]) == ("read", "anna@service")


def test_tokens_are_kept_as_hashes_that_only_the_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / ".tokens.json"
    text = add_token(file, "anna", "write")
    assert text not in file.read_text()
    assert len(text) > 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (token,) = read_tokens(file)
    assert (token.name, token.role, token.revoked) == ("anna", "write", None)
    assert "sha256" not in json.dumps(token.json())
    with pytest.raises(SettingError, match="There is a token 'anna' already"):
        add_token(file, "anna", "read")
    revoke_token(file, "anna")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = add_token(file, "anna", "read")
    check = TokenCheck(file, open_access=False)
    assert check.check(f"Bearer {again}", "read") is not None
    for authorization in (None, "", "Bearer", f"Bearer {text}", f"Bearer {again}x", f"bearer{again}", "Bearer \udcff"):
        with pytest.raises(TokenError):
            check.check(authorization, "read")
    with pytest.raises(RoleError, match="needs the role write, and the token has the role read"):
        check.check(f"Bearer {again}", "write")


def test_tokens_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / ".tokens.json"
    with pytest.raises(SettingError, match="role: there is no 'root'"):
        add_token(file, "anna", "root")
    with pytest.raises(SettingError, match="is none for a token"):
        add_token(file, "anna smith", "read")
    with pytest.raises(SettingError, match="There is no token 'anna' that counts"):
        revoke_token(file, "anna")
    with pytest.raises(SettingError, match="There is no folder"):
        add_token(tmp_path / "gone" / "t", "anna", "read")
    with pytest.raises(SettingError, match="--tokens"):
        tokens_file("s3://bucket/people", None)
    file.write_text('{"tokens": [{"name": "x"}]}')
    with pytest.raises(SettingError, match="cannot be read"):
        read_tokens(file)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "reid.example.org"])
def test_without_a_token_no_other_machine_is_served(host: str, template: Path, tmp_path: Path) -> None:
    shutil.copytree(template / "g", tmp_path, dirs_exist_ok=True)
    with pytest.raises(
        SettingError, match="anybody could search and erase. Make a token first: omnireid serve token add"
    ):
        check_access(str(tmp_path), ServiceOptions(host=host))
    add_token(tmp_path / ".tokens.json", "anna", "read")
    assert not check_access(str(tmp_path), ServiceOptions(host=host)).open_access
    revoke_token(tmp_path / ".tokens.json", "anna")
    with pytest.raises(SettingError, match="There is no token"):
        check_access(str(tmp_path), ServiceOptions(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_open_without_a_token(host: str, template: Path) -> None:
    assert check_access(str(template / "g"), ServiceOptions(host=host)).open_access


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},  # a name of a stranger's that points to this machine
        {"host": "127.0.0.1.evil.example:8000"},
        {"x-forwarded-for": "203.0.113.9"},  # a proxy that would open the service to the world
        {"forwarded": "for=203.0.113.9"},
        {"origin": "https://evil.example"},  # a form on a stranger's page
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
    ],
    ids=str,
)
def test_pages_of_strangers_cannot_use_an_open_service(unchanged: Served, headers: dict[str, str]) -> None:
    body = {"kind": "assign", "sightings": [1], "person": "x"}
    answer = unchanged.client.post("/v1/decisions", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "RoleError")
    assert unchanged.client.get("/v1/decisions").json()["total"] == 0


def test_the_service_of_this_machine_has_three_names(served: Served) -> None:
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert served.client.get("/v1/people", headers={"host": host}).status_code == 200
    own = {"origin": "http://127.0.0.1:8000"}
    body = {"kind": "assign", "sightings": [1], "person": "x"}
    assert served.client.post("/v1/decisions", json=body, headers=own).status_code == 201


def test_pages_of_other_sites_need_to_be_named(serve: Callable[..., Served]) -> None:
    served = serve(tokens=True, cors_origins=("https://desk.example.org",))
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    allowed = served.client.options("/v1/search", headers={"origin": "https://desk.example.org", **asked})
    assert allowed.headers["access-control-allow-origin"] == "https://desk.example.org"
    assert "access-control-allow-credentials" not in allowed.headers
    refused = served.client.options("/v1/search", headers={"origin": "https://evil.example", **asked})
    assert "access-control-allow-origin" not in refused.headers
    form: dict[str, Any] = {
        "files": file_of(crop_bytes(0)),
        "headers": served.as_role("read") | {"origin": "https://desk.example.org"},
    }
    assert served.client.post("/v1/search", **form).headers["access-control-allow-origin"] == "https://desk.example.org"
    form["headers"] = served.as_role("read") | {"origin": "https://evil.example"}
    assert served.client.post("/v1/search", **form).status_code == 403
    lost = served.client.get("/v1/people", headers={"origin": "https://desk.example.org"})
    assert (lost.status_code, lost.headers["access-control-allow-origin"]) == (401, "https://desk.example.org")


def test_requests_beyond_the_rate_are_refused(serve: Callable[..., Served]) -> None:
    served = serve(tokens=True, requests_per_second=0.001)
    statuses = [served.client.get("/v1/people", headers=served.as_role("read")).status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    assert served.client.get("/v1/people", headers=served.as_role("write")).status_code == 200, "each has a rate"
    last = served.client.get("/v1/people", headers=served.as_role("read"))
    assert last.json()["code"] == "RateLimitError"
    assert last.headers["retry-after"] == "1"


def test_guessing_tokens_is_slow(serve: Callable[..., Served]) -> None:
    served = serve(tokens=True)
    tries = [served.client.get("/v1/people", headers={"authorization": f"Bearer {n}"}).status_code for n in range(12)]
    assert tries[0] == 401
    assert tries[-1] == 429


def test_answers_have_an_id_and_the_headers_of_safety(unchanged: Served) -> None:
    for path in ("/", "/v1/people", "/nowhere", "/v1/sightings/x"):
        answer = unchanged.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert len(answer.headers["x-request-id"]) == 32
    assert unchanged.client.get("/v1/people").headers["cache-control"] == "no-store"
    mine = unchanged.client.get("/nowhere", headers={"x-request-id": "my-request-7"})
    assert mine.json()["request_id"] == mine.headers["x-request-id"] == "my-request-7"
    for wrong in ("short", "a" * 65, "with space in it", "line\x0bbreak-here"):
        assert unchanged.client.get("/nowhere", headers={"x-request-id": wrong}).headers["x-request-id"] != wrong
