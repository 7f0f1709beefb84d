"""Claim: the calibrated probability is right to 0.02 (ECE) on Market-1501's people that it was not fitted on.

The baseline, on the same pairs, is the cosine similarity read as a probability,
which is what many programs show. The same calibration is then measured on other
data sets, before and after it is adapted with 200 labelled pairs of people who are
not measured; ten draws of people and pairs give the range. The ECE has 15 bins of
equal width, and half of the pairs are of one person.

The last table answers what a search asks: is the nearest person in the gallery the
right one? It is measured on people of whom nothing was fitted. Galleries hold one
crop of each of 180 people; half of the searches are for people in it. The
probability of the nearest crop is read with the prior that belongs there, 0.5 / 180,
and with 0.5, which does not.

Run: python benchmarks/calibration.py [MARKET [OTHER…]]
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from omnireid import (
    CalibrationOptions,
    RuntimeOptions,
    calibrate,
    load_dataset,
    load_embedder,
    people_to_calibrate,
    search,
)
from omnireid.embedding.chunks import embed_crops
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable
from omnireid.evaluation.reliability import expected_calibration_error, measure_reliability
from omnireid.evaluation.verification import Verification, adapt, verify
from omnireid.machine import describe
from omnireid.retrieval.calibration import Calibration

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PAIRS = 200
DRAWS = 10
PEOPLE = 180


def embed(embedder: Embedder, root: Path) -> EmbeddingTable:
    """Embed the people of a data set who are searched for."""
    return embed_crops(embedder, people_to_calibrate(load_dataset(root)), progress=True)


def cosine_as_probability(calibration: Calibration) -> Calibration:
    """A calibration whose probability at prior 0.5 is the cosine similarity."""
    similarities = np.linspace(0.999, 0.001, 999)
    ratios = tuple(math.log(value / (1 - value)) for value in similarities.tolist())
    values: dict[str, Any] = {"distances": tuple((1 - similarities).tolist()), "log_likelihood_ratios": ratios}
    curves = [replace(calibration.curves[0], method="cosine", **values)]
    curves += [replace(curves[0], relation=relation) for relation in ("same-camera", "other-cameras")]
    return replace(calibration, curves=tuple(curves))


def errors(found: Verification) -> dict[str, float]:
    """ECE in percent by kind of pair, time ignored."""
    return {one.curve.name: 100 * one.calibration_error.value for one in found.scores if one.curve.least_gap_s is None}


def show(name: str, runs: list[dict[str, float]]) -> None:
    """Print the mean of several runs, and their range where there are several."""
    cells = []
    for kind in runs[0]:
        values = [run[kind] for run in runs]
        spread = f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""
        cells.append(f"{kind} {np.mean(values):.2f}{spread}")
    print(f"  {name:58}{'; '.join(cells)}", flush=True)


def halves(table: EmbeddingTable) -> tuple[EmbeddingTable, EmbeddingTable]:
    """The crops of a random half of the people, and those of the others."""
    assert table.crops.person_ids is not None
    people = np.random.default_rng(0).permutation(np.unique(table.crops.person_ids))
    is_first = np.isin(table.crops.person_ids, people[::2])
    first, second = (
        EmbeddingTable(table.crops.select(part), table.embeddings[part], table.provenance)
        for part in (is_first, ~is_first)
    )
    return first, second


def measure_search(table: EmbeddingTable, calibration: Calibration) -> None:
    """Print how often the nearest crop is the right person, against what the probability says."""
    labels = table.labels
    assert labels is not None
    assert labels.camera_ids is not None
    rng = np.random.default_rng(0)
    people = np.unique(labels.person_ids)
    distances, is_right, same_camera = [], [], []
    for _ in range(20):
        drawn = rng.permutation(people)[: 2 * PEOPLE]
        enrolled = np.array([rng.choice(np.flatnonzero(labels.person_ids == person)) for person in drawn[:PEOPLE]])
        probes = []
        for person, row in zip(drawn[:PEOPLE], enrolled, strict=True):
            own = np.flatnonzero((labels.person_ids == person) & (labels.camera_ids != labels.camera_ids[row]))
            probes += [rng.choice(own)] if len(own) else []
        probes += [rng.choice(np.flatnonzero(labels.person_ids == person)) for person in drawn[PEOPLE:][: len(probes)]]
        found = search(table.embeddings[probes], table.embeddings[enrolled], 1, calibration.distance)
        nearest = enrolled[found.indices[:, 0]]
        distances.append(found.distances[:, 0])
        same_camera.append(labels.camera_ids[probes] == labels.camera_ids[nearest])
        is_right.append(labels.person_ids[probes] == labels.person_ids[nearest])
    right = np.concatenate(is_right)
    every = np.concatenate(distances)
    for prior in (0.5 / PEOPLE, 0.5):
        stated = calibration.probabilities(every, same_camera=np.concatenate(same_camera), prior=prior)
        bins = measure_reliability(stated, right, np.full(len(stated), 1 / len(stated)))
        print(
            f"  prior {prior:.4f}: stated {100 * stated.mean():.1f} % on average, right {100 * right.mean():.1f} %, "
            f"ECE {100 * expected_calibration_error(bins):.1f} %"
        )


def main() -> None:
    roots = [Path(name) for name in sys.argv[1:]]
    market, *others = roots or [DATA / "Market-1501-v15.09.15", DATA / "VIPeR", DATA / "CUHK03-part"]
    print(describe())
    embedder = load_embedder(options=RuntimeOptions(precision="fp32"))
    table = embed(embedder, market)
    started = time.perf_counter()
    found = calibrate(table, CalibrationOptions(frame_rate=25))
    print(f"{embedder.metadata.architecture}, {time.perf_counter() - started:.1f} s to fit and measure")
    print(found.table())
    print("ECE in percent")
    cosine = cosine_as_probability(found.calibration)
    show(f"{market.name}, {found.people_held_out} people held out", [errors(found)])
    show(f"{market.name}, the cosine similarity as it is", [errors(verify(table, cosine))])
    for root in others:
        other = embed(embedder, root)
        show(f"{root.name}, the cosine similarity as it is", [errors(verify(other, cosine))])
        runs = [adapt(other, found.calibration, PAIRS, seed=seed) for seed in range(DRAWS)]
        show(f"{root.name}, the calibration of {market.name}", [errors(before) for before, _ in runs])
        show(f"{root.name}, adapted by {PAIRS} pairs", [errors(after) for _, after in runs])
        own = [calibrate(other, seed=seed) for seed in range(DRAWS)]
        show(f"{root.name}, fitted on half of its people", [errors(one) for one in own])
    print(f"the nearest of {PEOPLE} people")
    fitted, searched = halves(table)
    measure_search(searched, calibrate(fitted).calibration)


if __name__ == "__main__":
    main()
