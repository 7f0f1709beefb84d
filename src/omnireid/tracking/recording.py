"""From a video to people: a whole recording, or a stream while it goes on.

Both read the video once. What people do is followed by motion, good crops of them
are embedded, and tracklets are linked by appearance, time and reach. Of a whole
recording all tracklets are linked together at its end; a stream gives each
tracklet its person soon after it began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain

from omnireid.embedding.embedder import Embedder
from omnireid.progress import progress_bar
from omnireid.retrieval.calibration import Calibration
from omnireid.tracking.assembly import TrackletAssembly
from omnireid.tracking.linking import LinkedTracklets, link_recording
from omnireid.tracking.online import Decision, OnlineLinker
from omnireid.tracking.track_table import Recording, TrackTable
from omnireid.tracking.tracking_options import TrackingOptions
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.video import Video
from omnireid.tracking.window_store import WindowStore
from omnireid.tracking.windows import DetectPeople, Window, detected, watch

_GRACE_S = 1.0
"""Seconds beyond twice `MotionOptions.lost_s` after which a tracklet has surely ended."""


@dataclass(frozen=True, eq=False)
class TrackedRecording:
    """The people of a whole recording.

    Attributes:
        linked: Tracklets, their people, and the links with their evidence.
        table: The same as a table of tracks.
        frames: Number of frames in which people were looked for, those of an earlier run included.
        is_complete: False where Ctrl-C stopped the reading before the end of the video.
    """

    linked: LinkedTracklets
    table: TrackTable
    frames: int
    is_complete: bool


@dataclass(frozen=True, eq=False)
class StreamStep:
    """What is known after a window of a stream.

    Attributes:
        window: The window, with the pixels of its frames where these are kept.
        people: Number of each of the window's tracklets to the number of its person; undecided ones are missing.
        decisions: Which tracklets were given their people now.
        ended: Tracklets that have ended, each with the number of its person.
        decided_before: Seconds since the recording's start before which every box has its person.
    """

    window: Window
    people: Mapping[int, int]
    decisions: tuple[Decision, ...]
    ended: tuple[tuple[Tracklet, int], ...]
    decided_before: float


def track_recording(
    video: Video,
    detect: DetectPeople,
    embedder: Embedder,
    options: TrackingOptions = TrackingOptions(),
    *,
    camera: str,
    started: str | None = None,
    calibration: Calibration | None = None,
    store: WindowStore | None = None,
    progress: bool = False,
) -> TrackedRecording:
    """Track the people of a whole recording.

    Memory grows with the tracklets only: some 40 bytes a box, and the embeddings of at most `CropOptions.most_crops`
    crops a tracklet. Ctrl-C ends the reading; what was seen until then is linked and returned.

    Args:
        video: The recording.
        detect: Gives the boxes of the people in a frame.
        embedder: What embeds their crops.
        options: How people are tracked.
        camera: Name of the camera.
        started: Date and time of the first frame, in ISO 8601 with a time zone, where it is known.
        calibration: What a distance between crops of these weights is worth; see `link_recording`.
        store: Where finished windows are kept. What an earlier run left there is not done again.
        progress: Show a progress bar on standard error.

    Raises:
        TrackingError: The video cannot be read, or its detections cannot be its own.
        MissingDependencyError: ``trackers`` or ``scipy`` is not installed.
    """
    dimension = embedder.metadata.embedding_dimension
    assembly = TrackletAssembly(camera, dimension, options.crops.most_crops)
    kept = [] if store is None else list(store.read())
    first = kept[-1].detections.frame + 1 if kept else 0
    frames = chain(kept, detected(video.frames(first), detect))
    count, is_complete = 0, True
    with progress_bar("track", video.frame_count, unit="frames", show=progress) as advance:
        windows = watch(frames, embedder, video.rate, options.motion, options.crops)
        while True:
            try:
                window = next(windows, None)
            except KeyboardInterrupt:
                is_complete = False
                break
            if window is None:
                break
            assembly.add(window)
            if store is not None and window.frames[-1].detections.frame >= first:
                store.add(window)
            count += len(window.frames)
            advance(len(window.frames))
    if store is not None:
        store.flush()
    linked = link_recording(assembly.take_all(), calibration, options.linking)
    people = {(camera, number): person for number, person in linked.people.items()}
    header = empty_table(video, embedder, camera, started)
    table = TrackTable(linked.tracklets, people, header.recordings, header.weights_sha256, header.preprocessing)
    return TrackedRecording(linked, table, count, is_complete)


def track_stream(
    video: Video,
    detect: DetectPeople,
    embedder: Embedder,
    options: TrackingOptions = TrackingOptions(),
    *,
    camera: str,
    calibration: Calibration | None = None,
    keeps_pixels: bool = False,
    progress: bool = False,
) -> Iterator[StreamStep]:
    """Track the people of a stream, or of a recording as if it were one.

    Delay and memory are bounded as `OnlineOptions` says, however long the stream goes on. Ctrl-C ends the reading.

    Args:
        video: The stream.
        detect: Gives the boxes of the people in a frame.
        embedder: What embeds their crops.
        options: How people are tracked.
        camera: Name of the camera.
        calibration: What a distance between crops of these weights is worth; see `OnlineLinker`.
        keeps_pixels: Whether each step keeps the pixels of its frames.
        progress: Show a progress bar on standard error.

    Returns:
        A step for each window, and one more with the tracklets that had not ended when the stream did.

    Raises: the errors of `track_recording`.
    """
    assembly = TrackletAssembly(camera, embedder.metadata.embedding_dimension, options.crops.most_crops)
    linker = OnlineLinker(options.while_recording, options.linking, calibration)
    windows = watch(
        detected(video.frames(), detect),
        embedder,
        video.rate,
        options.motion,
        options.crops,
        keeps_pixels=keeps_pixels,
    )
    patience = 2 * options.motion.lost_s + _GRACE_S
    last: Window | None = None
    with progress_bar("track", video.frame_count, unit="frames", show=progress) as advance:
        while True:
            try:
                window = next(windows, None)
            except KeyboardInterrupt:
                break
            if window is None:
                break
            last = window
            assembly.add(window)
            decisions = linker.update(window, assembly)
            yield _step(window, linker, decisions, assembly.take_last_seen_before(window.end - patience))
            advance(len(window.frames))
    if last is not None:
        nothing = Window((), (), {})
        yield _step(nothing, linker, [], assembly.take_all(), now=last.end)


def _step(
    window: Window, linker: OnlineLinker, decisions: list[Decision], ended: list[Tracklet], now: float | None = None
) -> StreamStep:
    decisions = [*decisions, *linker.end(ended, window.end if now is None else now)]
    numbers = {number for followed in window.followed for number in followed.numbers.tolist()}
    known = {number: linker.person_of(number) for number in numbers | {tracklet.number for tracklet in ended}}
    people = {number: person for number, person in known.items() if person is not None}
    linker.forget_tracklets(ended)
    finished = tuple((tracklet, people[tracklet.number]) for tracklet in ended)
    return StreamStep(window, people, tuple(decisions), finished, linker.earliest_undecided())


def empty_table(video: Video, embedder: Embedder, camera: str, started: str | None = None) -> TrackTable:
    """A table of tracks that says what made it, without tracklets."""
    recording = Recording(video.width, video.height, started)
    preprocessing = json.loads(json.dumps(asdict(embedder.metadata.preprocessing)))  # as it is read again
    return TrackTable((), {}, {camera: recording}, embedder.weights_sha256, preprocessing)
