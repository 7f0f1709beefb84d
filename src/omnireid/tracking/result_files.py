"""Writing what tracking leaves: the table of tracks, and on request boxes, events and a video with the people in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnireid.files import atomic_output, check_output, make_folder, output_errors
from omnireid.tracking.mot_files import results_file, write_results
from omnireid.tracking.recording import StreamStep, TrackedRecording
from omnireid.tracking.results import (
    StreamedBoxes,
    draw_recording,
    draw_step,
    events_of,
    events_of_step,
    identified_boxes,
)
from omnireid.tracking.track_table import TrackTable, track_table_file, write_track_table
from omnireid.tracking.tracking_options import STANDARD_OUTPUT, TrackResults
from omnireid.tracking.video import Video
from omnireid.tracking.video_file import AppendFrame, video_file

_SUFFIXES = {"output": ".parquet", "video": ".mp4", "mot": ".txt", "explain_links": ".html"}


@dataclass(frozen=True)
class StreamSummary:
    """What a stream was found to hold.

    Attributes:
        frames: Frames in which people were looked for.
        tracklets: Number of tracklets.
        people: Number of people.
        links: Number of links.
    """

    frames: int
    tracklets: int
    people: int
    links: int


def check_results(results: TrackResults, inputs: list[str | Path]) -> None:
    """Check, before the work, that everything can be written and nothing that is read is lost.

    Raises:
        OutputError: A name has the wrong ending, is an input, or its folder cannot be written.
    """
    for name, suffix in _SUFFIXES.items():
        path = getattr(results, name)
        if path is not None:
            check_output(path, suffix=suffix, inputs=inputs)
    if results.events not in (None, STANDARD_OUTPUT):
        check_output(results.events, inputs=inputs)


def write_recording(recording: TrackedRecording, results: TrackResults, reopen: Callable[[], Video]) -> None:
    """Write what was found in a whole recording; the table of tracks last.

    Args:
        recording: What was found.
        results: What is written.
        reopen: Opens the recording again, in BGR. It is read a second time for the video.

    Raises:
        OutputError: A file cannot be written.
    """
    boxes = identified_boxes(recording.linked.tracklets, recording.linked.people, results.fill_s)
    if results.mot is not None:
        write_results(results.mot, boxes)
    if results.video is not None:
        with reopen() as video, _annotated(results.video, video) as append:
            draw_recording(video, boxes, append)
    if results.events == STANDARD_OUTPUT:
        sys.stdout.writelines(_line(event) for event in events_of(recording.linked))
    elif results.events is not None:
        with atomic_output(results.events) as temporary:
            lines = [_line(event) for event in events_of(recording.linked)]
            temporary.write_text("".join(lines), encoding="utf-8")
    write_track_table(results.output, recording.table)


def write_stream(steps: Iterator[StreamStep], video: Video, header: TrackTable, results: TrackResults) -> StreamSummary:
    """Write a stream's results while it goes on. Tables appear at its end, events as they occur.

    Raises:
        OutputError: A file cannot be written.
    """
    (camera,) = header.recordings
    boxes = StreamedBoxes()
    frames = tracklets = people = links = 0
    with ExitStack() as files:
        append_tracklet = files.enter_context(track_table_file(results.output, header))
        append_boxes = None if results.mot is None else files.enter_context(results_file(results.mot))
        append_frame = None if results.video is None else files.enter_context(_annotated(results.video, video))
        tell = None if results.events is None else files.enter_context(_event_lines(results.events))
        for step in steps:
            if tell is not None:
                for event in events_of_step(camera, step):
                    tell(event)
            if append_boxes is not None:
                append_boxes(boxes.add(step))
            if append_frame is not None:
                draw_step(step, append_frame)
            for tracklet, person in step.ended:
                append_tracklet(tracklet, person)
            frames += len(step.window.frames)
            tracklets += len(step.ended)
            people += sum(decision.link is None for decision in step.decisions)
            links += sum(decision.link is not None for decision in step.decisions)
    return StreamSummary(frames, tracklets, people, links)


@contextmanager
def _annotated(path: Path, video: Video) -> Iterator[AppendFrame]:
    with atomic_output(path) as temporary:
        channels = video.channels
        with video_file(temporary, video.width, video.height, video.rate, channels=channels, has_times=True) as append:
            yield append


@contextmanager
def _event_lines(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open a file to which events are appended as they occur, each line complete."""
    if path == STANDARD_OUTPUT:
        yield lambda event: print(_line(event), end="", flush=True)
        return
    make_folder(path.parent)
    with output_errors(path), path.open("w", encoding="utf-8", buffering=1) as stream:
        yield lambda event: stream.writelines([_line(event)])


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(event) + "\n"
