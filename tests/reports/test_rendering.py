"""Reports in a real browser: on a desk, on a phone, in the dark and on paper."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnireid.reports.document import render_html
from omnireid.reports.evaluation_report import ReportedEvaluation, report_evaluation
from omnireid.types import ByteArray

pytestmark = pytest.mark.slow

LIGHT, DARK = (255, 255, 255), (16, 21, 26)
BLUE, LIGHT_BLUE = (0, 114, 178), (86, 180, 233)
ORANGE, LIGHT_ORANGE = (194, 84, 0), (240, 163, 58)
_TALLEST = {1200: 6000, 390: 10_000}
"""Height of the window by its width: the page is shorter."""


@pytest.fixture
def page(tmp_path: Path, reported: ReportedEvaluation) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render_html(report_evaluation(reported)), encoding="utf-8")
    return path


def run(browser: str, page: Path, *flags: str) -> None:
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *flags, page.as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=120)


def photograph(browser: str, page: Path, width: int, *flags: str) -> ByteArray:
    picture = page.with_name("page.png")
    run(browser, page, f"--window-size={width},{_TALLEST[width]}", f"--screenshot={picture}", *flags)
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB"))


def count(pixels: ByteArray, colour: tuple[int, int, int]) -> int:
    return int((pixels == colour).all(axis=2).sum())


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("is_dark", [False, True])
def test_a_report_fits_its_window_in_light_and_dark(browser: str, page: Path, width: int, is_dark: bool) -> None:
    flags = ["--blink-settings=preferredColorScheme=0"] if is_dark else []
    pixels = photograph(browser, page, width, *flags)
    assert pixels.shape[1] == width
    paper, blue, orange = (DARK, LIGHT_BLUE, LIGHT_ORANGE) if is_dark else (LIGHT, BLUE, ORANGE)
    margins = np.concatenate([pixels[:, :10], pixels[:, -10:]], axis=1)
    assert (margins == paper).all(), "nothing reaches the edge, so nothing is cut off"
    assert count(pixels, blue) > 2000, "frames of right crops, and lines"
    assert count(pixels, orange) > 500
    used = np.flatnonzero((pixels != paper).any(axis=(1, 2)))
    assert used[-1] < _TALLEST[width] - 20, "the end of the page was seen"


def test_a_report_is_printed_on_white_paper(browser: str, page: Path) -> None:
    paper = page.with_name("page.pdf")
    run(browser, page, "--blink-settings=preferredColorScheme=0", f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page\r") + content.count(b"/Type /Page ") >= 2
