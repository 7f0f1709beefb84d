"""The page, as a person uses it in a headless Chromium, against a service that listens."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from tests.gallery.tables import calibrate

from omnireid import RuntimeOptions, load_embedder
from omnireid.gallery.gallery import Gallery
from omnireid.service.app import create_app
from omnireid.service.backend import Backend
from omnireid.service.options import ServiceOptions
from omnireid.service.server import open_backend
from omnireid.service.tokens import add_token, tokens_file
from omnireid.synthetic.dataset import synthesize
from omnireid.types import Crops

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CODE = "<img src=x onerror=document.title='run'>"
NAMES = {1: "Anna", 2: "Bert", 3: CODE, 4: "Dora"}
"""Person to name. Anna is called another name by camera 2, and the others are unnamed."""


@dataclass(frozen=True)
class OpenPage:
    """A page of somebody who may do everything.

    Attributes:
        page: The page, signed in, at the search.
        backend: What is served.
        query: A picture of Anna that the gallery does not hold.
        tokens: Role to token.
        url: Address of the page.
    """

    page: Page
    backend: Backend
    query: Path
    tokens: dict[str, str]
    url: str

    def go(self, view: str) -> None:
        """Go to a view by its address."""
        self.page.evaluate("view => { location.hash = view; }", f"#/{view}")

    def people(self) -> dict[str, int]:
        """The people of the gallery, and how often each was seen."""
        return {person.name: person.sightings for person in self.backend.gallery.people()}


def drawn_crops(folder: Path) -> tuple[Crops, Path]:
    """Crops of eight drawn people by two cameras, two each, and a third crop of person 1."""
    root = synthesize(folder / "drawn", identities=8, cameras=2, per_camera=3, seed=3, workers=1)
    paths = sorted(path for path in root.rglob("*.jpg") if int(path.name[:4]) > 0)
    query = next(path for path in paths if path.name.startswith("0001_c1"))
    kept = [path for path in paths if path != query]
    people = np.array([int(path.name[:4]) for path in kept])
    cameras = np.array([int(path.name[6]) for path in kept])
    names = [NAMES.get(person, "-1") for person in people.tolist()]
    names = ["Anna-2" if (name, camera) == ("Anna", 2) else name for name, camera in zip(names, cameras, strict=True)]
    people[[name == "-1" for name in names]] = -1
    columns = {
        "person_name": tuple(names),
        "time": tuple(f"2026-03-01T{8 + row % 10:02}:{row % 60:02}:00+00:00" for row in range(len(kept))),
    }
    return Crops(tuple(kept), people, cameras, columns), query


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Backend, Path, dict[str, str], str]]:
    """A gallery of drawn people that is served on a free port, with tokens."""
    folder = tmp_path_factory.mktemp("page")
    crops, query = drawn_crops(folder)
    embedder = load_embedder(options=RuntimeOptions(runtime="onnxruntime"))
    gallery = Gallery.open(folder / "g", embedder)
    gallery.add(crops, keep_all=True)
    calibrate(gallery, {0.0: 9.0, 1.0: -9.0}, "cosine")
    file = tokens_file(str(folder / "g"), None)
    tokens = {role: add_token(file, f"a-{role}", role) for role in ("read", "admin")}
    options = ServiceOptions(serve_crops=(folder / "drawn",), keep_crops=folder / "kept")
    backend = open_backend(str(folder / "g"), embedder, options)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(backend), log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield backend, query, tokens, f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium of the system; skipped where there is none, a failure in CI."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have a browser: apt-get install chromium-headless-shell")
        pytest.skip("needs Chromium: apt-get install chromium-headless-shell")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture
def opened(served: tuple[Backend, Path, dict[str, str], str], chromium: Browser) -> Iterator[OpenPage]:
    """The page of an administrator. At the end nothing may have failed in its scripts or against its content policy."""
    backend, query, tokens, url = served
    context = chromium.new_context(timezone_id="UTC", accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(20_000)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda said: failures.append(said.text) if "Content Security" in said.text else None)
    page.goto(url)
    page.get_by_label("Token").fill(tokens["admin"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Search").wait_for()
    yield OpenPage(page, backend, query, tokens, url)
    context.close()
    assert failures == []


def search_for(opened: OpenPage) -> None:
    opened.page.set_input_files("input[type=file]", opened.query)
    opened.page.locator(".cards .card").first.wait_for()


def test_a_picture_finds_its_person_and_filters_narrow_the_results(opened: OpenPage) -> None:
    page = opened.page
    search_for(opened)
    first = page.locator(".cards .card").first
    assert "Anna" in first.inner_text()
    assert "Same" in first.inner_text()
    assert "sightings found" in page.locator(".results .status").inner_text()
    first.locator("img[src^='blob:']").wait_for()
    assert page.locator(".timeline .mark").count() > 2
    page.locator(".filters").get_by_label("Camera 2").check()
    expect(page.locator(".lane")).to_have_count(1)
    cameras = page.locator(".cards .card .facts").all_inner_texts()
    assert cameras
    assert all("Camera 2" in text for text in cameras)


def test_a_crop_is_picked_from_a_scene_by_keyboard(opened: OpenPage, tmp_path: Path) -> None:
    scene = Image.new("RGB", (600, 400), "grey")
    scene.paste(Image.open(opened.query), (20, 30))
    scene.save(tmp_path / "scene.png")
    opened.page.set_input_files("input[type=file]", tmp_path / "scene.png")
    canvas = opened.page.get_by_role("application")
    canvas.wait_for()
    for _ in range(60):
        canvas.press("Alt+ArrowLeft")
        canvas.press("Alt+ArrowUp")
    assert "0 from the left, 0 from the top" in opened.page.locator(".picker output").inner_text()
    canvas.press("ArrowRight")
    canvas.press("Shift+ArrowDown")
    assert "4 from the left, 0 from the top" in opened.page.locator(".picker output").inner_text()
    canvas.press("Enter")
    opened.page.locator(".cards .card").first.wait_for()
    assert opened.page.locator(".picker").count() == 0


def test_ten_thousand_results_keep_few_elements_and_the_last_one_can_be_reached(opened: OpenPage) -> None:
    page = opened.page
    unknown = dict.fromkeys(("probability", "verdict", "time", "person", "track", "box_xyxy", "quality", "crop"))
    one = unknown | {"camera": "1", "columns": {}}
    matches = [one | {"rank": n, "distance": n / 10_000, "sighting": n} for n in range(1, 10_001)]
    body = {"distance": "cosine", "prior": None, "thresholds": None, "index_recall": None, "crop_sha256": None}

    def answer(route: Route) -> None:
        route.fulfill(json=body | {"matches": matches})

    page.route("**/v1/search", answer)
    search_for(opened)
    assert page.locator(".cards > li").count() < 200
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.locator(".cards > li[aria-posinset='10000']")
    last.wait_for()
    assert "Distance 1.000" in last.inner_text()
    assert page.locator(".cards > li").count() < 200
    places = page.locator(".cards > li").evaluate_all("all => all.map(one => Number(one.ariaPosInSet))")
    assert places == sorted(places), "the tab key follows the ranks"


def test_people_are_merged_and_the_merge_is_undone(opened: OpenPage) -> None:
    page = opened.page
    before = opened.people()
    opened.go("person/Anna")
    page.get_by_role("button", name="Merge Anna-2 into Anna").click()
    page.get_by_text("Anna-2 is merged into Anna.").wait_for()
    page.get_by_text(f"{before['Anna'] + before['Anna-2']} sightings by").wait_for()
    assert "Anna-2" not in opened.people()
    page.locator("#messages").get_by_role("button", name="Undo").click()
    page.get_by_text(f"{before['Anna']} sightings by").wait_for()
    assert opened.people() == before


def test_a_person_is_renamed_and_gets_the_old_name_back(opened: OpenPage) -> None:
    page = opened.page
    opened.go("person/Dora")
    page.get_by_text("Rename", exact=True).first.click()
    page.get_by_label("New name").fill("Dora / D. %")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("heading", name="Dora / D. %").wait_for()
    assert "Dora / D. %" in opened.people()
    page.locator("#messages").get_by_role("button", name="Undo").click()
    page.get_by_role("heading", name="Dora", exact=True).wait_for()
    assert "Dora" in opened.people()


def test_sightings_get_a_name_and_lose_it_again(opened: OpenPage) -> None:
    page = opened.page
    before = opened.people()
    search_for(opened)
    nameless = page.locator(".cards .card", has_text="Nobody named")
    nameless.nth(0).locator("input").check()
    page.get_by_text("1 sighting selected").wait_for()
    page.locator(".selection").get_by_label("Name of the person").fill("Emil")
    page.get_by_role("button", name="Give this name").click()
    page.locator(".cards").get_by_role("link", name="Emil").wait_for()
    assert opened.people() == before | {"Emil": 1}
    opened.go("history")
    page.get_by_role("button", name="Undo decision").and_(page.get_by_label("given to Emil")).click()
    page.locator(".events .undone", has_text="given to Emil").wait_for()
    assert opened.people() == before


def test_questions_are_answered_by_keyboard(opened: OpenPage) -> None:
    page = opened.page
    opened.go("review")
    page.get_by_text("Question 1 of").wait_for()
    made = len(opened.backend.gallery.decisions())
    page.keyboard.press("n")
    page.get_by_text("Question 2 of").wait_for()
    page.keyboard.press("d")
    page.get_by_text("Question 3 of").wait_for()
    page.keyboard.press("u")
    page.get_by_text("Question 2 of").wait_for()
    page.keyboard.press("s")
    page.get_by_text("Question 3 of").wait_for()
    decisions = opened.backend.gallery.decisions()[made:]
    assert [decision.kind for decision in decisions][:2] == ["differ", "undo"]
    assert decisions[0].undone
    assert decisions[2].kind in ("merge", "assign")
    page.keyboard.press("u")
    page.get_by_text("Question 2 of").wait_for()


def test_erasing_names_what_goes_asks_and_leaves_a_receipt(opened: OpenPage, tmp_path: Path) -> None:
    page = opened.page
    before = opened.people()
    opened.go("erase?person=Bert")
    page.get_by_role("button", name="Count what would go").click()
    erase = page.get_by_role("button", name=f"Erase {before['Bert']} sightings…")
    erase.click()
    dialog = page.get_by_role("dialog")
    assert "Bert" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel").click()
    assert opened.people() == before
    erase.click()
    page.get_by_role("dialog").get_by_role("button", name=f"Erase {before['Bert']} sightings").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the receipt").click()
    receipt = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert (receipt["sightings"], receipt["verified"]) == (before["Bert"], True)
    assert "Bert" not in opened.people()


def test_a_name_that_would_be_code_is_text(opened: OpenPage) -> None:
    page = opened.page
    opened.go("people")
    page.get_by_role("link").filter(has_text=CODE).click()
    page.get_by_role("heading", name=CODE).wait_for()
    assert page.locator("img[src='x']").count() == 0
    assert "run" not in page.title().split(" ")


def test_whoever_may_only_read_is_not_offered_more(opened: OpenPage) -> None:
    page = opened.page
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Token").fill("omnireid_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").get_by_text("token").wait_for()
    page.get_by_label("Token").fill(opened.tokens["read"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Search").wait_for()
    assert not page.get_by_role("link", name="Erase").is_visible()
    search_for(opened)
    assert page.locator(".cards input").count() == 0
    opened.go("review")
    page.get_by_text("Your token may only look").wait_for()


def test_the_gallery_at_a_glance_says_what_verdicts_mean(opened: OpenPage) -> None:
    page = opened.page
    opened.go("gallery")
    page.get_by_text("Calibrated on drawn people").wait_for()
    seen: Any = page.locator("main").inner_text()
    assert "Ready" in seen
    assert "a-admin" in seen
    assert page.locator(".bars tbody tr").count() == 2
