"""Tables of several cameras as one, and new recordings beside those that were linked before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from omnireid.errors import TrackingError
from omnireid.tracking.seen_events import read_start
from omnireid.tracking.track_table import TrackTable
from omnireid.tracking.tracklets import Tracklet


def join_tables(tables: Mapping[str, TrackTable]) -> TrackTable:
    """The tables of several cameras as one. People stay people of their own camera.

    Args:
        tables: Tables by where they are from, for messages. A camera may be in one of them only.

    Raises:
        TrackingError: Two tables have one camera, or embeddings of different weights or preprocessing.
    """
    owner: dict[str, str] = {}
    for source, table in tables.items():
        for camera in sorted({*table.recordings, *(one.camera for one in table.tracklets)}):
            if camera in owner:
                raise TrackingError(
                    f"{owner[camera]} and {source} both have a camera named {camera!r}. If they are two cameras, name "
                    "them apart (omnireid track --camera NAME). If they are two recordings of one camera, link the "
                    "earlier one first, and add the later one to its people (--people)."
                )
            owner[camera] = source
    first = _common_model(tables)
    return TrackTable(
        tuple(tracklet for table in tables.values() for tracklet in table.tracklets),
        {key: person for table in tables.values() for key, person in table.people.items()},
        {camera: recording for table in tables.values() for camera, recording in table.recordings.items()},
        None if first is None else first.weights_sha256,
        {} if first is None else first.preprocessing,
    )


def place_after(table: TrackTable, before: TrackTable, source: str) -> TrackTable:
    """New tracklets in the time and numbering of those that were linked before.

    Tracklets of a camera that is known are numbered after its earlier ones. Their times and frames are counted from
    the start of the camera's first recording.

    Args:
        table: The new tracklets.
        before: The earlier ones.
        source: Where the earlier ones are from, for messages.

    Raises:
        TrackingError: The weights differ, or a camera's new recording does not begin after its earlier one, or nobody
            knows when one of them began.
    """
    _common_model({source: before, "the new tracks": table})
    shifts = {
        camera: _shift_of(camera, table, before, source)
        for camera in sorted({one.camera for one in table.tracklets} & {one.camera for one in before.tracklets})
    }
    moved, people = [], dict[tuple[str, int], int]()
    for tracklet in table.tracklets:
        number = tracklet.number
        placed = tracklet
        if tracklet.camera in shifts:
            seconds, frames, numbers = shifts[tracklet.camera]
            placed = replace(
                tracklet,
                number=number + numbers,
                times=tracklet.times + seconds,
                frames=tracklet.frames + frames,
            )
        moved.append(placed)
        if (tracklet.camera, number) in table.people:
            people[placed.camera, placed.number] = table.people[tracklet.camera, number]
    recordings = {**table.recordings, **{camera: before.recordings[camera] for camera in shifts}}
    return replace(table, tracklets=tuple(moved), people=people, recordings=recordings)


def _common_model(tables: Mapping[str, TrackTable]) -> TrackTable | None:
    """The first table with embeddings, whose weights and preprocessing are those of all others that have any."""
    made = [(source, table) for source, table in tables.items() if table.weights_sha256 is not None]
    for source, table in made[1:]:
        first_source, first = made[0]
        if table.weights_sha256 != first.weights_sha256:
            raise TrackingError(
                f"{first_source} has embeddings by the weights {str(first.weights_sha256)[:12]}… and {source} by "
                f"{str(table.weights_sha256)[:12]}…: they cannot be compared. Track both with the same weights."
            )
        if dict(table.preprocessing) != dict(first.preprocessing):
            raise TrackingError(
                f"The embeddings of {first_source} and {source} were made with different preprocessing. Track both "
                "with the same weights."
            )
    return made[0][1] if made else None


def _shift_of(camera: str, table: TrackTable, before: TrackTable, source: str) -> tuple[float, int, int]:
    """Seconds, frames and numbers to add to a camera's new tracklets."""
    earlier = [one for one in before.tracklets if one.camera == camera]
    later = [one for one in table.tracklets if one.camera == camera]
    starts = [read_start(one.recordings.get(camera)) for one in (before, table)]
    if starts[0] is None or starts[1] is None:
        raise TrackingError(
            f"Camera {camera!r} is in {source} already, and nobody knows when both recordings began. State the start "
            "of each recording (omnireid track --started TIME), or name two cameras apart."
        )
    seconds = (starts[1] - starts[0]).total_seconds()
    end = max(one.end for one in earlier)
    if seconds <= end:
        raise TrackingError(
            f"Camera {camera!r} is in {source} already, up to {end:.1f} s after {starts[0].isoformat()}, and the new "
            f"recording begins at {starts[1].isoformat()}. Give recordings that follow each other, each once; if these "
            "are two cameras, name them apart."
        )
    frames = max(round(seconds * _frame_rate([*earlier, *later])), 1 + max(int(one.frames[-1]) for one in earlier))
    return seconds, frames, 1 + max(one.number for one in earlier)


def _frame_rate(tracklets: Sequence[Tracklet]) -> float:
    """Frames a second, from the numbers and times of boxes."""
    rates = [float(np.diff(one.frames).sum() / np.diff(one.times).sum()) for one in tracklets if len(one.frames) > 1]
    return float(np.median(rates)) if rates else 1.0
