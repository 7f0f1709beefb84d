from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.gallery.tables import mean_embedder

from omnireid.errors import DiskFullError
from omnireid.gallery import decision_writing
from omnireid.gallery.gallery import Gallery
from omnireid.service.options import ServiceOptions
from omnireid.service.server import open_backend


@pytest.fixture
def cut_short(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery in which a kill came between a decision and the names that follow from it."""
    shutil.copytree(template / "g", tmp_path / "g")
    with monkeypatch.context() as patch:
        patch.setattr(decision_writing, "apply_decisions", lambda _database: 0)
        Gallery.open(tmp_path / "g").assign([1], "anna")
    return tmp_path / "g"


def test_a_service_finishes_a_decision_that_was_cut_short_before_it_answers(cut_short: Path) -> None:
    backend = open_backend(str(cut_short), mean_embedder(), ServiceOptions())
    assert backend.gallery.sightings()[0].person == "anna"


@pytest.mark.skipif(os.name != "posix", reason="there is no limit on the size of files here")
def test_a_service_that_cannot_finish_a_decision_does_not_start(cut_short: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(DiskFullError, match=r"does not start.*Free some space and run the same command again"):
            open_backend(str(cut_short), mean_embedder(), ServiceOptions())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert open_backend(str(cut_short), mean_embedder(), ServiceOptions()).gallery.check().problems == ()
