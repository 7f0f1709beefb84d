"""Claim: linked tracks give a calibration that is right to 0.02 (ECE), without a label.

Half of Market-1501's test people give the calibrations, the others measure them. With labels, `omnireid calibrate`
fits on the first half's crops. Without, the same crops are grouped to tracks by person, camera and sequence, as
their names say, and nobody is told which tracks show one person: crops of one track are the same person, and tracks
in one frame are different people. The last row links these tracks across cameras first, as `omnireid link` does,
and takes the linked people as they come, wrong links included.

ECE in percent, by kind of pair, on the same pairs of the second half; half of the pairs are of one person.

Run: python benchmarks/calibration_tracks.py MARKET
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np

from camera_linking import market_tracks
from omnireid import CalibrationOptions, load_embedder
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.evaluation.track_calibration import calibrate_tracks
from omnireid.evaluation.verification import calibrate, verify
from omnireid.machine import describe
from omnireid.retrieval.calibration import Calibration
from omnireid.synthetic.footage import START_TIME
from omnireid.tracking.camera_linking import link_cameras
from omnireid.tracking.camera_linking_options import CameraLinkingOptions
from omnireid.tracking.track_table import Recording, TrackTable
from omnireid.tracking.tracklets import Tracklet
from omnireid.types import Crops
from omnireid.version import __version__

OPTIONS = CalibrationOptions(distance="cosine", hold_out=0.1)


def labelled(tracklets: list[Tracklet], people: list[int], embedder: Embedder) -> EmbeddingTable:
    """The crops of tracklets with the people that their names say."""
    counts = [len(one.frames) for one in tracklets]
    paths = [Path(f"{one.camera}-{one.number}-{frame}") for one in tracklets for frame in one.frames.tolist()]
    cameras = np.repeat([int(one.camera[1:]) for one in tracklets], counts)
    made = embedder.metadata
    provenance = Provenance(
        embedder.weights_sha256, made.architecture, asdict(made.preprocessing), "cosine", made.licence, __version__
    )
    crops = Crops(tuple(paths), np.repeat(people, counts), cameras)
    return EmbeddingTable(crops, np.concatenate([one.embeddings for one in tracklets]), provenance)


def as_tracks(tracklets: list[Tracklet], embedder: Embedder) -> TrackTable:
    """The same crops as tracks, without people."""
    cameras = sorted({one.camera for one in tracklets})
    clocks = {camera: Recording(1920, 1080, START_TIME) for camera in cameras}
    return TrackTable(tuple(tracklets), {}, clocks, embedder.weights_sha256, asdict(embedder.metadata.preprocessing))


def show(name: str, calibration: Calibration, measured: EmbeddingTable) -> None:
    """Print the calibration error of each kind of pair for which there is a curve."""
    cells = [
        f"{one.curve.name} {100 * one.calibration_error.value:.2f}" for one in verify(measured, calibration).scores
    ]
    print(f"  {name:<55}{'; '.join(cells)}", flush=True)


def main() -> None:
    """Fit three calibrations on one half of the people, and measure them on the other."""
    print(describe())
    embedder = load_embedder()
    tracklets, people = market_tracks(embedder, Path(sys.argv[1]), None, skip=0)
    first = set(np.random.default_rng(0).permutation(sorted(set(people)))[::2].tolist())
    halves = [[row for row, person in enumerate(people) if (person in first) == side] for side in (True, False)]
    (fit, fit_people), (_, _) = parts = [
        ([tracklets[row] for row in rows], [people[row] for row in rows]) for rows in halves
    ]
    measured = labelled(*parts[1], embedder)
    print(f"{len(first)} people, {len(fit)} tracks to fit; {len(measured)} crops of the others to measure")
    show("with labels", calibrate(labelled(fit, fit_people, embedder), OPTIONS).calibration, measured)
    tracks = as_tracks(fit, embedder)
    show("tracks alone", calibrate_tracks(tracks, OPTIONS).calibration, measured)
    cameras = sorted(tracks.recordings)
    overlap = tuple(f"{one}:{other}" for one, other in combinations(cameras, 2))
    linked = link_cameras(tracks, CameraLinkingOptions(overlap=overlap)).table
    show("tracks, linked across cameras", calibrate_tracks(linked, OPTIONS).calibration, measured)


if __name__ == "__main__":
    main()
