"""The first hour and the recipes run from top to bottom, as a reader would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.documentation.pages import ROOT, blocks

RUN = [page for page in sorted((ROOT / "docs").glob("*.md")) if any(language == "bash" for language, _ in blocks(page))]


def test_the_pages_that_run_are_there() -> None:
    assert {page.stem for page in RUN} >= {"index", "tutorial", "guide-gallery", "guide-research", "guide-tracking"}


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    for language, text in blocks(page):
        if language not in ("bash", "python"):
            continue
        words = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
