"""Claim: ``omnireid --help`` answers in under 0.5 s. Baseline: an empty Python process on the same machine.

Run: python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from machine import describe

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "omnireid --help": [sys.executable, "-m", "omnireid", "--help"],
    "omnireid evaluate --help": [sys.executable, "-m", "omnireid", "evaluate", "--help"],
    "import omnireid": [sys.executable, "-c", "import omnireid"],
}


def median_seconds(words: list[str]) -> float:
    """Median wall-clock time of RUNS runs, after one that warms the disk cache."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    seconds = {name: median_seconds(words) for name, words in COMMANDS.items()}
    baseline = seconds["python -c pass"]
    print(f"{'command':<26} {'seconds':>8} {'ratio':>6}")
    for name, value in seconds.items():
        print(f"{name:<26} {value:>8.3f} {value / baseline:>6.1f}")
    print(describe())


if __name__ == "__main__":
    main()
