"""Who was seen where and when: the events that a linked table of tracks stands for.

An event is one stay of a person in one camera's view. Tracklets of the person
that follow each other within some seconds are one stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from omnireid.tracking.track_table import Recording, TrackTable
from omnireid.tracking.tracklets import Tracklet

LONGEST_PAUSE_S = 10.0
"""Seconds without a box after which a person who is seen again by the same camera has a new event."""


@dataclass(frozen=True)
class SeenEvent:
    """One stay of a person in one camera's view.

    Attributes:
        person: Number of the person.
        camera: Name of the camera.
        start_s: First box, in seconds since the camera's recording began.
        end_s: Last box, likewise.
        started: Date and time of the first box; None where the camera's clock is not known.
        ended: Date and time of the last box; None where the camera's clock is not known.
        tracks: Numbers of the tracklets.
        probability: Probability that this is the person; None where nothing was compared.
    """

    person: int
    camera: str
    start_s: float
    end_s: float
    started: datetime | None
    ended: datetime | None
    tracks: tuple[int, ...]
    probability: float | None

    def json(self) -> dict[str, Any]:
        """The event as plain values, ready for ``json.dumps``."""
        return {
            "event": "seen",
            "person": self.person,
            "camera": self.camera,
            "from": None if self.started is None else self.started.isoformat(timespec="milliseconds"),
            "to": None if self.ended is None else self.ended.isoformat(timespec="milliseconds"),
            "from_s": round(self.start_s, 3),
            "to_s": round(self.end_s, 3),
            "tracks": list(self.tracks),
            "probability": None if self.probability is None else round(self.probability, 4),
        }

    def __str__(self) -> str:
        if self.started is None or self.ended is None:
            when = f"{self.start_s:.1f} s–{self.end_s:.1f} s"
        else:
            when = f"{self.started:%H:%M:%S}–{self.ended:%H:%M:%S}"
        sure = "" if self.probability is None else f", probability {self.probability:.2f}"
        return f"person {self.person} seen at {_with_word(self.camera)}, {when}{sure}"


def list_events(
    table: TrackTable,
    probabilities: Mapping[tuple[str, int], float],
    *,
    tracks: Collection[tuple[str, int]] | None = None,
) -> tuple[SeenEvent, ...]:
    """The events of a table whose tracklets have people, in the order of time.

    Cameras whose clock is not known come last, each by its own seconds.

    Args:
        table: Tracklets and who they show. Tracklets without a person are left out.
        probabilities: (camera, number) of a tracklet to the probability that it shows its person. That of an event is
            the mean over its tracklets, weighted by their boxes.
        tracks: Camera and number of the tracklets whose events are wanted; by default all.
    """
    stays: dict[tuple[int, str], list[list[Tracklet]]] = {}
    for tracklet in sorted(table.tracklets, key=lambda one: (one.start, one.number)):
        key = tracklet.camera, tracklet.number
        person = table.people.get(key)
        if person is None or (tracks is not None and key not in tracks):
            continue
        own = stays.setdefault((person, tracklet.camera), [])
        if own and tracklet.start - max(one.end for one in own[-1]) <= LONGEST_PAUSE_S:
            own[-1].append(tracklet)
        else:
            own.append([tracklet])
    events = [
        _event(person, table.recordings.get(camera), stay, probabilities)
        for (person, camera), own in stays.items()
        for stay in own
    ]
    return tuple(sorted(events, key=_order))


def read_start(recording: Recording | None) -> datetime | None:
    """Date and time of a recording's first frame; None where it is not known."""
    return None if recording is None or recording.started is None else datetime.fromisoformat(recording.started)


def _event(
    person: int,
    recording: Recording | None,
    stay: Sequence[Tracklet],
    probabilities: Mapping[tuple[str, int], float],
) -> SeenEvent:
    camera = stay[0].camera
    start, end = stay[0].start, max(tracklet.end for tracklet in stay)
    began = read_start(recording)
    known = [one for one in stay if (camera, one.number) in probabilities]
    boxes = sum(len(one.frames) for one in known)
    sure = sum(probabilities[camera, one.number] * len(one.frames) for one in known) / boxes if known else None
    return SeenEvent(
        person,
        camera,
        start,
        end,
        None if began is None else began + timedelta(seconds=start),
        None if began is None else began + timedelta(seconds=end),
        tuple(tracklet.number for tracklet in stay),
        sure,
    )


def _order(event: SeenEvent) -> tuple[bool, float, float, str, int]:
    clock = 0.0 if event.started is None else event.started.timestamp()
    return event.started is None, clock, event.start_s, event.camera, event.person


def _with_word(camera: str) -> str:
    """The name of a camera with the word in front, unless the name has it already."""
    return camera if camera.lower().startswith("cam") else f"camera {camera}"
