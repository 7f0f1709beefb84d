from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.service.conftest import Served, crop_bytes, file_of

from omnireid.errors import FilterError
from omnireid.service import answers, shapes
from omnireid.service.app import describe_api
from omnireid.service.route_table import ROUTES
from omnireid.service.statuses import error_body


def search(served: Served, **fields: Any) -> Any:
    content = fields.pop("content", crop_bytes(2))
    answer = served.client.post("/v1/search", files=file_of(content), data=fields)
    return answer.json()


def numbers(answer: Any) -> list[int]:
    return [match["sighting"] for match in answer["matches"]]


def test_a_search_by_a_crop_finds_it_first(unchanged: Served) -> None:
    found = answers.SearchAnswer.model_validate(search(unchanged, count=3))
    assert [match.rank for match in found.matches] == [1, 2, 3]
    assert (found.matches[0].sighting, found.matches[0].person, found.matches[0].camera) == (3, "2", "1")
    assert found.matches[0].distance < 0.5 < found.matches[1].distance
    assert found.matches[0].columns == {"bag": "red"}
    assert found.matches[0].crop == "/v1/sightings/3/crop"


def test_camera_and_time_of_a_crop_may_be_known(unchanged: Served) -> None:
    assert numbers(search(unchanged, camera="1", time="2026-03-01T09:00:00+01:00", count=1)) == [3]
    assert search(unchanged, time="yesterday")["code"] == "DataError"


def test_filters_of_a_search(unchanged: Served) -> None:
    assert set(numbers(search(unchanged))) == {1, 2, 3, 4, 5, 6}
    assert set(numbers(search(unchanged, cameras=["1"], persons=["1", "2"]))) == {1, 3}
    assert set(numbers(search(unchanged, not_cameras=["1"], since="2026-03-01T09:02:00+01:00"))) == {4, 6}
    assert set(numbers(search(unchanged, where="bag = 'red' and sighting > 1"))) == {3, 5}
    assert numbers(search(unchanged, cameras=["9"])) == []
    wrong = search(unchanged, where="bagg = 'red'")
    assert wrong["code"] == "FilterError"
    assert "bagg" in wrong["message"]
    assert search(unchanged, until="yesterday")["code"] == "FilterError"


def test_a_search_by_a_person_or_a_sighting_leaves_them_out(unchanged: Served) -> None:
    by_person = unchanged.client.post("/v1/search", data={"person": "2"}).json()
    assert set(numbers(by_person)) == {1, 2, 5, 6}
    by_sighting = unchanged.client.post("/v1/search", data={"sighting": 3, "where": "camera = '1'"}).json()
    assert set(numbers(by_sighting)) == {1, 5}
    for data in ({"person": "nobody"}, {"sighting": "99"}, {"sighting": str(2**70)}):
        assert unchanged.client.post("/v1/search", data=data).status_code in (400, 404)
    both = unchanged.client.post("/v1/search", data={"person": "2", "sighting": 3})
    assert (both.status_code, both.json()["code"]) == (400, "RequestError")


def test_every_search_is_in_the_log_with_who_what_and_how_many(serve: Callable[..., Served]) -> None:
    served = serve(tokens=True)
    form: dict[str, Any] = {"files": file_of(crop_bytes(2)), "data": {"count": 2, "cameras": ["1"]}}
    sha256 = served.client.post("/v1/search", **form, headers=served.as_role("read")).json()["crop_sha256"]
    entry = served.backend.gallery.audit()[-1]
    assert (entry.action, entry.who) == ("search", "a-read@service")
    assert entry.details["contents_sha256"] == [sha256]
    assert (entry.details["found"], entry.details["filter"]) == (2, {"cameras": ["1"]})
    listed = served.client.get("/v1/audit?limit=1", headers=served.as_role("admin")).json()
    assert listed["entries"][0]["details"]["contents_sha256"] == [sha256]
    assert listed["total"] == 2


def test_the_hash_of_a_searched_crop_goes_with_its_sighting(served: Served) -> None:
    sha256 = search(served, content=crop_bytes(0))["crop_sha256"]
    other = search(served, content=crop_bytes(77))["crop_sha256"]
    assert served.client.post("/v1/erasures", json={"sightings": [1]}).json()["sightings"] == 1
    log = json.dumps([entry.json() for entry in served.backend.gallery.audit()])
    assert sha256 not in log
    assert other in log


def test_an_added_crop_is_found_and_not_added_twice(served: Served) -> None:
    form = {
        "camera": "7",
        "time": "2026-03-02T08:00:00+01:00",
        "person": "eve",
        "columns": '{"bag": "green", "age": 4}',
    }
    form |= {"track": "12", "box_xyxy": "10 20 58 116"}
    first = served.client.post("/v1/sightings", files=file_of(crop_bytes(50)), data=form)
    assert first.status_code == 201
    sighting = answers.AddAnswer.model_validate(first.json()).sighting
    assert (sighting.sighting, sighting.camera, sighting.person, sighting.track) == (7, "7", "eve", "12")
    assert (sighting.time, sighting.box_xyxy) == ("2026-03-02T07:00:00+00:00", (10, 20, 58, 116))
    assert sighting.columns == {"bag": "green", "age": 4}
    assert served.client.get("/v1/sightings/7/crop").content == crop_bytes(50)
    again = served.client.post("/v1/sightings", files=file_of(crop_bytes(50)), data=form)
    assert (again.status_code, again.json()["added"]) == (200, False)
    elsewhere = served.client.post("/v1/sightings", files=file_of(crop_bytes(50)), data={"camera": "8"})
    assert elsewhere.json()["sighting"]["sighting"] == 8
    assert numbers(search(served, content=crop_bytes(50), count=2)) == [7, 8], "a search sees the newest version"
    assert served.backend.gallery.audit()[1].who == "anyone@service"


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"time": "2026-03-02T08:00:00"}, 422, "states no zone"),
        ({"box_xyxy": "1 2 3"}, 422, "is none"),
        ({"columns": "{"}, 400, "no JSON"),
        ({"columns": "[" * 5000}, 400, "no JSON"),
        ({"columns": '{"bag": [1]}'}, 400, "send an object"),
        ({"columns": '{"person": "x"}'}, 422, "taken"),
        ({"columns": '{"time": "x"}'}, 422, "a meaning of its own"),
        ({"columns": '{"bag": 3}'}, 422, "Convert it"),
        ({"colour": "red"}, 400, "colour"),
        ({"camera": "c" * 201}, 400, "camera"),
    ],
)
def test_what_cannot_be_added_says_why_and_leaves_no_picture(
    unchanged: Served, fields: dict[str, str], status: int, message: str
) -> None:
    answer = unchanged.client.post("/v1/sightings", files=file_of(crop_bytes(51)), data=fields)
    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.text
    assert str(unchanged.folder) not in answer.text
    assert list((unchanged.folder / "kept").iterdir()) == []
    assert unchanged.client.get("/v1/sightings").json()["total"] == 6


def test_crops_of_low_quality_are_refused_unless_they_are_wanted(served: Served) -> None:
    wide = crop_bytes(52, size=(96, 48))
    refused = served.client.post("/v1/sightings", files=file_of(wide))
    assert refused.status_code == 422
    assert "not upright" in refused.json()["message"]
    assert list((served.folder / "kept").iterdir()) == []
    kept = served.client.post("/v1/sightings", files=file_of(wide), data={"keep_all": "true"})
    assert kept.status_code == 201


def test_without_a_folder_nothing_is_added(serve: Callable[..., Served]) -> None:
    served = serve(keep_crops=None, serve_crops=())
    answer = served.client.post("/v1/sightings", files=file_of(crop_bytes(53)))
    assert (answer.status_code, answer.json()["code"]) == (400, "SettingError")
    assert search(served)["matches"][0]["crop"] is None
    assert served.client.get("/v1/sightings/1/crop").status_code == 404


def test_sightings_are_listed_a_page_at_a_time(unchanged: Served) -> None:
    for order, whole in (("oldest", [1, 2, 3, 4, 5, 6]), ("newest", [6, 5, 4, 3, 2, 1])):
        seen: list[int] = []
        after: int | None = None
        while True:
            query: dict[str, Any] = {"order": order, "limit": 4} | ({} if after is None else {"after": after})
            page = answers.SightingsAnswer.model_validate(unchanged.client.get("/v1/sightings", params=query).json())
            assert page.total == 6
            seen += [sighting.sighting for sighting in page.sightings]
            after = page.next
            if after is None:
                break
        assert seen == whole
    filtered = unchanged.client.get("/v1/sightings", params={"cameras": "1", "where": "person != '1'"}).json()
    assert [sighting["sighting"] for sighting in filtered["sightings"]] == [3, 5]
    assert unchanged.client.get("/v1/sightings/4").json()["sighting"] == 4
    for wrong in ("/v1/sightings/99", f"/v1/sightings/{2**64}", "/v1/sightings/0", "/v1/sightings/99/crop"):
        assert unchanged.client.get(wrong).status_code == 404, wrong


def test_numbers_that_no_column_holds_are_refused(unchanged: Served) -> None:
    client, large = unchanged.client, 2**63
    for address in (f"/v1/sightings?after={large}", f"/v1/sightings?after={-large}", f"/v1/audit?offset={large}"):
        assert client.get(address).status_code == 400, address
    assert client.post("/v1/search", data={"sighting": str(large)}).status_code == 400
    for route, body in (
        ("/v1/decisions", {"kind": "assign", "person": "1", "sightings": [large]}),
        ("/v1/decisions", {"kind": "undo", "event": large}),
        ("/v1/erasures", {"sightings": [large]}),
        ("/v1/review", {"one": large, "other": 1, "same": True}),
    ):
        answer = client.post(route, json=body)
        assert (answer.status_code, "9223372036854775807" in answer.text) == (400, True), (route, answer.text)


def test_people_their_sightings_and_who_looks_like_them(served: Served) -> None:
    people = answers.PeopleAnswer.model_validate(served.client.get("/v1/people", params={"limit": 2}).json())
    assert people.total == 3
    assert [person.person for person in people.people] == ["1", "2"]
    one = answers.PersonAnswer.model_validate(served.client.get("/v1/people/2", params={"similar": 5}).json())
    assert (one.person.sightings, one.person.cameras) == (2, ["1", "2"])
    assert [sighting.sighting for sighting in one.sightings] == [3, 4]
    assert {similar.person for similar in one.similar} == {"1", "3"}
    assert one.similar[0].distance <= one.similar[1].distance
    assert served.client.get("/v1/people/nobody").json()["code"] == "NotInGalleryError"
    name = "Anna/../K. ? #1"
    served.client.post("/v1/decisions", json={"kind": "rename", "person": "2", "name": name})
    assert served.client.get("/v1/people/Anna%2F..%2FK.%20%3F%20%231").json()["person"]["person"] == name


def test_decisions_and_their_undoing(served: Served) -> None:
    def decide(**body: Any) -> tuple[int, Any]:
        answer = served.client.post("/v1/decisions", json=body)
        return answer.status_code, answer.json()

    assert decide(kind="assign", sightings=[1, 3], person="anna", reason="desk")[0] == 201
    assert served.client.get("/v1/people/anna").json()["person"]["sightings"] == 2
    assert decide(kind="merge", into="anna", people=["3"])[0] == 201
    assert decide(kind="split", sightings=[1], name="bert")[0] == 201
    assert decide(kind="rename", person="bert", name="Bert")[0] == 201
    assert decide(kind="differ", sightings=[2, 4])[0] == 201
    assert decide(kind="undo", event=2)[1]["details"] == {"event": 2}
    assert decide(kind="undo", event=2)[1]["code"] == "DecisionError"
    assert decide(kind="undo", event=99)[1]["code"] == "NotInGalleryError"
    assert decide(kind="merge", into="anna", people=["anna"])[0] == 409
    assert decide(kind="assign", sightings=[99], person="x")[0] == 404
    for wrong in ({"kind": "burn"}, {"kind": "assign", "sightings": []}, {"kind": "undo", "evnt": 1}, {}):
        assert decide(**wrong)[0] == 400, wrong
    listed = answers.DecisionsAnswer.model_validate(served.client.get("/v1/decisions", params={"limit": 3}).json())
    assert (listed.total, [decision.kind for decision in listed.decisions]) == (6, ["undo", "differ", "rename"])
    assert {decision.who for decision in listed.decisions} == {"anyone@service"}


def test_an_erasure_takes_the_kept_picture_and_leaves_a_receipt(served: Served) -> None:
    for camera in ("7", "8"):
        form = {"camera": camera, "person": "eve"}
        assert served.client.post("/v1/sightings", files=file_of(crop_bytes(60)), data=form).status_code == 201
    kept = served.folder / "kept"

    def erase(**body: Any) -> Any:
        return answers.ErasureAnswer.model_validate(served.client.post("/v1/erasures", json=body).json())

    preview = erase(persons=["eve"], cameras=["7"], preview=True)
    assert (preview.sightings, preview.people, preview.receipt) == (1, ["eve"], None)
    one = erase(persons=["eve"], cameras=["7"])
    assert (one.sightings, one.pictures_deleted) == (1, 0), "the other sighting has the same picture"
    assert len(list(kept.iterdir())) == 1
    last = erase(persons=["eve"], block=True)
    assert (last.sightings, last.pictures_deleted, list(kept.iterdir())) == (1, 1, [])
    assert last.receipt is not None
    assert last.receipt["verified"]
    assert (last.receipt["gallery"], last.receipt["who"]) == ("g", "anyone@service")
    again = served.client.post("/v1/sightings", files=file_of(crop_bytes(60)))
    assert again.status_code == 422
    assert "not to come back" in again.json()["message"]
    assert list(kept.iterdir()) == []
    assert erase(sightings=[1, 2], where="camera = '1'").sightings == 1
    nothing = served.client.post("/v1/erasures", json={})
    assert (nothing.status_code, nothing.json()["code"]) == (400, "FilterError")
    assert served.client.get("/v1/sightings").json()["total"] == 5
    assert all(path.exists() for path in served.backend.crops.roots[0].iterdir()), "the operator's pictures stay"


def test_questions_need_a_calibration(unchanged: Served) -> None:
    answer = unchanged.client.get("/v1/review")
    assert (answer.status_code, answer.json()["code"]) == (409, "CalibrationError")
    assert answer.json()["message"].startswith("The gallery … has no calibration")
    unasked = unchanged.client.post("/v1/review", json={"one": 1, "other": 2, "same": True})
    assert (unasked.status_code, unasked.json()["code"]) == (404, "NotInGalleryError")


def test_the_gallery_at_a_glance_and_the_metrics(served: Served) -> None:
    seen = answers.GalleryAnswer.model_validate(served.client.get("/v1/gallery").json())
    assert (seen.name, seen.sightings, seen.people, seen.cameras) == ("g", 6, 3, {"1": 3, "2": 3})
    assert (seen.calibrated_on, seen.keeps_crops, seen.role) == (None, True, "admin")
    search(served)
    served.client.get("/v1/people/nobody")
    text = served.client.get("/metrics").text
    assert 'omnireid_requests_total{method="POST",route="/v1/search",status="200"} 1.0' in text
    assert 'route="/v1/people/{person:path}",status="404"' in text
    assert "nobody" not in text
    assert 'omnireid_refused_total{code="NotInGalleryError"} 1.0' in text
    assert "omnireid_batch_crops_count 1.0" in text
    assert ("process_resident_memory_bytes " in text) == sys.platform.startswith("linux")


def test_no_answer_has_a_path_of_the_server(served: Served) -> None:
    """Also where the gallery is damaged: the caller gets an id, and the log what it was."""
    (served.folder / "g" / "sightings.lance").rename(served.folder / "away")
    for path in ("/v1/sightings", "/v1/people", "/v1/gallery", "/health/ready", "/v1/sightings/1/crop"):
        answer = served.client.get(path)
        assert answer.status_code == 500, path
        assert (answer.json()["code"], "request id" in answer.json()["message"]) == ("GalleryError", True)
        assert str(served.folder) not in answer.text
    assert served.client.get("/health/live").json() == {"status": "live"}


def test_a_defect_is_an_answer_without_a_traceback(unchanged: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnireid.service.routes.describe_person", lambda _person: 1 / 0)
    answer = unchanged.client.get("/v1/people")
    assert answer.status_code == 500
    assert set(answer.json()) == {"code", "message", "request_id"}
    assert answer.json()["code"] == "ServiceError"
    assert "ZeroDivision" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("The gallery /g belongs to x", "The gallery … belongs to x"),
        ("The gallery s3://bucket/people: gone", "The gallery … gone"),
        ("/srv/a folder/g.jpg is damaged", "… is damaged"),
        ("'/srv/crops/1.jpg' or C:\\crops\\1.jpg", "'…' or …"),
        ("12 / 3 pixels, and/or more", "12 / 3 pixels, and/or more"),
    ],
)
def test_messages_name_no_place_of_the_server(message: str, shown: str) -> None:
    body = error_body(FilterError(message), "0", ["/srv/a folder"])
    assert body["message"] == shown


def test_the_openapi_document_describes_every_route(unchanged: Served) -> None:
    document = unchanged.client.get("/v1/openapi.json").json()
    assert document == describe_api(unchanged.client.app)  # type: ignore[arg-type]
    described = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert set(described) == {(route.method, route.path.replace(":path", "")) for route in ROUTES}
    for route in ROUTES:
        operation = described[route.method, route.path.replace(":path", "")]
        assert operation["x-role"] == route.access
        assert ("security" in operation) == (route.access != "anyone")
        assert operation["description"]
        assert str(route.status) in operation["responses"]
    assert "HTTPValidationError" not in json.dumps(document)
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            shape = getattr(shapes, name, None) or getattr(answers, name)
            shape.model_validate_json(json.dumps(example))


def test_the_openapi_document_names_the_types_of_pictures_and_files(unchanged: Served) -> None:
    paths = unchanged.client.get("/v1/openapi.json").json()["paths"]
    for path, field in (("/v1/embed", "crops"), ("/v1/search", "crop"), ("/v1/sightings", "crop")):
        form = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]
        assert form["encoding"] == {field: {"contentType": "image/jpeg, image/png, image/webp"}}
        assert form["schema"]
    bodies = set(paths["/v1/embed"]["post"]["requestBody"]["content"])
    assert bodies == {"multipart/form-data", "image/jpeg", "image/png", "image/webp"}
    for address, path in (
        ("/v1/sightings/1/crop", "/v1/sightings/{sighting}/crop"),
        ("/page/base.css", "/page/{name}"),
    ):
        answer = unchanged.client.get(address)
        assert answer.status_code == 200, address
        documented = paths[path]["get"]["responses"]["200"]["content"]
        assert answer.headers["content-type"].partition(";")[0] in documented


def test_the_openapi_document_has_no_tuples_with_a_type_for_each_place(unchanged: Served) -> None:
    """Many readers of OpenAPI documents, schemathesis among them, cannot read these."""
    assert "prefixItems" not in unchanged.client.get("/v1/openapi.json").text


@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [
        ("DELETE", "/v1/decisions", "GET, POST"),
        ("OPTIONS", "/v1/sightings", "GET, POST"),
        ("POST", "/v1/sightings/1", "GET"),
        ("PUT", "/v1/search", "POST"),
    ],
)
def test_another_method_is_refused_with_all_that_the_address_takes(
    unchanged: Served, method: str, address: str, allowed: str
) -> None:
    answer = unchanged.client.request(method, address)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_the_examples_would_not_pass_with_another_field() -> None:
    with pytest.raises(ValidationError):
        shapes.Undo.model_validate({"kind": "undo", "evnt": 3})


def test_the_routes_of_the_documentation_are_these() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "service.md").read_text()
    documented = {
        (cells[1], address.strip(" `").replace("…", "{name:path}"), cells[3])
        for line in page.splitlines()
        if line.startswith(("| GET |", "| POST |"))
        for cells in [[cell.strip() for cell in line.split("|")]]
        for address in cells[2].split(",")
    }
    known = {(route.method, route.path.replace("{person:path}", "{person}"), route.access) for route in ROUTES}
    assert documented == known | {("GET", "/v1/openapi.json", "anyone")}
