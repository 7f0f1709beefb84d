"""Drawn people to train on, and how a small run is carried out."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnireid.synthetic.dataset import synthesize
from omnireid.training.options import RunOptions


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
    return RunOptions(
        (people,),
        tmp_path / "run",
        device="cpu",
        threads=1,
        log_every=2,
        pixel_cache_folder=tmp_path / "stores",
        progress=False,
    )
