"""``omnireid demo``: the whole way, from footage to the page, on people nobody has to ask."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import tyro

from omnireid.synthetic.footage_plan import FootagePlan

_FOOTAGE = FootagePlan(people=10, seconds=40)
_PEOPLE = "people.parquet"


def demo(
    folder: Annotated[Path, tyro.conf.Positional] = Path("omnireid-demo"),
    *,
    footage: FootagePlan = _FOOTAGE,
    port: int = 8000,
    page: bool = True,
) -> None:
    """Draw footage of several cameras, track and link its people, and open a gallery of them in a page.

    Each step is a command of its own, and is printed as you would type it. A folder that holds a finished demo is
    served as it is.

    Example: omnireid demo

    Args:
        folder: Where everything goes.
        footage: What is drawn.
        port: Port of the page on this machine; 0 takes a free one.
        page: Serve the page at the end, until Ctrl-C.
    """
    from omnireid.commands.serve import serve
    from omnireid.service.options import ServiceOptions
    from omnireid.service.server import require_libraries

    _check_libraries()
    require_libraries()
    gallery, crops = folder / "people.gallery", folder / "crops"
    started = time.perf_counter()
    if not _has_people(gallery):
        _make_gallery(folder, footage, gallery, crops)
        _calibrate(folder, gallery)
        print(f"\nfrom footage to a gallery in {time.perf_counter() - started:.0f} seconds")
    _say("serve", "--gallery", gallery, "--serve-crops", crops, "--port", port)
    print(f"In the page, choose any picture below {crops}, or look at the people.", flush=True)
    if page:
        serve(gallery=str(gallery), service=ServiceOptions(port=port, serve_crops=(crops,)))


def _check_libraries() -> None:
    from omnireid.errors import require

    require("av", "track", "Drawing and tracking footage")
    require("lancedb", "gallery", "A gallery")
    require("scipy", "gallery", "Fitting a calibration")


def _has_people(gallery: Path) -> bool:
    """Whether people were linked into this gallery before."""
    from omnireid.gallery.gallery import Gallery

    if not gallery.is_dir():
        return False
    opened = Gallery.open(gallery)
    return opened.model is not None and bool(opened.people())


def _make_gallery(folder: Path, footage: FootagePlan, gallery: Path, crops: Path) -> None:
    from omnireid.commands.link import LinkOutputs, link
    from omnireid.commands.synthesize_video import synthesize_video
    from omnireid.synthetic.footage import CAMERAS_FILE

    drawn, people = folder / "footage", folder / _PEOPLE
    if not (drawn / CAMERAS_FILE).is_file():
        _say("synthesize-video", drawn, "--people", footage.people, "--seconds", f"{footage.seconds:g}")
        synthesize_video(drawn, plan=footage)
    cameras = json.loads((drawn / CAMERAS_FILE).read_text(encoding="utf-8"))["cameras"]
    tracks = tuple(_track(drawn / camera["name"], camera["start_time"], folder, crops) for camera in cameras)
    _say("link", *tracks, "--output", people, "--gallery", gallery, "--crops", crops)
    link(tracks, output=people, outputs=LinkOutputs(gallery=str(gallery), crops=crops))


def _calibrate(folder: Path, gallery: Path) -> None:
    """Learn from the tracks what a distance means; short footage has too few pairs for that."""
    from omnireid.commands.calibrate import CalibrationSource, calibrate
    from omnireid.commands.gallery import calibrate as calibrate_gallery
    from omnireid.errors import CalibrationError

    people, calibration = folder / _PEOPLE, folder / "calibration.json"
    _say("calibrate", "--tracks", people, "--output", calibration)
    try:
        calibrate(source=CalibrationSource(tracks=(people,)), output=calibration)
    except CalibrationError as error:
        print(f"note: {error} The page shows distances without probabilities.", file=sys.stderr)
        return
    _say("gallery", "calibrate", calibration, "--gallery", gallery)
    calibrate_gallery(calibration, gallery=str(gallery))


def _track(camera: Path, started: str, folder: Path, crops: Path) -> Path:
    """Track the footage of one camera; the table."""
    from omnireid.commands.track import PeopleSource, RecordingFacts, track
    from omnireid.tracking.tracking_options import TrackResults

    video, detections, output = camera / "video.mp4", camera / "det" / "det.txt", folder / f"{camera.name}.parquet"
    words = ("--detections", detections, "--started", started, "--output", output, "--crops", crops)
    _say("track", video, *words)
    track(
        str(video),
        results=TrackResults(output=output, crops=crops),
        people=PeopleSource(detections=detections),
        recording=RecordingFacts(started=started),
    )
    return output


def _say(*words: object) -> None:
    print(f"\n$ omnireid {' '.join(map(str, words))}", flush=True)
