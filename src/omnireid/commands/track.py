"""``omnireid track``: the people of a video."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.commands.options import WeightsOption, announce
from omnireid.embedding.options import RuntimeOptions
from omnireid.tracking.detector_options import DetectorOptions
from omnireid.tracking.tracking_options import STANDARD_OUTPUT, TrackingOptions, TrackResults
from omnireid.tracking.video_options import VideoOptions
from omnireid.weights.shipped import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder
    from omnireid.retrieval.calibration import Calibration
    from omnireid.tracking.video import Video
    from omnireid.tracking.windows import DetectPeople


@dataclass(frozen=True, kw_only=True)
class PeopleSource:
    """Where the boxes of people come from.

    Attributes:
        detections: Detections of the video, as MOTChallenge text (frames from 1) or a Parquet table (frames from 0).
        detector: ONNX graph of a detector of the YOLOX family, which finds the people.
        least_score: Lowest confidence of a box that the detector gives.
        person_class: Number of the detector's class that is a person.
    """

    detections: Path | None = None
    detector: Path | None = None
    least_score: float = DetectorOptions().least_score
    person_class: int = DetectorOptions().person_class


@dataclass(frozen=True, kw_only=True)
class RecordingFacts:
    """What is known of the recording, and how it is tracked.

    Attributes:
        camera: Name of the camera. By default the name of the file or folder, or of the folder around a file that is
            called video.
        started: Date and time of the first frame with its time zone, such as 2026-03-01T10:00:00+01:00.
        calibration: Calibration of the weights, which says what a distance is worth. By default that is learned from
            the recording itself.
        online: Give each tracklet its person while the recording goes on, as for a live stream.
    """

    camera: str | None = None
    started: str | None = None
    calibration: Path | None = None
    online: bool = False


def track(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO|FRAMES|rtsp://…")],
    *,
    results: TrackResults,
    people: PeopleSource = PeopleSource(),
    weights: WeightsOption = DEFAULT_WEIGHTS,
    recording: RecordingFacts = RecordingFacts(),
    tracking: TrackingOptions = TrackingOptions(),
    reading: VideoOptions = VideoOptions(),
    runtime: RuntimeOptions = RuntimeOptions(),
) -> None:
    """Find the people of a video: one person, one identity, through gaps.

    Boxes are followed from frame to frame, good crops are embedded, and what belongs
    to one person is linked by appearance, time and reach. Of a file all links are
    made at its end; a live stream gives each person a number within seconds. A file
    that was stopped goes on where it ended when the same command is run again.

    Example: omnireid track video.mp4 --detections det.txt --output tracks.parquet --video people.mp4

    Args:
        source: A video file, a folder of images, or the address of a stream.
        results: What is written.
        people: Where the boxes come from.
        recording: What is known of the recording.
        tracking: How people are tracked.
        reading: How the video is read.
        runtime: How the weights are run.
    """
    from omnireid.embedding.embedder import load_embedder
    from omnireid.errors import SettingError
    from omnireid.retrieval.calibration import read_calibration
    from omnireid.tracking.result_files import check_results
    from omnireid.tracking.track_table import Recording
    from omnireid.tracking.video import open_video

    given = [path for path in (people.detections, people.detector) if path is not None]
    if len(given) != 1:
        raise SettingError("Say where people are: give either --detections or --detector.")
    check_results(results, [source, *given])
    Recording(1, 1, recording.started)  # before the work, for its error
    calibration = None if recording.calibration is None else read_calibration(recording.calibration)
    with open_video(source, reading) as video:
        online = recording.online or video.is_live
        if online and results.explain_links is not None:
            raise SettingError(
                "--explain-links reads the recording a second time, which --online and live streams do not allow; "
                "--events has the evidence of every link."
            )
        if online and results.crops is not None:
            raise SettingError(
                "--crops reads the recording a second time, which --online and live streams do not allow."
            )
        detect = _find_people(people, video, runtime.threads)
        embedder = load_embedder(weights, runtime)
        if calibration is not None:
            calibration.check_weights(
                embedder.weights_sha256, asdict(embedder.metadata.preprocessing), embedder.metadata.distance
            )
        announce(embedder)
        task = _Task(source, video, detect, embedder, results, people, recording, tracking, reading, calibration)
        (_track_online if online else _track_file)(task)


@dataclass(frozen=True, eq=False)
class _Task:
    """What a run of the command has opened and was asked for."""

    source: str
    video: Video
    detect: DetectPeople
    embedder: Embedder
    results: TrackResults
    people: PeopleSource
    recording: RecordingFacts
    tracking: TrackingOptions
    reading: VideoOptions
    calibration: Calibration | None

    @property
    def camera(self) -> str:
        """Name of the camera."""
        path = Path(self.source)
        usual = path.parent.name if path.stem == "video" else path.stem
        return self.recording.camera or usual or self.source

    def tell(self, frames: int, begun: float, found: str) -> None:
        """Say what was found, how quickly, and what was lost on the way."""
        stream = sys.stderr if self.results.events == STANDARD_OUTPUT else sys.stdout
        rate = frames / max(time.perf_counter() - begun, 1e-9)
        print(f"{self.results.output}: {found} in {frames:,} frames; {rate:,.1f} frames a second", file=stream)
        counts = self.video.counts
        for count, what in (
            (counts.broken, "frames were broken and left out"),
            (counts.dropped, "frames were dropped, because nobody took them in time"),
            (counts.reconnections, "times the stream was opened again"),
        ):
            if count:
                print(f"{count:,} {what}", file=stream)
        if counts.ended_because is not None:
            print(counts.ended_because, file=stream)


def _find_people(people: PeopleSource, video: Video, threads: int | None) -> DetectPeople:
    """What gives the boxes of each frame."""
    from omnireid.tracking.detection_files import check_belongs_to_video, read_detections_of_video
    from omnireid.tracking.detector import load_detector
    from omnireid.tracking.windows import detections_of_table

    if people.detections is None:
        options = DetectorOptions(least_score=people.least_score, person_class=people.person_class, threads=threads)
        assert people.detector is not None
        detector = load_detector(people.detector, options)
        return lambda frame: detector.detect(frame.pixels, frame.number)
    table = read_detections_of_video(people.detections)
    for note in table.notes:
        print(f"note: {note}", file=sys.stderr)
    check_belongs_to_video(
        table, people.detections, width=video.width, height=video.height, frame_count=video.frame_count
    )
    return detections_of_table(table)


def _track_file(task: _Task) -> None:
    """Track a recording, going on where an earlier run stopped."""
    from omnireid.errors import StoppedError
    from omnireid.files import make_folder, sole_writer
    from omnireid.reports.link_page import draw_links
    from omnireid.tracking.crop_pictures import write_crop_pictures
    from omnireid.tracking.link_pictures import cut_link_pictures
    from omnireid.tracking.recording import track_recording
    from omnireid.tracking.result_files import write_recording
    from omnireid.tracking.video import open_video
    from omnireid.tracking.window_store import WindowStore, describe_job

    begun = time.perf_counter()
    output = task.results.output
    if task.results.crops is not None:
        make_folder(task.results.crops)  # before the work, for its error
    given = [path for path in (task.people.detections, task.people.detector) if path is not None]
    with sole_writer(output):
        job = describe_job(task.source, given, task.embedder, task.tracking, task.people, task.reading)
        store = WindowStore(output, job)
        tracked = track_recording(
            task.video,
            task.detect,
            task.embedder,
            task.tracking,
            camera=task.camera,
            started=task.recording.started,
            calibration=task.calibration,
            store=store,
            progress=True,
        )
        if task.results.explain_links is not None:
            with open_video(task.source, task.reading) as again:
                pictures = cut_link_pictures(again, tracked.linked)
            draw_links(task.results.explain_links, f"Links in {task.source}", tracked.linked, pictures)
        if task.results.crops is not None:
            with open_video(task.source, task.reading) as again:
                write_crop_pictures(again, tracked.linked.tracklets, task.results.crops)
        write_recording(tracked, task.results, lambda: open_video(task.source, task.reading))
        if tracked.is_complete:
            store.remove()
    linked = tracked.linked
    people = len(set(linked.people.values()))
    task.tell(
        tracked.frames, begun, f"{people:,} people in {len(linked.tracklets):,} tracklets, {len(linked.links):,} links"
    )
    if not tracked.is_complete:
        raise StoppedError(
            f"Stopped by Ctrl-C after {tracked.frames:,} frames. The results hold what was found until then; run the "
            "same command again to go on."
        )


def _track_online(task: _Task) -> None:
    """Track a stream until it ends or Ctrl-C is pressed."""
    from omnireid.tracking.recording import empty_table, track_stream
    from omnireid.tracking.result_files import write_stream

    begun = time.perf_counter()
    steps = track_stream(
        task.video,
        task.detect,
        task.embedder,
        task.tracking,
        camera=task.camera,
        calibration=task.calibration,
        keeps_pixels=task.results.video is not None,
        progress=True,
    )
    header = empty_table(task.video, task.embedder, task.camera, task.recording.started)
    found = write_stream(steps, task.video, header, task.results)
    task.tell(found.frames, begun, f"{found.people:,} people in {found.tracklets:,} tracklets, {found.links:,} links")
