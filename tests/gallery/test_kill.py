from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.gallery.killed import ROWS, work

from omnireid.gallery.gallery import Gallery

KILLS = int(os.environ.get("OMNIREID_GALLERY_KILLS", "20"))


def run_and_kill(folder: Path, log: Path, first: int, delay: float) -> None:
    """Start the worker, and kill it `delay` seconds after it began to work.

    The server has imported LanceDB and never used it, so that starting a worker takes no seconds.
    """
    before = log.read_text().count("ready")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["lancedb", "tests.gallery.killed"])
    process = server.Process(target=work, args=(folder, log, first))
    process.start()
    while log.read_text().count("ready") == before:
        assert process.is_alive(), process.exitcode
        time.sleep(0.01)
    process.join(delay)
    assert process.is_alive(), process.exitcode
    process.kill()
    process.join()


@pytest.mark.slow
def test_no_kill_tears_anything_or_loses_what_was_acknowledged(tmp_path: Path) -> None:
    """The moments are random; a failure names its seed."""
    folder, log = tmp_path / "g", tmp_path / "log"
    log.touch()
    seed = random.SystemRandom().randrange(10**6)
    delays = random.Random(seed)
    lines: list[list[str]] = []
    for kill in range(KILLS):
        run_and_kill(folder, log, 101 * kill, delays.uniform(0.0, 3.0))
        lines = [line.split() for line in log.read_text().splitlines()]
        added = {int(words[1]) for words in lines if words[0] == "added"}
        begun = {int(words[1]) for words in lines if words[0] == "erasing"}
        erased = {int(words[1]) for words in lines if words[0] == "erased"}
        gallery = Gallery.open(folder)
        if gallery.model is None:
            assert not added
            continue
        problems = [problem for problem in gallery.check().problems if "An erasure was stopped" not in problem]
        assert not problems, (seed, kill)
        there = Counter(sighting.columns["batch"] for sighting in gallery.sightings())
        assert set(there.values()) <= {ROWS}, (seed, kill)
        assert added - begun <= set(there), (seed, kill)
        assert not erased & set(there), (seed, kill)
    assert {"added", "erased", "optimized"} <= {words[0] for words in lines}
