"""Scores of tracks: equal to trackeval's own run on files, and across cameras."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnireid.errors import TrackingError
from omnireid.tracking.mot_files import (
    MotTable,
    SequenceInfo,
    read_tracks,
    write_ground_truth,
    write_results,
    write_sequence_info,
)
from omnireid.tracking.scoring import TrackScores, score_tracks

pytest.importorskip("trackeval")


def crossing(swap: bool, *, identities: tuple[int, int] = (1, 2), frames: int = 10) -> MotTable:
    """Two people who walk side by side; with `swap`, their identities change places half way."""
    rows = [(frame, person) for frame in range(frames) for person in (0, 1)]
    boxes = [(10 + 2 * frame, 100 * person, 50 + 2 * frame, 100 * person + 90) for frame, person in rows]
    named = [identities[person ^ (swap and frame >= frames // 2)] for frame, person in rows]
    ones = np.ones(len(rows))
    return MotTable(
        np.array([frame for frame, _ in rows]),
        np.array(named),
        np.array(boxes, dtype=np.float64),
        ones,
        ones.astype(np.int64),
        ones,
    )


def blurred(table: MotTable, generator: np.random.Generator) -> MotTable:
    """Tracks as a tracker might give them: boxes are moved, missing and renamed."""
    kept = table.select(generator.random(len(table)) > 0.2)
    moved = kept.boxes + generator.normal(0, 6, kept.boxes.shape)
    renamed = np.where(generator.random(len(kept)) < 0.15, kept.identities + 40, kept.identities)
    return MotTable(kept.frames, renamed, moved.round(2), kept.confidences, np.ones_like(renamed), np.ones(len(kept)))


def by_trackeval(folder: Path, truths: Mapping[str, MotTable], results: Mapping[str, MotTable]) -> dict[str, Any]:
    """Results of trackeval's own run on files, with the preprocessing of MOT17."""
    import trackeval

    for name, truth in truths.items():
        write_ground_truth(folder / "truth" / name / "gt" / "gt.txt", truth)
        write_results(folder / "trackers" / "ours" / "data" / f"{name}.txt", results[name])
        write_sequence_info(folder / "truth" / name / "seqinfo.ini", SequenceInfo(name, int(truth.frames.max()) + 1))
    config: dict[str, Any] = {
        "GT_FOLDER": str(folder / "truth"),
        "TRACKERS_FOLDER": str(folder / "trackers"),
        "BENCHMARK": "MOT17",
    }
    config |= {"SKIP_SPLIT_FOL": True, "SEQ_INFO": dict.fromkeys(truths), "PRINT_CONFIG": False}
    quiet = {"PRINT_RESULTS": False, "PRINT_CONFIG": False, "TIME_PROGRESS": False, "PLOT_CURVES": False}
    quiet |= {"OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False, "BREAK_ON_ERROR": True, "USE_PARALLEL": False}
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet)]
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        dataset = trackeval.datasets.MotChallenge2DBox(config)
        found, _ = trackeval.Evaluator(quiet).evaluate([dataset], metrics)
    sequences: dict[str, Any] = found["MotChallenge2DBox"]["ours"]
    return {name: values["pedestrian"] for name, values in sequences.items()}


def assert_equal_scores(ours: TrackScores, theirs: dict[str, Any]) -> None:
    assert ours.hota == np.mean(theirs["HOTA"]["HOTA"])
    assert ours.association == np.mean(theirs["HOTA"]["AssA"])
    assert ours.detection == np.mean(theirs["HOTA"]["DetA"])
    assert (ours.mota, ours.switches) == (theirs["CLEAR"]["MOTA"], theirs["CLEAR"]["IDSW"])
    assert (ours.missed, ours.false) == (theirs["CLEAR"]["CLR_FN"], theirs["CLEAR"]["CLR_FP"])
    assert ours.idf1 == theirs["Identity"]["IDF1"]


def test_scores_equal_trackevals_own_with_distractors_and_ignored_boxes(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    truths, results = {}, {}
    for name in ("a", "b"):
        truth = crossing(False, frames=30)
        classes = generator.choice([1, 1, 1, 1, 7, 3], size=len(truth))
        flags = generator.choice([1.0, 1, 1, 0], size=len(truth))
        columns = (truth.frames, truth.identities, truth.boxes, flags, classes, truth.visibilities)
        truths[name], results[name] = MotTable(*columns), blurred(truth, generator)
    theirs = by_trackeval(tmp_path, truths, results)
    ours = score_tracks(truths, results)
    for name, scores in ours.sequences.items():
        assert_equal_scores(scores, theirs[name])
        assert 0 < scores.hota < 1
    assert_equal_scores(ours.combined, theirs["COMBINED_SEQ"])


def test_a_perfect_result_scores_1_and_a_swap_of_identities_is_two_switches() -> None:
    truth = crossing(False)
    perfect = score_tracks({"a": truth}, {"a": truth}).combined
    assert (perfect.hota, perfect.mota, perfect.idf1, perfect.switches) == (1, 1, 1, 0)
    swapped = score_tracks({"a": truth}, {"a": crossing(True)}).combined
    assert (swapped.idf1, swapped.switches, swapped.mota) == (0.5, 2, 0.9)


def test_another_identity_in_the_second_camera_counts_only_across_cameras() -> None:
    truths = {"camera-1": crossing(False), "camera-2": crossing(False)}
    apart = {"camera-1": crossing(False), "camera-2": crossing(False, identities=(8, 9))}
    evaluation = score_tracks(truths, apart, across_cameras=True)
    assert evaluation.combined.idf1 == 1
    assert evaluation.across is not None
    assert (evaluation.across.idf1, evaluation.across.people, evaluation.across.tracks) == (0.5, 2, 4)
    together = score_tracks(truths, truths, across_cameras=True).across
    assert together is not None
    assert (together.idf1, together.hota, together.people) == (1, 1, 2)


def test_no_track_at_all_scores_0() -> None:
    truth = crossing(False)
    scores = score_tracks({"a": truth}, {"a": truth.select(truth.frames < 0)}, across_cameras=True).combined
    assert (scores.hota, scores.idf1, scores.missed, scores.tracks) == (0, 0, 20, 0)


def test_sequences_of_one_side_only_are_refused() -> None:
    truth = crossing(False)
    with pytest.raises(TrackingError, match="no tracks of b"):
        score_tracks({"a": truth, "b": truth}, {"a": truth})
    with pytest.raises(TrackingError, match="no ground truth of b"):
        score_tracks({"a": truth}, {"a": truth, "b": truth})
    with pytest.raises(TrackingError, match="has no box of a person"):
        score_tracks({"a": truth.select(truth.frames < 0)}, {"a": truth})


@pytest.mark.real
def test_the_published_case_is_reproduced(shared: Path) -> None:
    folder = shared / "data" / "tracking" / "reference_results"
    names = ("TUD-Campus", "TUD-Stadtmitte")
    truths = {name: read_tracks(folder / name / "gt" / "gt.txt") for name in names}
    results = {name: read_tracks(folder / "results" / f"{name}.txt") for name in names}
    scores = score_tracks(truths, results).combined
    rounded = (round(scores.hota, 3), round(scores.idf1, 3), round(scores.mota, 3), scores.switches)
    assert rounded == (0.400, 0.624, 0.555, 14)
