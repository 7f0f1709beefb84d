"""Drawn people for commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnireid import synthesize


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people, two of them to find: 16 crops by two cameras. No test changes them."""
    return synthesize(tmp_path_factory.mktemp("drawn") / "people", identities=4, cameras=2, per_camera=2, workers=1)
