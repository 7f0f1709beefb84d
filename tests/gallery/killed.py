"""A process that adds, erases and optimizes without end, until it is killed.

What is done is acknowledged as a line in a file: ``added N``, ``erased N`` or ``optimized``. Before an erasure
stands ``erasing N``, because what a kill interrupts may be done or not.
"""

from __future__ import annotations

import os
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
