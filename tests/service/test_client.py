from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.gallery.tables import calibrate, mean_embedder
from tests.service.conftest import crop_bytes

from omnireid import (
    DecisionError,
    FilterError,
    Gallery,
    ImageError,
    MediaTypeError,
    NotInGalleryError,
    RoleError,
    ServiceClient,
    ServiceError,
    SettingError,
    SightingFilter,
    TokenError,
)
from omnireid.gallery.options import ErasureOptions
from omnireid.service.tokens import add_token


def test_the_client_does_what_the_service_offers(listening: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = listening
    file = tmp_path / "query.jpg"
    file.write_bytes(crop_bytes(2))
    with ServiceClient(address) as service:
        assert service.gallery()["sightings"] == 6
        found = service.search(file, count=2, which=SightingFilter(cameras=("1",), since="2026-03-01T08:00:00+00:00"))
        assert found.matches[0].sighting.number == 3
        assert found.matches[0].sighting.time is not None
        assert found.matches[0].sighting.has_crop
        assert np.allclose(service.embed([file, file.read_bytes()]), mean_embedder().embed([file, file]), atol=1e-3)
        form = {"time": "2026-03-02T08:00:00+01:00", "columns": {"bag": "grün"}, "box_xyxy": (10, 20, 58.5, 116)}
        added = service.add_sighting(crop_bytes(70), camera="7", person="eve", **form)  # type: ignore[arg-type]
        assert (added.is_new, added.sighting.number, added.sighting.box_xyxy) == (True, 7, (10, 20, 58.5, 116))
        assert added.sighting.columns == {"bag": "grün"}
        assert service.crop(7) == crop_bytes(70)
        assert [sighting.number for sighting in service.sightings(SightingFilter(persons=("1", "eve")))] == [1, 2, 7]
        assert service.sighting(7) == added.sighting
        assert {person.name for person in service.people()} == {"1", "2", "3", "eve"}
        decision = service.assign([7, 1], "Anna / K.", reason="desk")
        assert service.person("Anna / K.", similar=1).person.sightings == 2
        assert len(service.person("Anna / K.", similar=1).similar) == 1
        assert service.merge("2", ["3"]).kind == "merge"
        assert service.split([4]).kind == service.split([3], "x").kind == "split"
        assert service.rename("x", "y").details["name"] == "y"
        assert service.differ([1, 2]).kind == "differ"
        assert service.undo(decision.event).details == {"event": decision.event}
        assert [made.kind for made in service.decisions()][:2] == ["undo", "differ"]
        assert service.erase(sightings=[7], preview=True).receipt is None
        erased = service.erase(ErasureOptions(person=("eve",)))
        assert (erased.sightings, erased.people, erased.pictures_deleted) == (1, ("eve",), 1)
        assert next(service.audit())["action"] == "remove"
    assert len(Gallery.open(folder / "g").sightings()) == 6


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what was entered."""
    with ExitStack() as entered:
        yield entered


def test_errors_are_the_library_s_own_with_the_request_s_id(
    listening: tuple[str, Path], tmp_path: Path, stack: ExitStack
) -> None:
    address, folder = listening
    service = stack.enter_context(ServiceClient(address))
    calls: dict[type[Exception], Callable[[], object]] = {
        FilterError: lambda: service.search(sighting=1, which=SightingFilter(where="bagg = 1")),
        NotInGalleryError: lambda: service.sighting(99),
        DecisionError: lambda: service.merge("1", ["1"]),
        MediaTypeError: lambda: service.search(b"text"),
    }
    for kind, call in calls.items():
        with pytest.raises(kind, match=r"\(request [0-9a-f]{32}\)"):
            call()
    with pytest.raises(ImageError, match=r"gone.jpg cannot be read"):
        service.search(tmp_path / "gone.jpg")
    with pytest.raises(SettingError, match="knows no paths"):
        service.search(sighting=1, which=SightingFilter(paths=("a",)))
    with pytest.raises(SettingError, match="knows no paths"):
        service.erase(ErasureOptions(path=("a",)))
    token = add_token(folder / "g" / ".tokens.json", "anna", "read")
    with pytest.raises(TokenError):
        service.sighting(1)
    reader = stack.enter_context(ServiceClient(address, token))
    assert reader.sighting(1).number == 1
    with pytest.raises(RoleError):
        reader.undo()
    assert token not in repr(reader._connection)
    for wrong in ("127.0.0.1:8000", "ftp://x", "http://", "http://x?y=1"):
        with pytest.raises(SettingError, match="no address of a service"):
            ServiceClient(wrong)


def test_a_service_that_is_not_there_or_is_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            for content in (
                b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
                b"nonsense",
            ):
                connection, _ = server.accept()
                connection.recv(65536)
                connection.sendall(content)
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ServiceError, match="answered 502 without saying why"):
            ServiceClient(address).sighting(1)
        with pytest.raises(ServiceError, match="does not answer"):
            ServiceClient(address).sighting(1)
        thread.join()
    with pytest.raises(ServiceError, match="does not answer"):
        ServiceClient(address).sighting(1)


def test_a_calibrated_gallery_says_probabilities_and_asks_questions(listening: tuple[str, Path]) -> None:
    address, folder = listening
    calibrate(Gallery.open(folder / "g"), {0.0: 3.0, 400.0: -3.0})
    with ServiceClient(address) as service:
        assert (service.gallery()["calibrated_on"], len(service.gallery()["thresholds"])) == ("drawn people", 2)
        found = service.search(crop_bytes(2), prior=0.5, camera="1", time="2026-03-01T08:02:00+00:00")
        assert found.prior == 0.5
        assert found.matches[0].probability is not None
        assert found.matches[0].probability > 0.9
        assert found.matches[0].verdict == "same"
        first, second = service.questions(2)
        assert first.one.has_crop
        different = service.answer(first, same=False, reason="another coat")
        assert (different.kind, different.reason) == ("differ", "another coat")
        assert different.evidence["sightings"] == [first.one.number, first.other.number]
        assert service.answer(second, same=True).kind in ("merge", "assign")
        with pytest.raises(DecisionError):
            service.answer(second, same=True)
        with pytest.raises(NotInGalleryError, match="was not asked lately"):
            service.answer(replace(first, one=replace(first.one, number=99)), same=True)


def test_many_clients_at_once_lose_nothing(listening: tuple[str, Path]) -> None:
    """Searches, additions and decisions run into each other; all that was acknowledged is there."""
    address, folder = listening

    def work(number: int) -> int:
        with ServiceClient(address) as service:
            added = service.add_sighting(crop_bytes(100 + number), camera=str(number % 3), person=f"p{number}")
            assert added.is_new
            found = service.search(crop_bytes(100 + number), count=1, which=SightingFilter(persons=(f"p{number}",)))
            assert found.matches[0].sighting.number == added.sighting.number, "a search sees what was acknowledged"
            if number % 4 == 0:
                service.assign([added.sighting.number], f"q{number}")
            return added.sighting.number

    with ThreadPoolExecutor(12) as threads:
        numbers = list(threads.map(work, range(24)))
    gallery = Gallery.open(folder / "g")
    assert sorted(numbers) == list(range(7, 31))
    persons = {sighting.number: sighting.person for sighting in gallery.sightings()}
    expected = {number: f"{'q' if n % 4 == 0 else 'p'}{n}" for n, number in enumerate(numbers)}
    assert {number: persons[number] for number in numbers} == expected
    assert gallery.check().problems == ()
    assert len(list((folder / "kept").iterdir())) == 24


def test_a_header_without_end_is_refused(listening: tuple[str, Path]) -> None:
    address, _ = listening
    port = int(address.rsplit(":", maxsplit=1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        try:
            for _ in range(64):
                connection.sendall(b"a" * 65_536)
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
    assert answer.startswith(b"HTTP/1.1 400") or answer == b""
    with ServiceClient(address) as service:
        assert service.sighting(1).number == 1
