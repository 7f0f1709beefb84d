"""Claim: 2,400 crops are drawn in under 30 s. The baseline, in the same run, is one worker instead of one per core.

Run: python benchmarks/synthesis.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from omnireid import synthesize
from omnireid.machine import describe, usable_cores


def seconds(folder: Path, workers: int) -> float:
    start = time.perf_counter()
    synthesize(folder, identities=100, cameras=6, per_camera=4, seed=0, workers=workers)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        cores = usable_cores()
        one, all_of_them = seconds(Path(place) / "one", 1), seconds(Path(place) / "all", cores)
        crops = len(list((Path(place) / "all").rglob("*.jpg")))
        print(f"{crops:,} crops, 1 worker: {one:.1f} s; {cores}: {all_of_them:.1f} s, ratio {one / all_of_them:.2f}")
        same = all(
            path.read_bytes() == (Path(place) / "one" / path.relative_to(Path(place) / "all")).read_bytes()
            for path in (Path(place) / "all").rglob("*.jpg")
        )
        print(f"the same bytes: {same}")
        print(describe().text())


if __name__ == "__main__":
    main()
