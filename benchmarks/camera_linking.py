"""Claim: IDF1 over four drawn cameras is at least 0.90, and linking finds most of Market-1501's people by tracklets.

footage: the footage of `omnireid synthesize-video` with its own detections is tracked by camera and linked, with the
default weights and settings. Every row scores all cameras as one identity space. The baselines are tracklets as
the motion tracker leaves them, and people of single cameras that are never linked. The last row gives every
tracklet the person it shows most: no linking could do better.

market: the crops of Market-1501's test people, grouped to tracklets by person, camera and sequence, as their names
say. The score is the F1 of pairs of tracklets. With times, the frame numbers are times at 25 frames a second, and
sequences lie a day apart; without, no clock is known. All cameras overlap, which is said. The baselines are average
linkage by plain distances, with the threshold that is best on these very people, and the learned mixture without
the normalisation by camera.

Settings were chosen on drawn footage of seeds 1 to 3 and on 250 of Market-1501's 750 test people (drawn with seed 1);
figures are of seed 0, and of the other 500 people.

Run: python benchmarks/camera_linking.py footage [SEED…]
     python benchmarks/camera_linking.py market MARKET [PEOPLE]
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from omnireid import load_embedder
from omnireid.data.market_names import market_frame, market_ids
from omnireid.embedding.embedder import Embedder
from omnireid.machine import describe
from omnireid.synthetic.footage import START_TIME, synthesize_video
from omnireid.synthetic.footage_plan import FootagePlan
from omnireid.tracking.agglomeration import group_members
from omnireid.tracking.camera_appearance import learn_mixture
from omnireid.tracking.camera_linking import link_cameras
from omnireid.tracking.camera_linking_options import CameraLinkingOptions
from omnireid.tracking.camera_tables import join_tables
from omnireid.tracking.detection_files import read_detections_of_video
from omnireid.tracking.detections import box_overlaps
from omnireid.tracking.mot_files import NO_IDENTITY, MotTable, read_tracks
from omnireid.tracking.recording import track_recording
from omnireid.tracking.results import identified_boxes
from omnireid.tracking.scoring import score_tracks
from omnireid.tracking.stays import collect_stays, mean_distances, number_cameras
from omnireid.tracking.track_table import Recording, TrackTable
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.video import open_video
from omnireid.tracking.windows import detections_of_table

RATE = 25.0
DAY_S = 86_400.0
CHOSEN_ON = 250
People = Mapping[tuple[str, int], int]


def track_footage(embedder: Embedder, folder: Path) -> TrackTable:
    """Track every camera of a folder of footage."""
    tables = {}
    for camera in sorted(path for path in folder.iterdir() if path.is_dir()):
        detect = detections_of_table(read_detections_of_video(camera / "det" / "det.txt"))
        with open_video(camera / "video.mp4") as video:
            tracked = track_recording(video, detect, embedder, camera=camera.name, started=START_TIME)
        tables[camera.name] = tracked.table
    return join_tables(tables)


def as_results(table: TrackTable, people: People) -> dict[str, MotTable]:
    """The boxes of each camera with people as identities."""
    results = {}
    for camera in table.recordings:
        own = [one for one in table.tracklets if one.camera == camera]
        results[camera] = identified_boxes(own, {one.number: people[camera, one.number] for one in own})
    return results


def true_person(tracklet: Tracklet, truth: MotTable) -> int:
    """The person whose boxes a tracklet covers most often, or nobody."""
    seen: Counter[int] = Counter()
    for frame, box in zip(tracklet.frames.tolist(), tracklet.boxes.astype(np.float64), strict=True):
        rows = np.flatnonzero(truth.frames == frame)
        overlaps = box_overlaps(box[None], truth.boxes[rows])[0] if len(rows) else np.zeros(1)
        if overlaps.max() >= 0.5:
            seen[int(truth.identities[rows[overlaps.argmax()]])] += 1
    return seen.most_common(1)[0][0] if seen else NO_IDENTITY


def score_footage(seed: int) -> None:
    """Draw, track, link and score footage of one seed."""
    plan = FootagePlan(seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "footage"
        synthesize_video(root, plan, progress=True)
        truths = {view: read_tracks(root / view / "gt" / "gt.txt") for view in sorted(_views(root))}
        table = track_footage(load_embedder(), root)
    keys = [(one.camera, one.number) for one in table.tracklets]
    single = {
        (camera, person): row
        for row, (camera, person) in enumerate(dict.fromkeys((key[0], table.people[key]) for key in keys))
    }
    best = {}
    for row, one in enumerate(table.tracklets):
        person = true_person(one, truths[one.camera])
        best[one.camera, one.number] = 100_000 + row if person == NO_IDENTITY else person
    rows: dict[str, People] = {
        "tracklets alone": {key: row for row, key in enumerate(keys)},
        "people of single cameras (linking off)": {key: single[key[0], table.people[key]] for key in keys},
        "linked, looks alone": link_cameras(table, CameraLinkingOptions(learn_times=False)).table.people,
        "linked": link_cameras(table).table.people,
        "every tracklet its true person": best,
    }
    print(f"seed {seed}: {plan.cameras} cameras, {plan.people} people, {plan.seconds:g} s, {len(keys)} tracklets")
    for name, people in rows.items():
        scores = score_tracks(truths, as_results(table, people), across_cameras=True).across
        assert scores is not None
        print(
            f"  {name:<40} IDF1 {scores.idf1:.3f}   HOTA {scores.hota:.3f}   switches {scores.switches:>3}   "
            f"people {len(set(people.values())):>3} (true: {scores.people})",
            flush=True,
        )


def _views(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.is_dir()]


def market_tracks(
    embedder: Embedder, root: Path, count: int | None, *, skip: int = CHOSEN_ON
) -> tuple[list[Tracklet], list[int]]:
    """Tracklets of test people, without those on whom settings were chosen, and whom each shows."""
    crops: dict[tuple[int, int, int], dict[int, Path]] = {}
    for path in sorted(path for part in ("query", "bounding_box_test") for path in (root / part).glob("*.jpg")):
        ids, frame = market_ids(path.name), market_frame(path.name)
        if ids is not None and frame is not None and ids[0] > 0:
            crops.setdefault((ids[0], ids[1], frame[0]), {}).setdefault(frame[1], path)
    drawn = np.random.default_rng(1).permutation(sorted({person for person, _, _ in crops}))[skip:]
    people = set(drawn[:count].tolist())
    keys = [key for key in sorted(crops) if key[0] in people]
    paths = [path for key in keys for _, path in sorted(crops[key].items())]
    embeddings = embedder.embed(paths, progress=True)
    tracklets, row = [], 0
    for number, key in enumerate(keys):
        frames = np.array(sorted(crops[key]), dtype=np.int64)
        own = np.arange(len(frames))
        boxes = np.tile(np.array([0, 0, 64, 128], np.float32), (len(own), 1))
        ones = np.ones(len(own), np.float32)
        times = frames / RATE + DAY_S * key[2]
        part = embeddings[row : row + len(own)]
        tracklets.append(Tracklet(f"c{key[1]}", number, frames, times, boxes, ones, own, part, ones))
        row += len(own)
    return tracklets, [key[0] for key in keys]


def pairwise(groups: Sequence[int], truth: Sequence[int]) -> tuple[float, float, float]:
    """F1, precision and recall of pairs, in percent."""

    def pairs(counts: Counter[object]) -> int:
        return sum(count * (count - 1) // 2 for count in counts.values())

    both = pairs(Counter(zip(groups, truth, strict=True)))
    precision, recall = both / max(pairs(Counter(groups)), 1), both / pairs(Counter(truth))
    return 200 * precision * recall / max(precision + recall, 1e-9), 100 * precision, 100 * recall


def score_market(root: Path, count: int | None) -> None:
    """Link Market-1501's tracklets, and score the pairs."""
    embedder = load_embedder()
    tracklets, truth = market_tracks(embedder, root, count)
    cameras = sorted({one.camera for one in tracklets})
    overlap = tuple(f"{one}:{other}" for one, other in combinations(cameras, 2))
    made = asdict(embedder.metadata.preprocessing)
    clocks = {camera: Recording(1920, 1080, START_TIME) for camera in cameras}
    table = TrackTable(tuple(tracklets), {}, clocks, embedder.weights_sha256, made)
    dateless = replace(table, recordings={camera: Recording(1920, 1080) for camera in cameras})
    print(f"{len(set(truth))} people, {len(truth)} tracklets, {sum(len(one.frames) for one in tracklets)} crops")

    def show(name: str, groups: Sequence[int]) -> None:
        f1, precision, recall = pairwise(groups, truth)
        print(
            f"  {name:<55} F1 {f1:.1f} (precision {precision:.1f}, recall {recall:.1f})   {len(set(groups))} people",
            flush=True,
        )

    stays = collect_stays(table, decided=False)
    order = [stay.tracklets[0].number for stay in stays]
    distances = mean_distances(stays)
    numbers, _ = number_cameras(stays)
    nothing = np.zeros(distances.shape, dtype=bool)
    start = np.arange(len(stays))
    by_threshold = {
        float(limit): group_members(limit - distances, nothing, start, 0.0) for limit in np.arange(0.3, 0.6, 0.025)
    }
    ordered = [truth[number] for number in order]
    best = max(by_threshold, key=lambda limit: pairwise(by_threshold[limit].tolist(), ordered)[0])
    f1, precision, recall = pairwise(by_threshold[best].tolist(), ordered)
    print(
        f"  {'plain distances, best threshold ' + format(best, '.3f'):<55} F1 {f1:.1f} (precision {precision:.1f}, "
        f"recall {recall:.1f})   {by_threshold[best].max() + 1} people"
    )
    plain = learn_mixture(distances, numbers)
    if plain is not None:
        groups = group_members(plain.log_odds(distances), nothing, start, 0.0)
        f1, precision, recall = pairwise(groups.tolist(), ordered)
        print(
            f"  {'learned, without normalisation':<55} F1 {f1:.1f} (precision {precision:.1f}, recall {recall:.1f})   "
            f"{groups.max() + 1} people"
        )
    for name, given, options in (
        ("link, no clock", dateless, CameraLinkingOptions(overlap=overlap)),
        ("link, times learned", table, CameraLinkingOptions(overlap=overlap)),
        ("link, times learned, probability 0.9", table, CameraLinkingOptions(overlap=overlap, probability=0.9)),
    ):
        people = link_cameras(given, options).table.people
        show(name, [people[one.camera, one.number] for one in tracklets])


def main() -> None:
    """Run one of both."""
    print(describe())
    if sys.argv[1:2] == ["market"]:
        score_market(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
    elif sys.argv[1:2] == ["footage"]:
        for seed in map(int, sys.argv[2:] or ["0"]):
            score_footage(seed)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
