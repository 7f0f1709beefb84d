from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.service.conftest import Served, crop_bytes, file_of

from omnireid.errors import NotInGalleryError, SettingError
from omnireid.service import backend as backend_module
from omnireid.service.crop_files import open_crop_files
from omnireid.service.options import ServiceOptions
from omnireid.service.uploads import SUFFIXES, Upload, check_upload


def png_of(width: int, height: int) -> bytes:
    """A PNG file that says it is so large, in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def many_scans() -> bytes:
    content = crop_bytes(0)
    scan = content.index(b"\xff\xda")
    return content[:scan] + content[scan : scan + 14] * 100 + content[scan:]


JPEG = crop_bytes(0)
KINDS = ("JPEG", "PNG", "WEBP")
REFUSED = {
    "nothing": (b"", "image/jpeg", 415, "MediaTypeError"),
    "text": (b"hello", "image/jpeg", 415, "MediaTypeError"),
    "a page": (b"<svg onload=alert(1)>", "image/svg+xml", 415, "MediaTypeError"),
    "another type than stated": (JPEG, "image/png", 415, "MediaTypeError"),
    "no type": (JPEG, "", 415, "MediaTypeError"),
    "a format that is not taken": (crop_bytes(0, "BMP"), "image/bmp", 415, "MediaTypeError"),
    "truncated": (JPEG[: len(JPEG) // 2], "image/jpeg", 422, "ImageError"),
    "a signature alone": (JPEG[:4], "image/jpeg", 422, "ImageError"),
    "a bomb": (png_of(50_000, 50_000), "image/png", 413, "ImageTooLargeError"),
    "a smaller bomb": (png_of(4_001, 4_000), "image/png", 413, "ImageTooLargeError"),
    "an empty png": (png_of(48, 96), "image/png", 422, "ImageError"),
    "tiny": (crop_bytes(0, "PNG", (4, 8)), "image/png", 422, "ImageError"),
    "many scans": (many_scans(), "image/jpeg", 422, "ImageError"),
    "zeros": (b"\xff\xd8\xff" + bytes(10_000), "image/jpeg", 422, "ImageError"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_pictures_that_are_none_are_refused(unchanged: Served, case: str) -> None:
    content, media_type, status, code = REFUSED[case]
    for path in ("/v1/search", "/v1/sightings"):
        answer = unchanged.client.post(path, files=file_of(content, media_type))
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, answer.text)
    several = [("crops", ("a", JPEG, "image/jpeg")), ("crops", ("b", content, media_type))]
    assert unchanged.client.post("/v1/embed", files=several).status_code == status
    if media_type in SUFFIXES:
        body = unchanged.client.post("/v1/embed", content=content, headers={"content-type": media_type})
        assert (body.status_code, body.json()["code"]) == (status, code), body.text
    assert unchanged.client.get("/v1/sightings").json()["total"] == 6
    assert list((unchanged.folder / "kept").iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_three_formats_are_taken(unchanged: Served, kind: str) -> None:
    content = crop_bytes(9, kind)
    answer = unchanged.client.post("/v1/embed", files={"crops": ("x", content, f"image/{kind.lower()}")})
    expected = np.asarray(Image.open(io.BytesIO(content)).resize((32, 64), Image.Resampling.BILINEAR), dtype=np.float32)
    assert np.allclose(answer.json()["embeddings"], [expected.mean(axis=(0, 1))], atol=0.5)
    asked = {"accept": "application/octet-stream"}
    plain = unchanged.client.post("/v1/embed", files={"crops": ("x", content, f"image/{kind.lower()}")}, headers=asked)
    assert np.frombuffer(plain.content, "<f4").tolist() == answer.json()["embeddings"][0]
    as_body = asked | {"content-type": f"Image/{kind}; name=crop"}
    assert unchanged.client.post("/v1/embed", content=content, headers=as_body).content == plain.content
    assert plain.headers["x-weights-sha256"] == answer.json()["weights_sha256"]
    assert answer.json()["architecture"] == "means"


def test_large_requests_are_refused_before_they_are_read(serve: Callable[..., Served]) -> None:
    served = serve(largest_upload_mb=1)
    stated = served.client.post("/v1/search", files=file_of(JPEG + bytes(1_000_000)))
    assert (stated.status_code, stated.json()["code"]) == (413, "RequestTooLargeError")
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield b'--x\r\nContent-Disposition: form-data; name="crop"; filename="c"\r\nContent-Type: image/jpeg\r\n\r\n'
        for _ in range(200):
            read += 1
            yield bytes(65_536)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    unstated = served.client.post("/v1/search", content=endless(), headers=headers)
    assert (unstated.status_code, unstated.json()["code"]) == (413, "RequestTooLargeError")
    wrong = served.client.post("/v1/search", content=b"x", headers=headers | {"content-length": "-1"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "RequestError")


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", "multipart/form-data"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"--x\r\n" + b"A" * 100_000, "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=crop\r\n\r\ntext\r\n--x--", "multipart/form-data; boundary=x"),
        (b"{}", "application/json"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"count=NaN", "application/x-www-form-urlencoded"),
    ],
)
def test_forms_that_are_none_are_refused(unchanged: Served, content: bytes, media_type: str) -> None:
    answer = unchanged.client.post("/v1/search", content=content, headers={"content-type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (400, "RequestError"), answer.text


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"kind": "undo", "event": 1e400}', b'"' * 10, b"\xff", b"[" * 100_000]
)
def test_objects_that_are_none_are_refused(unchanged: Served, content: bytes) -> None:
    for path in ("/v1/decisions", "/v1/erasures", "/v1/review"):
        answer = unchanged.client.post(path, content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "RequestError"), answer.text


def test_what_takes_too_long_to_decode_is_given_up(unchanged: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(backend_module, "DECODING_SECONDS", 0.01)
    monkeypatch.setattr(backend_module, "decode_upload", lambda _upload: free.wait(60))
    answer = unchanged.client.post("/v1/search", files=file_of(JPEG))
    free.set()
    assert (answer.status_code, answer.json()["code"]) == (503, "BusyError")
    assert answer.headers["retry-after"] == "1"


def test_pictures_whose_time_is_over_are_not_begun(unchanged: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads at most have begun one each; the other pictures of the request cost nobody anything any more."""
    free, begun = threading.Event(), []

    def wait(upload: Upload) -> Any:
        begun.append(upload)
        free.wait(60)
        return np.zeros((96, 48, 3), dtype=np.uint8)

    monkeypatch.setattr(backend_module, "DECODING_SECONDS", 0.01)
    monkeypatch.setattr(backend_module, "usable_cores", lambda: 2)
    monkeypatch.setattr(backend_module, "decode_upload", wait)
    several = [("crops", (str(n), JPEG, "image/jpeg")) for n in range(16)]
    assert unchanged.client.post("/v1/embed", files=several).status_code == 503
    free.set()
    threads = unchanged.backend._decoders
    all_idle = threading.Barrier(threads._max_workers)
    for waiting in [threads.submit(all_idle.wait, 60) for _ in range(threads._max_workers)]:
        waiting.result(60)
    assert len(begun) <= 2


def test_more_pictures_than_can_wait_are_refused(unchanged: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "_MOST_DECODING", 1)
    several = [("crops", (str(n), JPEG, "image/jpeg")) for n in range(2)]
    assert unchanged.client.post("/v1/embed", files=several).status_code == 503
    assert unchanged.client.post("/v1/embed", files=several[:1]).status_code == 200
    assert unchanged.client.post("/v1/embed", files=several[:1] * 65).status_code == 400


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    (tmp_path / "shown" / "inner").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    for place in ("shown/a.jpg", "shown/inner/b.jpg", "secret/c.jpg", "d.jpg", "shown-too.jpg"):
        (tmp_path / place).write_bytes(JPEG)
    (tmp_path / "shown" / "link.jpg").symlink_to(tmp_path / "secret" / "c.jpg")
    (tmp_path / "shown" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "shown" / "note.txt").write_text("a secret note")
    (tmp_path / "alias").symlink_to(tmp_path / "shown")
    return tmp_path


def test_pictures_are_shown_from_below_the_named_folders_only(roots: Path) -> None:
    crops = open_crop_files([roots / "shown"], None)
    for shown in ("shown/a.jpg", "shown/inner/b.jpg", "shown/inner/../a.jpg"):
        assert crops.read(str(roots / shown)) == (JPEG, "image/jpeg"), shown
    hidden = ("secret/c.jpg", "d.jpg", "shown/../d.jpg", "shown-too.jpg", "shown/link.jpg", "shown/folder/c.jpg")
    for path in (
        *(str(roots / name) for name in (*hidden, "shown", "shown/inner", "shown/gone.jpg")),
        "a.jpg",
        "",
        "\0",
    ):
        with pytest.raises(NotInGalleryError, match="is not shown by this service"):
            crops.read(path)
    assert not crops.may_show(str(roots / "shown/../d.jpg"))
    with pytest.raises(Exception, match="not a JPEG"):
        crops.read(str(roots / "shown" / "note.txt"))


def test_a_root_counts_under_the_name_it_was_given(roots: Path) -> None:
    crops = open_crop_files([roots / "alias"], None)
    assert crops.read(str(roots / "alias" / "a.jpg"))[0] == JPEG
    assert crops.read(str(roots / "shown" / "a.jpg"))[0] == JPEG
    with pytest.raises(SettingError, match="serve_crops: there is no folder"):
        open_crop_files([roots / "gone"], None)


def test_other_formats_are_shown_as_png(roots: Path) -> None:
    (roots / "shown" / "old.bmp").write_bytes(crop_bytes(3, "BMP"))
    content, kind = open_crop_files([roots / "shown"], None).read(str(roots / "shown" / "old.bmp"))
    assert kind == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(Image.open(roots / "shown/old.bmp")))


def test_only_kept_pictures_are_deleted(roots: Path) -> None:
    crops = open_crop_files([roots / "shown"], roots / "kept")
    path = crops.store(check_upload(JPEG, "image/jpeg"))
    assert crops.store(check_upload(JPEG, "image/jpeg")) == path
    (roots / "kept" / "notes.jpg").write_bytes(JPEG)
    listed = [
        str(path),
        str(roots / "kept" / "notes.jpg"),
        str(roots / "shown" / "a.jpg"),
        str(path.with_suffix(".png")),
    ]
    assert crops.delete(listed) == 1
    assert (roots / "kept" / "notes.jpg").exists()
    assert (roots / "shown" / "a.jpg").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"port": -1},
        {"port": 65536},
        {"host": " "},
        {"cors_origins": ("*",)},
        {"cors_origins": ("https://a.example/path",)},
        {"requests_per_second": 0},
        {"requests_per_second": float("nan")},
        {"largest_upload_mb": 0},
    ],
    ids=str,
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(options))):
        ServiceOptions(**options)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.integers(0, 3000), inserted=st.binary(max_size=40), cut=st.integers(0, 3000), kind=st.sampled_from(KINDS)
)
def test_no_bytes_make_the_service_fail(unchanged: Served, place: int, inserted: bytes, cut: int, kind: str) -> None:
    """Pictures with bytes changed, inserted and cut off are embedded or refused."""
    whole = crop_bytes(0, kind)
    content = whole[:place] + inserted + whole[place + len(inserted) // 2 :]
    content = content[: len(content) - cut % len(whole)]
    answer = unchanged.client.post("/v1/search", files=file_of(content, f"image/{kind.lower()}"))
    assert answer.status_code in (200, 413, 415, 422), answer.text
