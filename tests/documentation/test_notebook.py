"""The notebook runs from top to bottom, cell by cell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.documentation.pages import ROOT

NOTEBOOK = ROOT / "examples" / "first_look.ipynb"


def cells(kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def test_the_notebook_has_no_results_in_it() -> None:
    found = json.loads(NOTEBOOK.read_text())
    assert found["nbformat"] == 4
    assert all(cell["outputs"] == [] for cell in found["cells"] if cell["cell_type"] == "code")
    assert len(cells("markdown")) >= 5


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    program = "\n".join(cells("code"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cosine" in done.stdout
