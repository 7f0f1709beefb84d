"""Claim: linking halves the identity switches of the motion tracker, and IDF1 gains five points where there is a gap.

For each sequence with pictures, HOTA, IDF1, MOTA and identity switches of: each motion tracker of the package
`trackers` alone, as that package sets it; the best of them by IDF1 with short gaps filled, to show what filling alone
does; ours, which is the default tracker followed by cutting, linking and filling; ours with one part changed; an
oracle, which gives each of our tracklets the person that most of its boxes show. The oracle is what better linking
could still gain. Detections are the sequences' own public ones, and frame rates are those of `seqinfo.ini`. Of
sequences without pictures: each motion tracker alone, because nothing is linked without appearance.

Run: python benchmarks/tracking.py ../shared/data/tracking [weights …]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnireid.embedding.embedder import Embedder, load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.machine import describe
from omnireid.tracking.assembly import TrackletAssembly
from omnireid.tracking.detections import FrameDetections, box_overlaps
from omnireid.tracking.linking import link_recording
from omnireid.tracking.mot_files import MotTable, SequenceInfo, read_detections, read_sequence_info, read_tracks
from omnireid.tracking.motion import follow_boxes
from omnireid.tracking.results import identified_boxes
from omnireid.tracking.scoring import TrackScores, score_tracks
from omnireid.tracking.stillness import found_again
from omnireid.tracking.tracking_options import MOTION_TRACKERS, LinkingOptions, MotionOptions, TrackingOptions
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.video import open_video
from omnireid.tracking.windows import Window, detected, detections_of_table, watch
from omnireid.weights.shipped import DEFAULT_WEIGHTS

FILL_S = 2.0
OURS = TrackingOptions()
VARIANTS = {
    "ours": LinkingOptions(),
    "ours, greedy": LinkingOptions(method="greedy"),
    "ours, nothing cut": LinkingOptions(cut=False),
}


def frames_of(table: MotTable, info: SequenceInfo) -> Iterator[tuple[FrameDetections, float]]:
    """Every frame of a sequence with its time; frames without a person have no boxes."""
    found = table.detections()
    nobody = FrameDetections(0, np.empty((0, 4), np.float32), np.empty(0, np.float32))
    for frame in range(info.frames):
        yield found.get(frame, replace(nobody, frame=frame)), frame / (info.frame_rate or 25)


def follow(table: MotTable, info: SequenceInfo, motion: MotionOptions) -> list[Tracklet]:
    """Tracklets without embeddings."""
    assembly = TrackletAssembly(info.name, 1, OURS.crops.most_crops)
    for followed in follow_boxes(frames_of(table, info), info.frame_rate or 25, motion):
        assembly.add(Window((), (followed,), {}))
    return assembly.take_all()


def follow_and_embed(table: MotTable, info: SequenceInfo, video: Path, embedder: Embedder) -> list[Tracklet]:
    """Tracklets with the embeddings of their good crops, as `omnireid track` makes them."""
    assembly = TrackletAssembly(info.name, embedder.metadata.embedding_dimension, OURS.crops.most_crops)
    with open_video(video) as opened:
        frames = detected(opened.frames(), detections_of_table(table))
        for window in watch(frames, embedder, opened.rate, OURS.motion, OURS.crops):
            assembly.add(window)
    return assembly.take_all()


def show_oracle(tracklets: Sequence[Tracklet], truth: MotTable) -> dict[int, int]:
    """Each tracklet's number to the person that most of its boxes show; a number of its own where they show nobody."""
    people = {}
    for tracklet in tracklets:
        seen = []
        for frame, box in zip(tracklet.frames.tolist(), tracklet.boxes.astype(np.float64), strict=True):
            rows = np.flatnonzero((truth.frames == frame) & (truth.confidences != 0))
            overlaps = box_overlaps(box[None], truth.boxes[rows])[0]
            if len(rows) and overlaps.max() >= 0.5:
                seen.append(int(truth.identities[rows[int(np.argmax(overlaps))]]))
        values, counts = np.unique(seen, return_counts=True)
        people[tracklet.number] = int(values[np.argmax(counts)]) if seen else 1_000_000 + tracklet.number
    return people


def score(
    name: str, truth: MotTable, tracklets: Sequence[Tracklet], people: Mapping[int, int], fill_s: float
) -> TrackScores:
    return score_tracks({name: truth}, {name: identified_boxes(tracklets, people, fill_s)}).sequences[name]


def leave(sequence: str, method: str, scores: TrackScores) -> None:
    print(
        f"| {sequence} | {method} | {100 * scores.hota:.1f} | {100 * scores.idf1:.1f} | {100 * scores.mota:.1f} |"
        f" {scores.switches} | {scores.tracks} |",
        flush=True,
    )


def alone(tracklets: Sequence[Tracklet]) -> dict[int, int]:
    return {tracklet.number: tracklet.number for tracklet in tracklets}


def measure_motion(info: SequenceInfo, truth: MotTable, table: MotTable) -> TrackScores:
    """Score every motion tracker alone; returns the scores of the one with the highest IDF1."""
    found = []
    for tracker in MOTION_TRACKERS:
        tracklets = follow(table, info, MotionOptions(tracker))
        found.append((score(info.name, truth, tracklets, alone(tracklets), 0), tracker, tracklets))
        leave(info.name, f"{tracker} alone", found[-1][0])
    share = found_again(found[0][2], FILL_S)
    print(f"<!-- {info.name}: {share:.0%} of the boxes halfway over {FILL_S:.0f} s are found by interpolation -->")
    best, tracker, tracklets = max(found, key=lambda one: one[0].idf1)
    leave(info.name, f"{tracker} alone, gaps filled", score(info.name, truth, tracklets, alone(tracklets), FILL_S))
    return best


def measure_ours(
    info: SequenceInfo, truth: MotTable, tracklets: Sequence[Tracklet], name: str, best: TrackScores
) -> None:
    for variant, options in VARIANTS.items():
        linked = link_recording(tracklets, options=options)
        scores = score(info.name, truth, linked.tracklets, linked.people, FILL_S)
        leave(info.name, f"{variant}, {name}", scores)
        if variant == "ours":
            ours, cut = scores, linked
    leave(info.name, f"ours, gaps left, {name}", score(info.name, truth, cut.tracklets, cut.people, 0))
    oracle = show_oracle(cut.tracklets, truth)
    leave(info.name, f"oracle, {name}", score(info.name, truth, cut.tracklets, oracle, FILL_S))
    halved = "met" if ours.switches <= best.switches / 2 else "missed"
    gained = 100 * (ours.idf1 - best.idf1)
    print(
        f"<!-- {info.name}: switches {best.switches} to {ours.switches}, half: {halved}; IDF1 {gained:+.1f}, "
        f"five points: {'met' if gained >= 5 else 'missed'} -->"
    )


def main() -> None:
    folder = Path(sys.argv[1])
    options = RuntimeOptions(precision="fp32")
    embedders = {Path(weights).stem: load_embedder(weights, options) for weights in sys.argv[2:] or [DEFAULT_WEIGHTS]}
    print("| sequence | method | HOTA | IDF1 | MOTA | switches | identities |\n|---|---|---|---|---|---|---|")
    for place in sorted(path.parent for path in folder.glob("*/det/")):
        info = read_sequence_info(place / "seqinfo.ini")
        truth = read_tracks(place / "gt" / "gt.txt")
        table = read_detections(place / "det" / "det.txt")
        best = measure_motion(info, truth, table)
        videos = sorted(place.glob("video.*"))
        for name, embedder in embedders.items() if videos else ():
            measure_ours(info, truth, follow_and_embed(table, info, videos[0], embedder), name, best)
    print(describe().text())


if __name__ == "__main__":
    main()
