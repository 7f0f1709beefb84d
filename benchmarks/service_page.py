"""Claim: the page of the service shows its first view within a second, has no axe-core violation, and scrolls smoothly.

People are drawn and walk past four cameras; a gallery of them is calibrated and served on loopback, with tokens. A
headless Chromium visits every view at the widths of a desk and a phone, light and dark. Printed are

- the largest contentful paint of the signed-in search, median of seven loads, and of the view with 100 results,
- the violations that axe-core finds in each view (it is fetched by npm into a temporary folder),
- the times between frames while 10,000 results are scrolled through by the wheel, and how many elements they take.

Screenshots of each view are written to the folder, as NAME-WIDTH-THEME.png.

Run: python benchmarks/service_page.py FOLDER [--people 60]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, Route, sync_playwright

from omnireid.machine import describe
from omnireid.synthetic.dataset import synthesize

CAMERAS = ("Gate North", "Lobby", "Platform 2", "Garage")
NAMED = {2: "Anna K.", 4: "Bert", 6: "Chidi"}
SIZES = {"desk": (1360, 900), "phone": (360, 780)}
THEMES = ("light", "dark")
LOADS = 7
RESULTS = 10_000
WHEEL_STEPS, WHEEL_PIXELS = 120, 700
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PAINT = """() => new Promise((resolve) => {
  new PerformanceObserver((list) => resolve(list.getEntries().at(-1).startTime))
    .observe({ type: "largest-contentful-paint", buffered: true });
})"""
FRAMES = """() => {
  const times = [];
  const step = (at) => { times.push(at); if (!globalThis.enough) requestAnimationFrame(step); };
  requestAnimationFrame(step);
  globalThis.frames = times;
}"""


def run_omnireid(*arguments: str | Path) -> str:
    """Run a command, and return what it printed."""
    command = [sys.executable, "-m", "omnireid", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def draw_gallery(folder: Path, people: int) -> tuple[Path, Path]:
    """A calibrated gallery of drawn people who walk past four cameras within a day, and a crop that it does not hold.

    A quarter of the crops have no name, and some people have two.
    """
    drawn = synthesize(folder / "people", identities=people, cameras=len(CAMERAS), seed=5)
    rng = np.random.default_rng(3)
    starts = rng.uniform(0, 8 * 3600, people + 1)
    begin = datetime(2026, 3, 2, 8, tzinfo=UTC)
    lines = ["path,person_id,camera_id,time"]
    paths = sorted((drawn / "bounding_box_test").glob("*.jpg"))
    for path in paths:
        person, camera = int(path.name[:4]), int(path.name[6])
        name = NAMED.get(person, str(person))
        if person % 10 == 0 and camera > 2:
            name += "-b"
        name = "-1" if rng.random() < 0.25 else name
        time = begin + timedelta(seconds=float(starts[person] + 600 * camera + rng.uniform(0, 60)))
        lines.append(f"{path},{name},{CAMERAS[camera - 1]},{time.isoformat()}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines), encoding="utf-8")
    run_omnireid("gallery", "add", manifest, "--gallery", folder / "g")
    run_omnireid("calibrate", "--data", drawn, "--output", folder / "calibration.json")
    run_omnireid("gallery", "calibrate", folder / "calibration.json", "--gallery", folder / "g")
    return folder / "g", next((drawn / "query").glob("0002_c1*.jpg"))


@contextmanager
def served(gallery: Path) -> Iterator[tuple[str, str]]:
    """Serve a gallery; yields its address and the token of an administrator."""
    token = run_omnireid("serve", "token", "add", "--gallery", gallery, "--name", "anna", "--role", "admin").strip()
    crops = gallery.parent / "people"
    command = [sys.executable, "-m", "omnireid", "serve", "--gallery", str(gallery), "--port", "0"]
    command += ["--serve-crops", str(crops), "--keep-crops", str(gallery.parent / "kept")]
    command += ["--requests-per-second", "1000"]
    with (gallery.parent / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        try:
            if found is None:
                sys.exit((gallery.parent / "server.log").read_text())
            yield found.group(), token
        finally:
            process.terminate()
            process.wait()


def fetch_axe(folder: Path) -> str:
    """The source of axe-core, by npm's ordinary client."""
    if shutil.which("npm") is None:
        sys.exit("axe-core comes from npm, which is not installed: apt-get install npm")
    folder.mkdir()
    subprocess.run(["npm", "pack", "axe-core", "--silent"], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob("axe-core-*.tgz")
    shutil.unpack_archive(archive, folder, filter="data")
    return (folder / "package" / "axe.min.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Visit:
    """A visit of all views by one browser window.

    Attributes:
        page: The window.
        url: Address of the page.
        name: Width and theme.
        axe: Source of axe-core.
        folder: Where screenshots go.
    """

    page: Page
    url: str
    name: str
    axe: str
    folder: Path

    def go(self, view: str, until: str) -> None:
        """Go to a view, and wait for an element."""
        self.page.evaluate("view => { location.hash = view; }", f"#/{view}")
        self.page.locator(until).first.wait_for()

    def examine(self, view: str) -> int:
        """Write a screenshot of what is shown, and count what axe-core finds wrong with it."""
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=self.folder / f"{view}-{self.name}.png")
        self.page.evaluate(self.axe)
        found: list[dict[str, Any]] = self.page.evaluate("axe.run().then((result) => result.violations)")
        for violation in found:
            targets = [" ".join(map(str, node["target"])) for node in violation["nodes"][:3]]
            print(f"  {view} {self.name}: {violation['id']}: {violation['help']}: {'; '.join(targets)}")
        beyond: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if beyond > 0:
            print(f"  {view} {self.name}: {beyond} pixels wider than the window")
        return len(found) + (beyond > 0)


def sign_in(page: Page, url: str, token: str) -> None:
    """Sign in."""
    page.goto(url)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".drop").wait_for()


def visit_all(visit: Visit, token: str, query: Path) -> int:
    """Visit every view once; returns how much was found wrong."""
    page, wrong = visit.page, 0
    page.goto(visit.url)
    page.get_by_label("Token").wait_for()
    wrong += visit.examine("sign-in")
    sign_in(page, visit.url, token)
    wrong += visit.examine("start")
    page.set_input_files("input[type=file]", query)
    page.locator(".cards .card img[src]").first.wait_for()
    wrong += visit.examine("search")
    for row in (0, 2):
        page.locator(".cards .select input").nth(row).check()
    wrong += visit.examine("selected")
    page.locator(".cards .open").nth(1).click()
    wrong += visit.examine("sighting")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Draw a box in it").click()
    wrong += visit.examine("picker")
    for view, address, until in (
        ("people", "people", ".people li"),
        ("person", "person/Bert", ".similar li"),
        ("review", "review", ".answers"),
        ("history", "history", ".events, .notice"),
        ("gallery", "gallery", ".tiles"),
        ("erase", "erase?person=Bert", "form.panel"),
    ):
        visit.go(address, until)
        wrong += visit.examine(view)
    page.get_by_role("button", name="Count what would go").click()
    page.locator(".result .danger").click()
    wrong += visit.examine("confirm")
    return wrong


def median_paint(load: Callable[[], Page]) -> float:
    """Median of the largest contentful paint of several loads, in milliseconds."""
    times: list[float] = []
    for _ in range(LOADS):
        page = load()
        times.append(page.evaluate(PAINT))
        page.context.close()
    return statistics.median(times)


def measure_paint(browser: Browser, url: str, token: str) -> None:
    """Print the largest contentful paint of two views."""

    def open_signed_in(view: str, until: str) -> Page:
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.add_init_script(f"sessionStorage.setItem('omnireid-token', {json.dumps(token)})")
        page.goto(f"{url}#/{view}")
        page.locator(until).first.wait_for()
        page.wait_for_timeout(300)
        return page

    start = median_paint(lambda: open_signed_in("search", ".drop"))
    results = median_paint(lambda: open_signed_in("search?sighting=1", ".cards img[src]"))
    print(f"largest contentful paint, median of {LOADS}: search {start:.0f} ms; 100 results {results:.0f} ms")


def measure_scrolling(browser: Browser, url: str, token: str, query: Path) -> None:
    """Print the times between frames while many results are scrolled through."""
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    sign_in(page, url, token)

    def repeat(route: Route) -> None:
        answer = route.fetch().json()
        found = answer["matches"]
        matches = [found[rank % len(found)] | {"rank": rank + 1, "sighting": rank + 1} for rank in range(RESULTS)]
        route.fulfill(json=answer | {"matches": matches})

    page.route("**/v1/search", repeat)
    page.set_input_files("input[type=file]", query)
    page.locator(".cards img[src]").first.wait_for()
    page.mouse.move(900, 600)
    page.evaluate(FRAMES)
    for _ in range(WHEEL_STEPS):
        page.mouse.wheel(0, WHEEL_PIXELS)
        page.wait_for_timeout(30)
    page.evaluate("globalThis.enough = true")
    gaps = np.diff(page.evaluate("globalThis.frames"))
    late, longest = np.percentile(gaps, 95), gaps.max()
    held = page.locator(".cards > li").count()
    print(
        f"{RESULTS:,} results, scrolled by {WHEEL_STEPS * WHEEL_PIXELS:,} pixels: {len(gaps)} frames, "
        f"{np.median(gaps):.1f} ms between them (95 % within {late:.1f} ms, longest {longest:.0f} ms); "
        f"{held} cards in the document"
    )
    page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=60)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    if binary is None:
        sys.exit("needs Chromium: apt-get install chromium-headless-shell")
    print(describe())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        axe = fetch_axe(folder / "axe")
        gallery, query = draw_gallery(folder, given.people)
        with served(gallery) as (url, token), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=binary)
            print(f"Chromium {browser.version}")
            measure_paint(browser, url, token)
            measure_scrolling(browser, url, token, query)
            wrong = 0
            for theme in THEMES:
                for size, (width, height) in SIZES.items():
                    page = browser.new_page(
                        viewport={"width": width, "height": height},
                        color_scheme="dark" if theme == "dark" else "light",
                        timezone_id="Europe/Berlin",
                    )
                    wrong += visit_all(Visit(page, url, f"{size}-{theme}", axe, given.folder), token, query)
                    page.context.close()
            browser.close()
    for name in ("search", "person", "review", "gallery"):
        picture = Image.open(given.folder / f"{name}-desk-light.png").convert("RGB")
        picture.save(given.folder / f"{name}.webp", quality=82, method=6)
    print(f"axe-core violations, and views wider than the window, at both widths and in both themes: {wrong}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
