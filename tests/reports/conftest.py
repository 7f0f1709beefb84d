"""What several tests of reports share: a small evaluation, and a browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.evaluation.embedder_scores import EvaluatedSplits
from omnireid.evaluation.evaluation import evaluate
from omnireid.reports.evaluation_report import ReportedEvaluation
from omnireid.types import Crops

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def reported(crop_folder: Path) -> ReportedEvaluation:
    """Twelve crops of three people, one of whom is taken for another. One name would be code if it were not escaped."""
    paths = tuple(sorted(crop_folder.iterdir()))
    people = np.array([int(path.name[:4]) for path in paths])
    cameras = np.array([int(path.name[6]) for path in paths])
    noise = 0.05 * np.random.default_rng(0).standard_normal((len(paths), 3))
    embeddings = (np.eye(3)[people - 1] + noise).astype(np.float32)
    embeddings[(people == 3) & (cameras == 2)] = embeddings[(people == 2) & (cameras == 2)] + 0.01
    names = tuple({1: "Ada", 2: "<script>alert(1)</script>", 3: "Eve|*x*"}[person] for person in people.tolist())
    made = Provenance("ab" * 32, "osnet_x0_25", {"height": 256}, "cosine", "unknown", "0")
    table = EmbeddingTable(Crops(paths, people, cameras, {"person_name": names}), embeddings, made)
    found = evaluate(table, table)
    return ReportedEvaluation(
        EvaluatedSplits(found.scores, (found,)),
        title="drawn & small",
        facts={"weights": "osnet_x0_25", "licence of the data": "<b>none</b>"},
        costs={"scoring": "0.1 s"},
        calibration_note="There is no calibration: too few pairs.",
    )


@pytest.fixture(scope="session")
def browser() -> str:
    """A headless Chromium; skipped where there is none, a failure in CI."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have a browser: apt-get install chromium-headless-shell")
        pytest.skip("needs Chromium: apt-get install chromium-headless-shell")
    return found
