from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from tests.gallery.tables import WIDTH, filled, table_of

from omnireid.gallery import people_of_gallery
from omnireid.gallery.snapshot import read_snapshot, refresh_snapshot


def test_threads_that_want_a_new_version_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path / "g")
    reads, together = [], Barrier(8)

    def counted(read: Callable[..., Any]) -> Callable[..., Any]:
        def count(*what: Any) -> Any:
            reads.append(read)
            return read(*what)

        return count

    monkeypatch.setattr(people_of_gallery, "read_snapshot", counted(read_snapshot))
    monkeypatch.setattr(people_of_gallery, "refresh_snapshot", counted(refresh_snapshot))

    def search(who: int) -> int:
        together.wait(60)
        found = gallery.acting_as(f"reader-{who}").search(np.ones((1, WIDTH), dtype=np.float32), 100)
        return len(found[0])

    with ThreadPoolExecutor(8) as threads:
        for count in (30, 31):
            assert list(threads.map(search, range(8))) == [count] * 8
            gallery.add(table_of(1, seed=count))
    assert reads == [read_snapshot, refresh_snapshot]
    assert {entry.who for entry in gallery.audit() if entry.action == "search"} == {f"reader-{who}" for who in range(8)}
