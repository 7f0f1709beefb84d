from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from tests.gallery.tables import WIDTH, filled, table_of

from omnireid.gallery import people_of_gallery
from omnireid.gallery.database import Database
from omnireid.gallery.snapshot import Snapshot, read_snapshot


def test_threads_that_want_a_new_version_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path / "g")
    reads, together = [], Barrier(8)

    def read(database: Database) -> Snapshot:
        reads.append(database)
        return read_snapshot(database)

    monkeypatch.setattr(people_of_gallery, "read_snapshot", read)

    def search(who: int) -> int:
        together.wait(60)
        found = gallery.acting_as(f"reader-{who}").search(np.ones((1, WIDTH), dtype=np.float32), 100)
        return len(found[0])

    with ThreadPoolExecutor(8) as threads:
        for count in (30, 31):
            assert list(threads.map(search, range(8))) == [count] * 8
            gallery.add(table_of(1, seed=count))
    assert len(reads) == 2
    assert {entry.who for entry in gallery.audit() if entry.action == "search"} == {f"reader-{who}" for who in range(8)}
