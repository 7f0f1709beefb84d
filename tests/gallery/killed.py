"""A process that adds, erases and optimizes without end, until it is killed; and what must hold after each kill.

What is done is acknowledged as a line in a file: ``added N``, ``erased N`` or ``optimized``. Before an erasure
stands ``erasing N``, because what a kill interrupts may be done or not.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from pathlib import Path

from tests.gallery.tables import table_of

from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions

ROWS = 40


def work(folder: Path, log: Path, first: int) -> None:
    """Add batch after batch from number `first` on; erase every third, and optimize after every fifth."""
    gallery = Gallery.open(folder)
    with log.open("a") as stream:

        def say(line: str) -> None:
            stream.write(line + "\n")
            stream.flush()
            os.fsync(stream.fileno())

        say("ready")
        for batch in range(first, first + 1000):
            gallery.add(table_of(ROWS, seed=batch, batch=[batch] * ROWS))
            say(f"added {batch}")
            if batch % 3 == 2:
                say(f"erasing {batch - 1}")
                gallery.remove(ErasureOptions(where=f"batch = {batch - 1}"))
                say(f"erased {batch - 1}")
            if batch % 5 == 4:
                gallery.optimize()
                say("optimized")


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


def kill_at_random_moments(place: Path, kills: int) -> Counter[str]:
    """Kill the worker again and again, and check after each kill that nothing is torn and nothing acknowledged is lost.

    Args:
        place: Folder for the gallery and the log.
        kills: Number of kills.

    Returns:
        How often each line was acknowledged, by its first word.

    Raises:
        AssertionError: something is torn or lost; the message names the seed of the moments and the kill.
    """
    folder, log = place / "g", place / "log"
    log.touch()
    seed = random.SystemRandom().randrange(10**6)
    delays = random.Random(seed)
    lines: list[list[str]] = []
    for kill in range(kills):
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
        assert not problems, (seed, kill, problems)
        there = Counter(sighting.columns["batch"] for sighting in gallery.sightings())
        assert set(there.values()) <= {ROWS}, (seed, kill, "torn")
        assert added - begun <= set(there), (seed, kill, "lost")
        assert not erased & set(there), (seed, kill, "erased sightings came back")
    return Counter(words[0] for words in lines)
