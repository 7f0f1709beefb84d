from __future__ import annotations

from pathlib import Path

import pytest
from tests.gallery.tables import filled

from omnireid.gallery.gallery import Gallery


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """Thirty sightings of five people by three cameras."""
    return filled(tmp_path / "people.gallery")
