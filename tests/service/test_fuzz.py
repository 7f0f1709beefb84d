"""Random requests to a real service: benchmarks/service_fuzz.py, which sends many more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
def test_every_answer_to_random_requests_is_one_that_the_openapi_document_describes() -> None:
    words = [sys.executable, str(BENCHMARKS / "service_fuzz.py"), "--callers", "write", "nobody", "--seed", "1"]
    words += ["--phases", "examples,fuzzing", "--examples", "5"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 answers of 500 or above, 0 other defects" in done.stdout
