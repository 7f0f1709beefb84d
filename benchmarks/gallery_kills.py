"""Claim: a kill at any moment of adding, erasing and optimizing tears nothing and loses nothing that was acknowledged.

A process adds batches, erases every third and optimizes after every fifth, and writes down what it was told. It is
killed (SIGKILL) at random moments of its first three seconds, again and again on the same gallery. After each kill the
gallery must be sound, every batch whole or absent, every acknowledged batch there, and no erased one. The test
tests/gallery/test_kill.py does the same 20 times. Expect 10 to 15 minutes for 200 kills.

Run: python benchmarks/gallery_kills.py [KILLS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.gallery.killed import ROWS, kill_at_random_moments

from omnireid.machine import describe


def main(kills: int) -> None:
    """Kill, check, and count."""
    print(describe())
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="omnireid-kills-") as place:
        done = kill_at_random_moments(Path(place), kills)
    acknowledged = (
        f"{done['added']:,} batches of {ROWS} added, {done['erased']:,} erased, {done['optimized']:,} optimized"
    )
    print(f"{kills:,} kills in {time.perf_counter() - began:.0f} s; acknowledged: {acknowledged}")
    print(f"{done['erasing'] - done['erased']:,} erasures were cut short; nothing torn, nothing acknowledged lost")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
