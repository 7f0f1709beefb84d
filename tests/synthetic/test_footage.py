"""Drawn footage: the same bytes for the same plan, true boxes and visibilities, and people who cannot be everywhere."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnireid.errors import OutputError, SettingError, StoppedError
from omnireid.synthetic import footage
from omnireid.synthetic.detector import detect
from omnireid.synthetic.floor_plan import FARTHEST, NEAREST, place_cameras, walking_distance
from omnireid.synthetic.footage import CAMERAS_FILE, synthesize_video
from omnireid.synthetic.footage_plan import FootagePlan
from omnireid.synthetic.pedestrian import draw_pedestrians
from omnireid.synthetic.pose import Pose
from omnireid.synthetic.scene import SeenPerson, draw_frame, set_stage
from omnireid.synthetic.walks import Walker, plan_walks
from omnireid.tracking.mot_files import read_detections, read_sequence_info, read_tracks

av = pytest.importorskip("av")

SMALL = FootagePlan(cameras=2, people=4, seconds=3, frame_rate=5, height=180)
STANDING = Pose(0.0, 0.0, 0.0, 0.0, ("swing", "swing"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "footage"
    synthesize_video(root, SMALL)
    return root


def frames_of(video: Path) -> list[np.ndarray]:
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_each_camera_is_a_sequence_with_global_identities(folder: Path) -> None:
    described = json.loads((folder / CAMERAS_FILE).read_text())
    assert [camera["name"] for camera in described["cameras"]] == ["camera-1", "camera-2"]
    assert {camera["start_time"] for camera in described["cameras"]} == {"2026-01-01T10:00:00Z"}
    assert described["plan"]["people"] == 4
    identities = set()
    for camera in ("camera-1", "camera-2"):
        info = read_sequence_info(folder / camera / "seqinfo.ini")
        assert (info.name, info.frames, info.frame_rate, info.width, info.height) == (camera, 15, 5, 320, 180)
        truth, found = (
            read_tracks(folder / camera / "gt" / "gt.txt"),
            read_detections(folder / camera / "det" / "det.txt"),
        )
        assert 0 < len(found) < 2 * len(truth)
        assert not found.notes
        assert truth.frames.max() < 15
        assert ((truth.visibilities >= 0.25) == (truth.confidences == 1)).all()
        assert len(frames_of(folder / camera / "video.mp4")) == 15
        identities |= set(truth.identities.tolist())
    assert identities <= {1, 2, 3, 4}


def test_the_same_plan_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    synthesize_video(again, SMALL)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert len(files) == 9
    for file in files:
        assert (folder / file).read_bytes() == (again / file).read_bytes(), file


def test_the_video_shows_what_was_drawn(folder: Path) -> None:
    view = place_cameras(2, seed=0, height=180)[0]
    walkers = plan_walks([view, place_cameras(2, seed=0, height=180)[1]], 4, frames=15, rate=5, seed=0)[0]
    drawn, _ = draw_frame(
        set_stage(view, seed=0, difficulty=SMALL.difficulty), walkers[7], draw_pedestrians(4, cue="mixed", seed=0)
    )
    error = np.abs(frames_of(folder / "camera-1" / "video.mp4")[7].astype(int) - drawn)
    assert error.mean() < 6


def test_a_folder_that_exists_is_refused_and_a_stop_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="exists already"):
        synthesize_video(folder, SMALL)
    with pytest.raises(OutputError, match=r"animated \.webp"):
        synthesize_video(tmp_path / "new", SMALL, picture=tmp_path / "picture.gif")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(footage, "draw_frame", stop)
    with pytest.raises(StoppedError, match="nothing is left"):
        synthesize_video(tmp_path / "new", SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": 0}, "cameras must be 1 to 32"),
        ({"people": 1001}, "people must be 1 to 1000"),
        ({"height": 181}, "height must be even"),
        ({"frame_rate": 0.5}, "frame_rate must be 1 to 60"),
        ({"difficulty": 1.5}, "difficulty must be 0"),
        ({"seconds": 0}, "seconds must give between 1"),
        ({"seconds": math.nan}, "seconds must give between 1"),
    ],
)
def test_a_plan_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        FootagePlan(**change)


def test_nobody_is_in_two_places_or_faster_than_a_walk() -> None:
    views, rate, people = place_cameras(4, seed=3, height=360), 12.5, 6
    walks = plan_walks(views, people, frames=750, rate=rate, seed=3)
    visits = 0
    for person in range(people):
        seen = [
            (frame, camera, walker)
            for camera, frames in enumerate(walks)
            for frame, walkers in enumerate(frames)
            for walker in walkers
            if walker.person == person
        ]
        seen.sort(key=lambda entry: entry[0])
        for (frame, camera, walker), (later, there, next_walker) in pairwise(seen):
            assert later > frame
            if later == frame + 1:
                assert there == camera
                step = math.hypot(next_walker.right - walker.right, next_walker.away - walker.away)
                assert step * rate < 2
            elif there != camera:
                visits += 1
                ends = (camera, there) if (camera + 1) % 4 == there else (there, camera)
                distance = walking_distance(views[ends[0]], views[ends[1]])
                assert distance / 1.6 < (later - frame) / rate < distance
    assert visits > people  # everybody is seen by several cameras, on average


def test_people_do_not_depend_on_how_many_follow() -> None:
    views = place_cameras(2, seed=0, height=360)
    few, many = (plan_walks(views, people, frames=200, rate=5, seed=0) for people in (2, 5))
    for small, large in zip(few, many, strict=True):
        for one, other in zip(small, large, strict=True):
            assert one == [walker for walker in other if walker.person < 2]


@pytest.mark.parametrize("cameras", [1, 2, 4, 9])
def test_views_do_not_overlap_and_their_edges_are_out_of_sight(cameras: int) -> None:
    views = place_cameras(cameras, seed=1, height=360)
    for view in views:
        for away in (NEAREST, FARTHEST):
            column, row, scale = view.project(-view.edge(away), away)
            assert column < -0.5 * scale
            assert view.floor_end * 360 < row < 1.03 * 360
    corners = [view.on_plan(side * view.edge(FARTHEST), FARTHEST) for view in views for side in (-1, 1)]
    for first, second in pairwise(corners[1:-1]):
        assert math.dist(first, second) > 1
    assert all(walking_distance(first, second) > 4 for first, second in pairwise(views))


def test_who_is_nearer_hides_who_is_behind() -> None:
    stage = set_stage(place_cameras(1, seed=0, height=360)[0], seed=0, difficulty=0.3)
    people = draw_pedestrians(2, cue="mixed", seed=0)
    behind, before = Walker(0, 0.0, 8.0, STANDING), Walker(1, 0.1, 6.0, STANDING)
    alone, seen_alone = draw_frame(stage, [behind], people)
    both, seen = draw_frame(stage, [behind, before], people)
    assert seen_alone[0].visibility == 1
    assert seen[0].box == seen_alone[0].box
    assert seen[0].visibility < 0.7
    assert seen[1].visibility == 1
    left, top, right, bottom = map(int, seen_alone[0].box)
    empty, nobody = draw_frame(stage, [], people)
    changed = np.abs(alone.astype(int) - empty).sum(axis=2) > 60
    inside = changed[top:bottom, left:right]
    assert nobody == []
    assert inside.mean() > 0.25
    assert inside[0].any()
    changed[top - 2 : bottom + 30, left - 70 : right + 70] = False  # the shadow lies around the feet
    assert not changed.any()
    assert (both != alone).any()


def test_people_at_the_edge_are_partly_visible_and_keep_their_whole_box() -> None:
    view = place_cameras(1, seed=0, height=360)[0]
    stage, people = set_stage(view, seed=0, difficulty=0.3), draw_pedestrians(1, cue="mixed", seed=0)
    away = 7.0
    edge = view.edge(away) - 0.9
    _, seen = draw_frame(stage, [Walker(0, edge, away, STANDING)], people)
    assert seen[0].box[2] > view.width
    assert 0.2 < seen[0].visibility < 0.8
    assert draw_frame(stage, [Walker(0, edge + 3, away, STANDING)], people)[1] == []


def test_a_detector_finds_who_is_seen_and_misses_who_is_hidden() -> None:
    generator = np.random.default_rng(0)
    found = dict.fromkeys((1.0, 0.5, 0.1), 0)
    for visibility in found:
        person = SeenPerson(0, (10, 20, 60, 160), visibility)
        for _ in range(300):
            boxes, confidences = detect([person], 320, 180, generator)
            assert boxes.min(initial=0) >= 0
            assert (boxes[:, 2:] <= (320, 180)).all()
            assert ((confidences > 0) & (confidences < 1)).all()
            found[visibility] += bool(len(boxes)) and bool(np.abs(boxes[0] - person.box).max() < 20)
    assert found[1.0] > 280
    assert 100 < found[0.5] < 230
    assert found[0.1] == 0
