"""Claim: crops with nearly the same gates show the same person, or come from the same camera, more often than chance.

The paper shows crops whose gates in one block are alike and concludes that gates learn visual concepts. Here this is
counted: for each crop of a set, how many of its five nearest by the gates of a block show the same person, and how
many come from the same camera? The baseline is the share among all other crops of the set. Blocks whose gates are the
same for every crop are left out.

Run: python benchmarks/nearest_gates.py WEIGHTS FOLDER
"""

from __future__ import annotations

import sys

import numpy as np

from omnireid import RuntimeOptions, load_embedder, measure_gates
from omnireid.data.listing import list_crops
from omnireid.explanation.gates import find_nearest_gates
from omnireid.machine import describe
from omnireid.types import IntArray

NEAREST = 5


def share_alike(labels: IntArray, nearest: IntArray) -> tuple[float, float]:
    """The share of nearest crops with the crop's own label, and that of all other crops."""
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    found = (labels[nearest] == labels[:, None]).mean()
    return float(found), float((counts[numbers] - 1).mean() / (len(labels) - 1))


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    embedder = load_embedder(sys.argv[1], RuntimeOptions(runtime="onnxruntime"))
    gates = measure_gates(embedder, list_crops([sys.argv[2]]), progress=True)
    people, cameras = gates.crops.person_ids, gates.crops.camera_ids
    if people is None or cameras is None:
        raise SystemExit(f"{sys.argv[2]} names no people and cameras.")
    steady = gates.steady_blocks()
    print(f"{gates.architecture}, {len(gates):,} crops, the {NEAREST} nearest of each")
    print(f"{'block':<10}{'same person':>12}{'chance':>8}{'ratio':>7}{'same camera':>13}{'chance':>8}{'ratio':>7}")
    for block in gates.blocks:
        if block in steady:
            print(f"{block:<10} gives every crop the same weights")
            continue
        nearest = find_nearest_gates(gates, gates, NEAREST, block).indices
        cells = [share_alike(labels, nearest) for labels in (people, cameras)]
        print(f"{block:<10}" + "".join(f"{a:>12.1%}{b:>8.2%}{a / b:>7.1f} " for a, b in cells))
    print(describe().text())


if __name__ == "__main__":
    main()
