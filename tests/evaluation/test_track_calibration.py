from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnireid import read_calibration
from omnireid.cli import main
from omnireid.errors import CalibrationError
from omnireid.evaluation.options import CalibrationOptions
from omnireid.evaluation.track_calibration import calibrate_tracks, collect_crops, draw_track_pairs
from omnireid.tracking.track_table import Recording, TrackTable, write_track_table
from omnireid.tracking.tracklets import Tracklet

CAMERAS = ("door", "yard")


def track(camera: str, number: int, person: int, first: int) -> Tracklet:
    """Ten crops, half a second apart, of one of many people, whose looks change a little with every crop and camera."""
    frames = np.arange(first, first + 50, 5, dtype=np.int64)
    looks = np.random.default_rng(person).normal(size=24)
    change = np.random.default_rng([number, len(camera)]).normal(0, 0.5, (10, 24))
    boxes = np.tile(np.array([0, 0, 40, 100], np.float32), (10, 1))
    ones, rows = np.ones(10, np.float32), np.arange(10)
    return Tracklet(camera, number, frames, frames / 10, boxes, ones, rows, (looks + change).astype(np.float32), ones)


def tracks(cameras: tuple[str, ...] = ("door",), people: int = 90) -> TrackTable:
    """Three people at once, five seconds long, again and again."""
    made = [track(camera, n, n, n // 3 * 100) for camera in cameras for n in range(people)]
    recordings = {camera: Recording(640, 480) for camera in cameras}
    return TrackTable(tuple(made), {}, recordings, "a" * 64, {"height": 256})


def test_pairs_are_of_one_track_or_of_one_frame() -> None:
    table = tracks(people=9)
    crops = collect_crops(table)
    pairs = draw_track_pairs(table, crops)
    same = crops.tracks[pairs.first] == crops.tracks[pairs.second]
    np.testing.assert_array_equal(pairs.is_same, same)
    assert pairs.same_camera.all()
    assert same.sum() == 9 * 45
    groups = crops.tracks // 3
    assert (groups[pairs.first] == groups[pairs.second]).all()
    assert (~same).sum() == 9 * 16


def test_a_calibration_of_tracks_states_what_is_observed() -> None:
    found = calibrate_tracks(tracks(), CalibrationOptions(prior=0.2))
    assert found.scores[0].calibration_error.value < 0.05
    names = [curve.name for curve in found.calibration.curves]
    assert names == ["any", "same-camera", "same-camera, 0 s to 5 s"]
    assert found.calibration.prior == 0.2
    assert "Nothing is known of pairs from two cameras" in found.notes[1]
    near, far = found.calibration.probabilities([0.05, 1.0])
    assert near > 0.8
    assert far < 0.05


def test_linked_people_give_a_curve_for_two_cameras() -> None:
    table = tracks(CAMERAS)
    people = {(camera, n): n for camera in CAMERAS for n in range(90)}
    found = calibrate_tracks(replace(table, people=people))
    assert [curve.relation for curve in found.calibration.curves][-1] == "other-cameras"
    assert not any("two cameras" in note for note in found.notes)
    assert found.scores[-1].calibration_error.value < 0.05


def test_too_few_tracks_are_an_error() -> None:
    with pytest.raises(CalibrationError, match="No crop of these tracks was embedded"):
        calibrate_tracks(TrackTable(()))
    with pytest.raises(CalibrationError, match="needs at least 20 pairs"):
        calibrate_tracks(tracks(people=1))


def test_the_command_takes_tracks_instead_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    door, yard, out = tmp_path / "door.parquet", tmp_path / "yard.parquet", tmp_path / "c.json"
    for path in (door, yard):
        made = tracks((path.stem,))
        write_track_table(path, replace(made, people={(path.stem, n): n for n in range(90)}))
    assert main(["calibrate", "--tracks", str(door), str(yard), "--output", str(out)]) == 0
    calibration = read_calibration(out)
    assert calibration.weights_sha256 == "a" * 64
    assert calibration.data == "door.parquet, yard.parquet, without labels"
    assert {curve.relation for curve in calibration.curves} == {"any", "same-camera"}  # the same number, not one person
    assert "fitted on 90 people" in capsys.readouterr().out
    for words, said in (
        (["--tracks", str(door), "--data", str(tmp_path)], "give either --data or --tracks"),
        ([], "give either --data or --tracks"),
        (["--tracks", str(door), "--adapt", str(out)], "need labels"),
        (["--tracks", str(door), str(door)], "is named twice"),
    ):
        assert main(["calibrate", *words]) == 2
        assert said in capsys.readouterr().err
