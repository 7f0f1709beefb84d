"""How well tracks agree with ground truth: HOTA, MOTA, IDF1 and identity switches.

The metrics are trackeval's; what is done here is its selection of boxes and the arrays that its metrics take. So no
folder layout is needed, nothing is printed and no file is left. A test compares all values with its own run on files.

Source: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2021; Bernardin and
Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics", EURASIP JIVP 2008; Ristani et
al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", ECCV Workshops 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from omnireid.errors import TrackingError, require
from omnireid.tracking.detections import box_overlaps
from omnireid.tracking.mot_files import PERSON_CLASS, MotTable
from omnireid.types import IntArray

_DISTRACTOR_CLASSES = (2, 7, 8, 12)
"""MOT16's classes of what looks like a person on foot: on a vehicle, static, other distractors, reflections."""
_SAME_BOX = 0.5 - np.finfo("float").eps


@dataclass(frozen=True)
class TrackScores:
    """Scores of one sequence, or of several together. Fractions, not percentages; `mota` may be negative.

    Attributes:
        hota: Higher order tracking accuracy, averaged over 19 thresholds of overlap.
        detection: The part of `hota` for detection (DetA).
        association: The part of `hota` for identity (AssA).
        mota: 1 minus the sum of missed boxes, false boxes and switches, relative to the boxes of the ground truth.
        idf1: F1 of boxes with the right identity, when each person is paired with one track at most.
        switches: How often a person's boxes pass from one track to another.
        missed: Boxes of the ground truth without a box of a track.
        false: Boxes of tracks without a box of the ground truth.
        boxes: Boxes of the ground truth.
        people: Identities of the ground truth.
        tracks: Identities of the tracks.
    """

    hota: float
    detection: float
    association: float
    mota: float
    idf1: float
    switches: int
    missed: int
    false: int
    boxes: int
    people: int
    tracks: int

    def json(self) -> dict[str, Any]:
        """Every score by name, as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class TrackEvaluation:
    """Scores of several sequences.

    Attributes:
        sequences: Scores of each sequence by name.
        combined: All sequences together, each with its own identities.
        across: All sequences as one identity space: an identity means the same person in every camera. None where that
            was not asked for.
    """

    sequences: Mapping[str, TrackScores]
    combined: TrackScores
    across: TrackScores | None = None

    def json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        named = {name: scores.json() for name, scores in self.sequences.items()}
        across = None if self.across is None else self.across.json()
        return {"sequences": named, "combined": self.combined.json(), "across_cameras": across}

    def table(self) -> str:
        """A line for each sequence, and for all of them."""
        rows = dict(self.sequences)
        if len(rows) > 1:
            rows["combined"] = self.combined
        if self.across is not None:
            rows["across cameras"] = self.across
        width = max(len(name) for name in [*rows, "sequence"])
        lines = [f"{'sequence':<{width}}   HOTA   DetA   AssA   MOTA   IDF1  switches  missed   false  people  tracks"]
        for name, scores in rows.items():
            shares = (scores.hota, scores.detection, scores.association, scores.mota, scores.idf1)
            lines.append(
                f"{name:<{width}} {' '.join(f'{share:>6.3f}' for share in shares)} {scores.switches:>9,} "
                f"{scores.missed:>7,} {scores.false:>7,} {scores.people:>7,} {scores.tracks:>7,}"
            )
        return "\n".join(lines)


def score_tracks(
    truths: Mapping[str, MotTable], results: Mapping[str, MotTable], *, across_cameras: bool = False
) -> TrackEvaluation:
    """Score tracks against ground truth, sequence by sequence and together.

    As in trackeval, boxes of the ground truth that are marked with 0 or belong to another class are not scored, and a
    box of a track that lies on somebody on a vehicle, a statue, a reflection or another distractor is left out.

    Across cameras, the sequences follow each other in one long sequence with common identities, so a person counts as
    found only where the track has the same identity in every camera. `switches` then includes those from one camera to
    the next, in the order of `truths`.

    Args:
        truths: Ground truth of each sequence.
        results: Tracks of the same sequences.
        across_cameras: Whether to score all sequences as one identity space, too.

    Raises:
        TrackingError: The sequences differ, there is none, or a ground truth has no box to score.
        MissingDependencyError: trackeval is not installed.
    """
    require("trackeval", "track", "Scoring tracks")
    _check_names(truths, results)
    pairs = {name: _leave_distractors_out(truths[name], results[name]) for name in truths}
    for name, (truth, _) in pairs.items():
        if not len(truth):
            raise TrackingError(f"The ground truth of {name} has no box of a person to score.")
    measured = {name: _measure(*pair) for name, pair in pairs.items()}
    scores = {name: _as_scores(found, *_count_identities([pairs[name]])) for name, found in measured.items()}
    combined = _as_scores(_combine(measured), *_count_identities(list(pairs.values())))
    if not across_cameras:
        return TrackEvaluation(scores, combined)
    joined = _join(list(pairs.values()))
    return TrackEvaluation(scores, combined, _as_scores(_measure(*joined), *_count_identities([joined])))


def _check_names(truths: Mapping[str, MotTable], results: Mapping[str, MotTable]) -> None:
    if not truths:
        raise TrackingError("There is no ground truth to score against.")
    if set(truths) != set(results):
        lacking = sorted(set(truths) - set(results)) or sorted(set(results) - set(truths))
        kind = "tracks" if set(truths) - set(results) else "ground truth"
        raise TrackingError(f"There are no {kind} of {', '.join(lacking)}. Score the same sequences on both sides.")


def _leave_distractors_out(truth: MotTable, result: MotTable) -> tuple[MotTable, MotTable]:
    """The boxes that count: people in the ground truth, and tracks that do not lie on a distractor."""
    from scipy.optimize import linear_sum_assignment

    distracting = np.isin(truth.classes, _DISTRACTOR_CLASSES)
    keep = np.ones(len(result), dtype=np.bool_)
    for frame in np.unique(truth.frames[distracting]).tolist():
        ours, theirs = np.flatnonzero(truth.frames == frame), np.flatnonzero(result.frames == frame)
        overlap = box_overlaps(truth.boxes[ours], result.boxes[theirs])
        overlap[overlap < _SAME_BOX] = 0
        rows, columns = linear_sum_assignment(-overlap)
        on_distractor = distracting[ours[rows]] & (overlap[rows, columns] > 0)
        keep[theirs[columns[on_distractor]]] = False
    counted = (truth.confidences.astype(np.int64) != 0) & (truth.classes == PERSON_CLASS)
    return truth.select(counted), result.select(keep)


def _join(pairs: list[tuple[MotTable, MotTable]]) -> tuple[MotTable, MotTable]:
    """Ground truth and tracks as one sequence each, in which the frames of a pair follow those of the one before."""
    lengths = [max(int(table.frames.max(initial=-1)) for table in pair) + 1 for pair in pairs]
    starts = np.cumsum([0, *lengths[:-1]]).tolist()
    return _concatenate([truth for truth, _ in pairs], starts), _concatenate([result for _, result in pairs], starts)


def _concatenate(tables: list[MotTable], starts: list[int]) -> MotTable:
    """The rows of all tables, with each table's frames moved to its start."""
    return MotTable(
        np.concatenate([table.frames + start for table, start in zip(tables, starts, strict=True)]),
        np.concatenate([table.identities for table in tables]),
        np.concatenate([table.boxes for table in tables]),
        np.concatenate([table.confidences for table in tables]),
        np.concatenate([table.classes for table in tables]),
        np.concatenate([table.visibilities for table in tables]),
    )


def _measure(truth: MotTable, result: MotTable) -> dict[str, dict[str, Any]]:
    """Values by trackeval of one sequence, by metric."""
    data = _as_trackeval_takes_it(truth, result)
    with np.errstate(all="ignore"):  # trackeval divides by zero where nothing matches, and replaces the result
        return {name: metric.eval_sequence(data) for name, metric in _metrics().items()}


def _combine(measured: Mapping[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Values by trackeval of all sequences together, by metric."""
    with np.errstate(all="ignore"):
        return {
            name: metric.combine_sequences({sequence: found[name] for sequence, found in measured.items()})
            for name, metric in _metrics().items()
        }


def _metrics() -> dict[str, Any]:
    from trackeval.metrics import CLEAR, HOTA, Identity

    quiet = {"PRINT_CONFIG": False}
    return {"hota": HOTA(), "clear": CLEAR(quiet), "identity": Identity(quiet)}


def _as_trackeval_takes_it(truth: MotTable, result: MotTable) -> dict[str, Any]:
    """The arrays of one sequence, frame by frame. Frames without any box add nothing and are left out."""
    data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    people, truth_ids = np.unique(truth.identities, return_inverse=True)
    tracks, result_ids = np.unique(result.identities, return_inverse=True)
    for frame in np.union1d(truth.frames, result.frames).tolist():
        ours, theirs = _rows_of(truth.frames, frame), _rows_of(result.frames, frame)
        data["gt_ids"].append(truth_ids[ours])
        data["tracker_ids"].append(result_ids[theirs])
        data["similarity_scores"].append(box_overlaps(truth.boxes[ours], result.boxes[theirs]))
    counts = {"num_gt_ids": len(people), "num_tracker_ids": len(tracks)}
    counts |= {"num_gt_dets": len(truth), "num_tracker_dets": len(result), "num_timesteps": len(data["gt_ids"])}
    return data | counts


def _rows_of(frames: IntArray, frame: int) -> slice:
    """The rows of a frame in a column that never falls."""
    return slice(int(np.searchsorted(frames, frame)), int(np.searchsorted(frames, frame, side="right")))


def _count_identities(pairs: list[tuple[MotTable, MotTable]]) -> tuple[int, int]:
    """Number of people and of tracks, with those of different sequences counted apart."""
    people = sum(len(np.unique(truth.identities)) for truth, _ in pairs)
    return people, sum(len(np.unique(result.identities)) for _, result in pairs)


def _as_scores(found: dict[str, dict[str, Any]], people: int, tracks: int) -> TrackScores:
    hota, clear, identity = found["hota"], found["clear"], found["identity"]
    return TrackScores(
        hota=float(np.mean(hota["HOTA"])),
        detection=float(np.mean(hota["DetA"])),
        association=float(np.mean(hota["AssA"])),
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        switches=int(clear["IDSW"]),
        missed=int(clear["CLR_FN"]),
        false=int(clear["CLR_FP"]),
        boxes=int(clear["CLR_TP"] + clear["CLR_FN"]),
        people=people,
        tracks=tracks,
    )
