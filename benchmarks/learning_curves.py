"""Claim: from random weights, our recipe is ahead of the paper's at equal CPU time (real Market-1501, x0.25).

The baseline is the recipe ``scratch``, unchanged except for the width of the network,
on the same machine with two ranks of one thread each and the same evaluation:

    torchrun --standalone --nproc-per-node 2 -m omnireid train laptop --threads 1 --data MARKET --output RUNS/laptop
    torchrun --standalone --nproc-per-node 2 -m omnireid train scratch --model osnet_x0_25 --evaluate-every 2 \
        --threads 1 --data MARKET --output RUNS/scratch        (stopped by Ctrl-C when its time is up)

This script reads the logs of such runs, prints their scores in order of time, and
draws them in one picture. Seconds include training and evaluation.

Run: python benchmarks/learning_curves.py PICTURE.png NAME=RUN NAME=RUN …
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from omnireid.training.curves import draw_comparison
from omnireid.training.journal import read_journal


def main() -> None:
    picture, *named = sys.argv[1:]
    folders = {name: Path(folder) for name, _, folder in (word.partition("=") for word in named)}
    runs = {name: read_journal(folder) for name, folder in folders.items()}
    points = [
        (entry["seconds"], name, entry["epoch"], entry["rank1"], entry["mean_average_precision"])
        for name, entries in runs.items()
        for entry in entries
        if entry["kind"] == "evaluation"
    ]
    print(f"{'seconds':>8}  {'recipe':<10} {'epoch':>6} {'rank-1':>7} {'mAP':>6}")
    for seconds, name, epoch, rank1, average in sorted(points):
        print(f"{seconds:>8.0f}  {name:<10} {epoch:>6.1f} {100 * rank1:>7.2f} {100 * average:>6.2f}")
    draw_comparison(runs, Path(picture), "seconds", "Market-1501, osnet_x0_25 from random weights, two CPU cores")
    for name, folder in folders.items():
        environment = json.loads((folder / "run.json").read_text())["environment"]
        print(f"{name}: {environment['cpu']}, {environment['cpu_cores']} cores, torch {environment['torch']}")


if __name__ == "__main__":
    main()
