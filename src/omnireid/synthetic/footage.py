"""Drawn footage: people who walk through the views of several cameras, with the truth about who is where."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from omnireid.errors import StoppedError, require
from omnireid.files import atomic_folder, check_output, write_json
from omnireid.progress import progress_bar
from omnireid.synthetic.detector import detect
from omnireid.synthetic.floor_plan import View, place_cameras, walking_distance
from omnireid.synthetic.footage_picture import FootagePicture, check_picture_name, choose_frames
from omnireid.synthetic.footage_plan import FootagePlan
from omnireid.synthetic.pedestrian import Pedestrian, draw_pedestrians
from omnireid.synthetic.scene import SeenPerson, draw_frame, set_stage
from omnireid.synthetic.seeds import Drawn, seeded_generator
from omnireid.synthetic.walks import Walker, plan_walks
from omnireid.tracking.mot_files import (
    NO_IDENTITY,
    PERSON_CLASS,
    MotTable,
    SequenceInfo,
    write_ground_truth,
    write_results,
    write_sequence_info,
)
from omnireid.tracking.video_file import video_file
from omnireid.types import ByteArray

CAMERAS_FILE = "cameras.json"
"""Name of the file with the cameras' places, their common clock and every parameter of the footage."""

START_TIME = "2026-01-01T10:00:00Z"
"""Time of the first frame of every camera."""

_FORMAT = 1
_SCORED = 0.25  # people of whom less is seen are marked with 0 in the ground truth


def synthesize_video(
    output: Path, plan: FootagePlan, *, picture: Path | None = None, progress: bool = False
) -> dict[str, MotTable]:
    """Draw footage of people who walk from camera to camera, stop, meet, hide one another, leave and come back.

    Each camera has a folder as in MOT15: ``video.mp4``, ``gt/gt.txt`` with global identities and visibilities,
    ``det/det.txt`` with the boxes that a detector might report, and ``seqinfo.ini``. `CAMERAS_FILE` holds the cameras'
    places, the distances between their views and the common clock.

    On one machine, with one version of Pillow, NumPy and PyAV, the same plan gives the same bytes.

    Args:
        output: The folder to create.
        plan: What is drawn.
        picture: Also write an animated .webp file of the liveliest seconds, with a box in each person's colour.
        progress: Whether to show a bar on standard error.

    Returns:
        Ground truth of each camera by its name.

    Raises:
        OutputError: `output` exists already or cannot be written; nothing half-drawn is left.
        MissingDependencyError: PyAV is not installed.
        StoppedError: The user pressed Ctrl-C; nothing is left.
    """
    require("av", "track", "Drawing footage")
    if picture is not None:
        check_picture_name(picture)
        check_output(picture)
    views = place_cameras(plan.cameras, seed=plan.seed, height=plan.height)
    people = draw_pedestrians(plan.people, cue="mixed", seed=plan.seed)
    walks = plan_walks(views, plan.people, frames=plan.frames, rate=plan.frame_rate, seed=plan.seed)
    kept = choose_frames([sum(map(len, together)) for together in zip(*walks, strict=True)], plan.frame_rate)
    truths = {}
    try:
        with (
            atomic_folder(output) as root,
            progress_bar("draw", plan.cameras * plan.frames, unit="frames", show=progress) as advance,
        ):
            for view, walkers in zip(views, walks, strict=True):
                shown = kept if picture is not None else None
                truths[view.name] = _draw_camera(root / view.name, view, walkers, people, plan, shown, advance)
            write_json(root / CAMERAS_FILE, _describe(views, plan))
        if picture is not None:
            kept.write(picture)
    except KeyboardInterrupt:
        raise StoppedError(f"Stopped; nothing is left of {output}. Run the same command to draw it again.") from None
    return truths


def draw_camera_frames(
    view: View, walkers: Sequence[Sequence[Walker]], people: Sequence[Pedestrian], plan: FootagePlan
) -> Iterator[tuple[ByteArray, list[SeenPerson]]]:
    """Draw the frames of one camera, each with everybody who is seen in it."""
    stage = set_stage(view, seed=plan.seed, difficulty=plan.difficulty)
    return (draw_frame(stage, present, people) for present in walkers)


def _draw_camera(
    folder: Path,
    view: View,
    walkers: Sequence[Sequence[Walker]],
    people: Sequence[Pedestrian],
    plan: FootagePlan,
    kept: FootagePicture | None,
    advance: Callable[[int], None],
) -> MotTable:
    """Write the folder of one camera, and return its ground truth."""
    truth, found = _Rows(), _Rows()
    folder.mkdir()
    with video_file(folder / "video.mp4", view.width, view.height, plan.frame_rate) as append:
        for frame, (pixels, seen) in enumerate(draw_camera_frames(view, walkers, people, plan)):
            append(pixels)
            for person in seen:
                truth.add(frame, person.person + 1, person.box, float(person.visibility >= _SCORED), person.visibility)
            noise = seeded_generator(plan.seed, Drawn.DETECTION, view.camera_id, frame)
            for box, confidence in zip(*detect(seen, view.width, view.height, noise), strict=True):
                found.add(frame, NO_IDENTITY, tuple(box.tolist()), round(float(confidence), 4), 1.0)
            if kept is not None:
                kept.keep(view.camera_id, frame, pixels, seen)
            advance(1)
    write_ground_truth(folder / "gt" / "gt.txt", truth.table())
    write_results(folder / "det" / "det.txt", found.table())
    info = SequenceInfo(view.name, plan.frames, plan.frame_rate, view.width, view.height)
    write_sequence_info(folder / "seqinfo.ini", info)
    return truth.table()


class _Rows:
    """Rows of a table of boxes, while they are collected."""

    def __init__(self) -> None:
        self._whole: list[tuple[int, int]] = []
        self._real: list[tuple[float, ...]] = []

    def add(self, frame: int, identity: int, box: tuple[float, ...], confidence: float, visibility: float) -> None:
        """Add a box."""
        self._whole.append((frame, identity))
        self._real.append((*box, confidence, visibility))

    def table(self) -> MotTable:
        """All rows so far."""
        whole = np.array(self._whole, dtype=np.int64).reshape(-1, 2)
        real = np.array(self._real, dtype=np.float64).reshape(-1, 6)
        classes = np.full(len(whole), PERSON_CLASS, dtype=np.int64)
        return MotTable(whole[:, 0], whole[:, 1], real[:, :4], real[:, 4], classes, real[:, 5])


def _describe(views: Sequence[View], plan: FootagePlan) -> dict[str, object]:
    """What `CAMERAS_FILE` holds."""
    cameras = [
        {
            "name": view.name,
            "video": f"{view.name}/video.mp4",
            "start_time": START_TIME,
            "position_metres": [round(place, 3) for place in view.position],
            "heading_degrees": round(math.degrees(view.heading) % 360, 2),
            "height_metres": round(view.mounting, 3),
            "pitch_degrees": round(math.degrees(view.pitch), 3),
            "focal_length_pixels": view.focal_length,
            "image_size": [view.width, view.height],
        }
        for view in views
    ]
    routes = [
        {"from": first.name, "to": second.name, "metres": round(walking_distance(first, second), 2)}
        for first, second in zip(views, [*views[1:], views[0]], strict=True)
    ]
    return {"omnireid_footage": _FORMAT, "plan": asdict(plan), "cameras": cameras, "routes": routes}
