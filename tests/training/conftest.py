"""Drawn people to train on, and how a small run is carried out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.runs import SMALL, options_for

from omnireid.embedding.embedder import Embedder, load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.synthetic.dataset import synthesize
from omnireid.training import run as run_module
from omnireid.training.options import RunOptions, RunResult
from omnireid.training.run import train


@pytest.fixture(scope="module", autouse=True)
def without_curves() -> Iterator[None]:
    """Drawing them would take longer than these runs; one test in test_run.py has them drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "draw_curves", lambda *_: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def without_trial() -> Iterator[None]:
    """Teachers run in ONNX Runtime. To try every runtime would take longer than these runs."""

    def load_in_onnx_runtime(weights: str, options: RuntimeOptions) -> Embedder:
        return load_embedder(weights, replace(options, runtime="onnxruntime"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "load_embedder", load_in_onnx_runtime)
        yield


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("drawn") / "people", identities=8, cameras=3, per_camera=2, height=64)


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other people before other cameras."""
    folder = tmp_path_factory.mktemp("drawn") / "others"
    return synthesize(folder, identities=4, cameras=2, per_camera=2, height=64, seed=7)


@pytest.fixture
def options(people: Path, tmp_path: Path) -> RunOptions:
    return options_for(people, tmp_path)


@pytest.fixture(scope="module")
def whole(people: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run of the small recipe, which no test changes: those that go on with it copy its folder."""
    return train(SMALL, options_for(people, tmp_path_factory.mktemp("whole")))
