from __future__ import annotations

from pathlib import Path

import pytest
from tests.gallery.killed import kill_at_random_moments

KILLS = 20


@pytest.mark.slow
def test_no_kill_tears_anything_or_loses_what_was_acknowledged(tmp_path: Path) -> None:
    """The moments are random; a failure names its seed. benchmarks/gallery_kills.py does it 200 times."""
    done = kill_at_random_moments(tmp_path, KILLS)
    assert {"added", "erased", "optimized"} <= set(done)
