"""Random changes to what the readers of untrusted bytes take: benchmarks/reader_fuzz.py, which makes many more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "reader_fuzz.py"


@pytest.mark.slow
def test_every_reader_takes_changed_bytes_or_refuses_them_with_an_error_of_the_library(tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPT), "--mutations", "20", "--keep", str(tmp_path / "kept")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(", 0 crashes,") == 15
