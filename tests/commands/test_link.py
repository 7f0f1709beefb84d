from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from omnireid.cli import main
from omnireid.gallery.gallery import Gallery
from omnireid.tracking.mot_files import read_tracks
from omnireid.tracking.results import identified_boxes
from omnireid.tracking.scoring import score_tracks
from omnireid.tracking.track_table import TrackTable, read_track_table, write_track_table
from omnireid.tracking.tracklets import Tracklet

from ..ports import free_port
from ..tracking.cameras import seen, table, walks
from ..tracking.test_message_broker import broker, needs_mosquitto, subscriber, wait_for


@pytest.fixture
def tracks(tmp_path: Path) -> list[str]:
    names = []
    for camera in ("door", "hall"):
        names.append(str(tmp_path / f"{camera}.parquet"))
        write_track_table(Path(names[-1]), table(walks(8, (camera,)) if camera == "door" else later("hall", 11)))
    return names


def later(camera: str, seconds: int) -> list[Tracklet]:
    return [seen(camera, n, n, n * 8.0 + seconds) for n in range(8)]


def test_tracks_become_people_events_and_travel_times(
    tmp_path: Path, tracks: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    people, times = tmp_path / "people.parquet", tmp_path / "times.json"
    words = ["link", *tracks, "--output", str(people), "--events", "-", "--learned-times", str(times)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert len(events) == 16
    assert {event["person"] for event in events} == set(range(1, 9))
    assert events[0] | {"probability": 1} == {
        "event": "seen",
        "person": 1,
        "camera": "door",
        "from": "2026-05-01T10:00:00.000+00:00",
        "to": "2026-05-01T10:00:02.900+00:00",
        "from_s": 0.0,
        "to_s": 2.9,
        "tracks": [0],
        "probability": 1,
    }
    assert "8 people, 8 of them new, 8 in several cameras: 16 tracks, 16 events" in err
    assert json.loads(times.read_text())["times"][0]["from"] == "door"
    write_track_table(tmp_path / "yard.parquet", table(later("yard", 22)))
    words = [str(tmp_path / "yard.parquet"), "--people", str(people), "--output", str(people)]
    assert main(["link", *words, "--travel-times", str(times), "--json", str(tmp_path / "out.json")]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert (record["people"], record["new_people"], record["people_in_several_cameras"]) == (8, 0, 8)
    assert {event["camera"] for event in record["events"]} == {"yard"}  # the others were told before
    assert len(read_track_table(people).tracklets) == 24


def test_pictures_are_for_a_gallery_only(tmp_path: Path, tracks: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["link", *tracks, "--output", str(tmp_path / "p.parquet"), "--crops", str(tmp_path)]
    assert main(words) == 2
    assert "belongs to --gallery" in capsys.readouterr().err
    words[-1] = str(tmp_path / "none")
    assert main([*words, "--gallery", str(tmp_path / "g")]) == 2
    assert "none is no folder" in capsys.readouterr().err


def test_people_go_into_a_gallery_and_out_again(
    tmp_path: Path, tracks: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = str(tmp_path / "g")
    assert main(["link", *tracks, "--output", str(tmp_path / "p.parquet"), "--gallery", gallery]) == 0
    assert "96 sightings added" in capsys.readouterr().out
    assert len(Gallery.open(gallery).people()) == 8
    assert main(["gallery", "undo", "--gallery", gallery]) == 0
    assert Gallery.open(gallery).people() == ()


@needs_mosquitto
def test_events_go_to_a_broker(tmp_path: Path, tracks: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    words = ["link", *tracks, "--output", str(tmp_path / "p.parquet"), "--mqtt", f"127.0.0.1:{port}/people/seen"]
    with broker(tmp_path, port), subscriber(port) as heard:
        assert main(words) == 0
        wait_for(heard, 16)
    assert "16 events confirmed by" in capsys.readouterr().out
    assert {json.loads(text)["person"] for text in heard} == set(range(1, 9))
    assert main(words) == 2
    assert "cannot be reached" in capsys.readouterr().err
    assert read_track_table(tmp_path / "p.parquet").people  # what was found is kept all the same


def test_wrong_input_is_an_error_with_the_next_step(
    tmp_path: Path, tracks: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output", str(tmp_path / "p.parquet")]
    other, text = tmp_path / "other.parquet", tmp_path / "text.parquet"
    write_track_table(other, table(walks(2, ("yard",)), weights="b"))
    text.write_text("no table")
    nobody = tmp_path / "nobody.parquet"
    write_track_table(nobody, TrackTable(()))
    shutil.copy(tracks[0], tmp_path / "copy.parquet")
    for words, said in (
        (["link", *tracks, str(tmp_path / "copy.parquet"), *out], "both have a camera named 'door'"),
        (["link", tracks[0], tracks[0], *out], "is named twice"),
        (["link", tracks[0], str(other), *out], "Track both with the same weights"),
        (["link", str(text), *out], "cannot be read as a Parquet file"),
        (["link", "none.parquet", *out], "There is no file none.parquet"),
        (["link", *tracks, "--output", tracks[0]], "it is an input"),
        (["link", *tracks, *out, "--people", tracks[0]], "Camera 'door' is in"),
        (["link", *tracks, *out, "--events", "-", "--json", "-"], "both go to standard output"),
        (["link", *tracks, *out, "--mqtt", "nowhere"], "host[:port]/topic"),
        (["link", *tracks, *out, "--overlap", "door"], "two cameras as A:B"),
    ):
        assert main(words) == 2, words
        assert said in capsys.readouterr().err
    assert main(["link", str(nobody), *out]) == 0
    assert "0 people" in capsys.readouterr().out


@pytest.mark.slow
def test_drawn_people_are_followed_from_camera_to_camera(tmp_path: Path) -> None:
    """Footage, tracks, people and scores by the commands alone, with the weights that ship here."""
    footage, people = tmp_path / "footage", tmp_path / "people.parquet"
    plan = ["--cameras", "2", "--people", "6", "--seconds", "30", "--height", "240", "--seed", "1"]
    assert main(["synthesize-video", str(footage), *plan]) == 0
    tables = []
    for camera in ("camera-1", "camera-2"):
        tables.append(str(tmp_path / f"{camera}.parquet"))
        found = ["--detections", str(footage / camera / "det" / "det.txt"), "--output", tables[-1]]
        assert main(["track", str(footage / camera / "video.mp4"), *found, "--started", "2026-01-01T10:00:00Z"]) == 0
    assert main(["link", *tables, "--output", str(people)]) == 0
    linked = read_track_table(people)
    truths = {camera: read_tracks(footage / camera / "gt" / "gt.txt") for camera in linked.recordings}
    results = {
        camera: identified_boxes(
            [one for one in linked.tracklets if one.camera == camera],
            {number: person for (name, number), person in linked.people.items() if name == camera},
        )
        for camera in truths
    }
    scores = score_tracks(truths, results, across_cameras=True)
    assert scores.across is not None
    assert scores.across.idf1 > 0.85
