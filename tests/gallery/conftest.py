from __future__ import annotations

from pathlib import Path

import pytest
from tests.gallery.tables import filled

from omnireid.gallery.gallery import Gallery


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is flushed to the disk here, which takes seconds on a busy one; test_gallery.py sees that it is asked."""
    monkeypatch.setattr("omnireid.gallery.database._flush", lambda _path: True)


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """Thirty sightings of five people by three cameras."""
    return filled(tmp_path / "people.gallery")
