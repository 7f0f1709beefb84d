"""What a tracked recording leaves: boxes with identities, events, and annotated frames.

Shapes: N boxes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from omnireid.tracking.annotation import LabelledBox, draw_people
from omnireid.tracking.linking import Link, LinkedTracklets
from omnireid.tracking.mot_files import PERSON_CLASS, MotTable
from omnireid.tracking.recording import StreamStep
from omnireid.tracking.stillness import can_be_interpolated
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.video import Video
from omnireid.tracking.video_file import AppendFrame
from omnireid.types import DoubleArray, IntArray

LEAST_SEEN_S = 1.0
"""Seconds for which a person must have had boxes before any is filled in. Whoever is seen for less is often no person,
but a detector's mistake that comes and goes."""


def identified_boxes(tracklets: Sequence[Tracklet], people: Mapping[int, int], fill_s: float = 0.0) -> MotTable:
    """The boxes of tracklets, with their people as identities, in the order of frames.

    Args:
        tracklets: Tracklets of one camera.
        people: Number of each tracklet to the number of its person.
        fill_s: In gaps of at most this many seconds between two boxes of a person, boxes are interpolated; see
            `LEAST_SEEN_S`. Nothing is interpolated where the camera does not stand still.
    """
    if fill_s > 0 and not can_be_interpolated(tracklets, fill_s):
        fill_s = 0.0
    by_person: dict[int, list[Tracklet]] = {}
    for tracklet in sorted(tracklets, key=lambda one: one.start):
        by_person.setdefault(people[tracklet.number], []).append(tracklet)
    parts = [_boxes_of_person(several, fill_s) for several in by_person.values()]
    frames = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
    rows = np.concatenate([np.empty((0, 5)), *(part[1] for part in parts)])
    owners = np.repeat(np.array(list(by_person), dtype=np.int64), [len(part[0]) for part in parts])
    return _mot_table(frames, owners, rows[:, :4], rows[:, 4])


def _boxes_of_person(tracklets: Sequence[Tracklet], fill_s: float) -> tuple[IntArray, DoubleArray]:
    """(N,) frames and (N, 5) boxes and scores of one person, with those of short gaps."""
    frames = np.concatenate([one.frames for one in tracklets])
    times = np.concatenate([one.times for one in tracklets])
    rows = np.concatenate([np.hstack([one.boxes, one.scores[:, None]]) for one in tracklets]).astype(np.float64)
    order = np.argsort(frames, kind="stable")
    frames, times, rows = frames[order], times[order], rows[order]
    steps = np.diff(times)
    was_seen = len(steps) > 0 and len(times) * float(np.median(steps)) >= LEAST_SEEN_S
    gaps = np.flatnonzero((np.diff(frames) > 1) & (steps <= fill_s) & was_seen)
    between = [np.arange(frames[gap] + 1, frames[gap + 1]) for gap in gaps]
    filled = np.concatenate([np.empty(0, np.int64), *between])
    columns = [np.interp(filled, frames, rows[:, column]) for column in range(rows.shape[1])]
    return np.concatenate([frames, filled]), np.concatenate([rows, np.stack(columns, axis=1)])


def _mot_table(frames: IntArray, people: IntArray, boxes: DoubleArray, scores: DoubleArray) -> MotTable:
    count = len(frames)
    table = MotTable(frames, people, boxes, scores, np.full(count, PERSON_CLASS, np.int64), np.ones(count))
    return table.select(np.lexsort((table.identities, frames)))


def link_event(link: Link, person: int) -> dict[str, Any]:
    """A link as plain values, with the number of the person."""
    return link.json() | {"person": person}


def new_person_event(camera: str, tracklet: int, person: int, time: float) -> dict[str, Any]:
    """A tracklet that shows somebody who was not seen before."""
    return {"event": "new", "camera": camera, "tracklet": tracklet, "person": person, "time": time}


def events_of(linked: LinkedTracklets) -> list[dict[str, Any]]:
    """Who was new and who came back, in the order of time."""
    links = {link.later: link for link in linked.links}
    events = []
    for tracklet in sorted(linked.tracklets, key=lambda one: (one.start, one.number)):
        person = linked.people[tracklet.number]
        link = links.get(tracklet.number)
        if link is None:
            events.append(new_person_event(tracklet.camera, tracklet.number, person, tracklet.start))
        else:
            events.append(link_event(link, person))
    return events


def events_of_step(camera: str, step: StreamStep) -> Iterator[dict[str, Any]]:
    """Who was new and who came back, as a stream decided it; ``decided`` says when."""
    for one in step.decisions:
        if one.link is None:
            event = new_person_event(camera, one.tracklet, one.person, one.start)
        else:
            event = link_event(one.link, one.person)
        yield event | {"decided": one.decided}


class StreamedBoxes:
    """Boxes of a stream that wait until every box of their frame has its person, so that they come in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, float, list[tuple[int, list[float], float]]]] = deque()
        self._people: dict[int, int] = {}

    def add(self, step: StreamStep) -> MotTable:
        """Take in a step, and give out the boxes of all frames that are decided now."""
        self._people.update(step.people)
        self._people.update({one.tracklet: one.person for one in step.decisions})
        for followed in step.window.followed:
            boxes = zip(followed.numbers.tolist(), followed.boxes.tolist(), followed.scores.tolist(), strict=True)
            self._waiting.append((followed.frame, followed.time, list(boxes)))
        rows: list[tuple[int, int, list[float], float]] = []
        while self._waiting and self._waiting[0][1] < step.decided_before:
            frame, _, boxes_of_frame = self._waiting.popleft()
            rows += [(frame, self._people[number], box, score) for number, box, score in boxes_of_frame]
        needed = {number for _, _, boxes_of_frame in self._waiting for number, _, _ in boxes_of_frame}
        self._people = {number: person for number, person in self._people.items() if number in needed}
        frames = np.array([row[0] for row in rows], dtype=np.int64)
        people = np.array([row[1] for row in rows], dtype=np.int64)
        boxes_found = np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4)
        return _mot_table(frames, people, boxes_found, np.array([row[3] for row in rows]))


def draw_step(step: StreamStep, append: AppendFrame) -> None:
    """Append the frames of a step to a video, with the people as far as they are known by then."""
    for frame, followed in zip(step.window.frames, step.window.followed, strict=True):
        assert frame.pixels is not None
        boxes = [
            LabelledBox(box.tolist(), step.people.get(number))
            for number, box in zip(followed.numbers.tolist(), followed.boxes, strict=True)
        ]
        append(draw_people(frame.pixels, boxes), frame.time)


def draw_recording(video: Video, table: MotTable, append: AppendFrame) -> None:
    """Append every frame of a recording to a video, with its people."""
    boxes: dict[int, list[LabelledBox]] = {}
    for frame, person, box in zip(table.frames.tolist(), table.identities.tolist(), table.boxes.tolist(), strict=True):
        boxes.setdefault(frame, []).append(LabelledBox(box, person))
    for shown in video.frames():
        append(draw_people(shown.pixels, boxes.get(shown.number, [])), shown.time)
