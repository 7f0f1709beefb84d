from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.tracking.rtsp_camera import RtspCamera
from tests.tracking.videos import write_sound, write_video

from omnireid.cli import main
from omnireid.synthetic.footage import synthesize_video
from omnireid.synthetic.footage_plan import FootagePlan
from omnireid.tracking.mot_files import read_tracks
from omnireid.tracking.scoring import score_tracks
from omnireid.tracking.track_table import read_track_table
from omnireid.tracking.video import Frame, Video

FRAMES = 40


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("track") / "footage"
    synthesize_video(folder, FootagePlan(cameras=1, people=4, seconds=8, frame_rate=5, height=240))
    return folder / "camera-1"


@pytest.fixture
def words(camera: Path, untrained: Path, tmp_path: Path) -> list[str]:
    given = [str(camera / "video.mp4"), "--detections", str(camera / "det" / "det.txt")]
    return [*given, "--weights", str(untrained), "--runtime", "onnxruntime", "--output", str(tmp_path / "t.parquet")]


def with_option(words: Sequence[str], option: str, value: object) -> list[str]:
    place = words.index(option)
    return [*words[: place + 1], str(value), *words[place + 2 :]]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("online", [False, True])
def test_boxes_go_in_and_people_come_out(
    words: list[str], tmp_path: Path, online: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    video, mot, events, page = (tmp_path / name for name in ("v.mp4", "t.txt", "e.jsonl", "links.html"))
    more = ["--online"] if online else ["--fill-s", "0", "--explain-links", str(page)]
    assert main(["track", *words, "--video", str(video), "--mot", str(mot), "--events", str(events), *more]) == 0
    table = read_track_table(tmp_path / "t.parquet")
    assert {tracklet.camera for tracklet in table.tracklets} == {"camera-1"}
    assert len(table.people) == len(table.tracklets) > 1
    assert any(len(tracklet.embedded) for tracklet in table.tracklets)
    boxes = read_tracks(mot)
    assert boxes.notes == ()
    assert len(boxes) == sum(len(tracklet.frames) for tracklet in table.tracklets)
    assert set(boxes.identities.tolist()) == set(table.people.values())
    told = lines(events)
    assert {event["person"] for event in told} == set(table.people.values())
    with av.open(str(video)) as container:
        shown = [frame.time for frame in container.decode(video=0)]
    assert len(shown) == FRAMES
    assert np.allclose(shown, np.arange(FRAMES) / 5, atol=0.01)
    assert page.is_file() is not online
    assert f"in {FRAMES} frames; " in capsys.readouterr().out


def test_a_file_that_was_stopped_goes_on_where_it_ended(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", *words]) == 0
    whole = (tmp_path / "t.parquet").read_bytes()
    read: list[int] = []
    frames = Video.frames

    def stop(self: Video, start: int = 0) -> Iterator[Frame]:
        for frame in frames(self, start):
            read.append(frame.number)
            if frame.number == 25 and start == 0:  # frame 24 is in a window that is open
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(Video, "frames", stop)
    assert main(["track", *words]) == 2
    assert "Stopped by Ctrl-C after 24 frames" in capsys.readouterr().err
    assert max(tracklet.frames[-1] for tracklet in read_track_table(tmp_path / "t.parquet").tracklets) == 23
    read.clear()
    assert main(["track", *words]) == 0
    assert read == list(range(24, FRAMES))
    assert (tmp_path / "t.parquet").read_bytes() == whole
    assert not (tmp_path / ".t.parquet.parts").exists()


def test_a_stream_that_is_stopped_leaves_what_was_seen(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = Video.frames

    def stop(self: Video, start: int = 0) -> Iterator[Frame]:
        for frame in frames(self, start):
            if frame.number == 25:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(Video, "frames", stop)
    assert main(["track", *words, "--online", "--mot", str(tmp_path / "t.txt")]) == 0
    assert read_tracks(tmp_path / "t.txt").frames.max() == 23


def test_nobody_in_the_whole_recording(words: list[str], tmp_path: Path) -> None:
    nobody = tmp_path / "det.txt"
    nobody.touch()
    mot, events = tmp_path / "t.txt", tmp_path / "e.jsonl"
    for more in ([], ["--online"]):
        named = ["--mot", str(mot), "--events", str(events), *more]
        assert main(["track", *with_option(words, "--detections", nobody), *named]) == 0
        assert read_track_table(tmp_path / "t.parquet").tracklets == ()
        assert mot.read_text(encoding="utf-8") == events.read_text(encoding="utf-8") == ""


BAD_DETECTIONS = {
    "41,-1,10,10,20,40,0.9": "has detections in frames that the video does not have: 40",
    "1,-1,nan,10,20,40,0.9": "left must be a finite number; found 'nan'",
    "1,-1,10,10,-20,40,0.9": "a box needs a width and height above 0; found -20 x 40",
    "1,-1,10,10,20,0,0.9": "a box needs a width and height above 0; found 20 x 0",
    "1,-1,4000,10,20,40,0.9": "They were made for another image size",
}


@pytest.mark.parametrize(("line", "reason"), BAD_DETECTIONS.items())
def test_detections_that_cannot_be_the_videos_own_are_refused(
    line: str, reason: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "det.txt"
    bad.write_text(line + "\n", encoding="utf-8")
    assert main(["track", *with_option(words, "--detections", bad)]) == 2
    shown = capsys.readouterr().err
    assert reason in shown
    assert "Traceback" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["det.txt"]


def test_detections_in_the_wrong_order_are_sorted(
    words: list[str], camera: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", *words]) == 0
    whole = (tmp_path / "t.parquet").read_bytes()
    mixed = tmp_path / "det.txt"
    by_frame = sorted((camera / "det" / "det.txt").read_text().splitlines(), key=lambda line: -int(line.split(",")[0]))
    mixed.write_text("\n".join(by_frame), encoding="utf-8")
    assert main(["track", *with_option(words, "--detections", mixed)]) == 0
    assert "The lines were not in the order of frames" in capsys.readouterr().err
    assert (tmp_path / "t.parquet").read_bytes() == whole


def test_videos_that_cannot_be_read_are_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video", encoding="utf-8")
    for video, reason in (
        (write_sound(tmp_path / "sound.wav"), "There is no video in"),
        (text, "cannot be opened as a video"),
        (tmp_path / "gone.mp4", "No such video"),
    ):
        assert main(["track", str(video), *words[1:]]) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "t.parquet").exists()


def test_broken_frames_a_rotation_flag_and_a_variable_frame_rate(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = [0, 0.1, 0.2, 0.5, 0.9, 1.0]
    video = write_video(tmp_path / "v.mp4", times, rotation=90, broken=[2])
    detections = tmp_path / "det.txt"
    boxes = [f"{frame},-1,4,{10 + frame},30,40,0.9" for frame in range(1, 7)]
    detections.write_text("\n".join(boxes), encoding="utf-8")
    named = with_option([str(video), *words[1:]], "--detections", detections)
    assert main(["track", *named, "--camera", "door", "--started", "2026-03-01T10:00:00+01:00"]) == 0
    assert "1 frames were broken" in capsys.readouterr().out
    table = read_track_table(tmp_path / "t.parquet")
    assert (table.recordings["door"].width, table.recordings["door"].height) == (48, 64)
    assert table.recordings["door"].started == "2026-03-01T10:00:00+01:00"
    (tracklet,) = table.tracklets
    assert 2 not in tracklet.frames
    assert np.allclose(tracklet.times, np.array(times)[tracklet.frames], atol=0.002)


def test_what_cannot_be_asked_for_is_refused(
    words: list[str], untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--detector", str(untrained)]
    for more, reason in (
        (both, "give either --detections or --detector"),
        (
            ["--online", "--explain-links", str(tmp_path / "l.html")],
            "reads the recording a second time",
        ),
        (["--online", "--crops", str(tmp_path / "crops")], "reads the recording a second time"),
        (["--crops", words[0]], "Cannot write"),
        (["--mot", str(tmp_path / "t.mp4")], "name ends in .txt"),
        (["--video", words[0]], "is an input of this command"),
        (["--mot", str(tmp_path / "t.parquet")], "Two results cannot both be written"),
        (["--started", "yesterday"], "started must be a date and time with a time zone"),
        (["--crops-per-s", "0"], "crops_per_s must be a number above 0"),
        (["--decide-crops", "1"], "decide_crops must be a whole number, at least 2"),
    ):
        assert main(["track", *words, *more]) == 2
        assert reason in capsys.readouterr().err
    no_detector = [*words[:1], *words[3:], "--detector", str(untrained)]
    assert main(["track", *no_detector]) == 2
    assert "cannot be read as an ONNX graph" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_camera_that_hangs_up_is_tracked_again_until_it_does_not_come_back(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = write_video(tmp_path / "v.ts", [n / 25 for n in range(8)], codec="mpeg2video", ticks=25).read_bytes()
    detections = tmp_path / "det.txt"
    detections.write_text("\n".join(f"{frame},-1,4,{10 + frame},20,28,0.9" for frame in range(1, 16)), encoding="utf-8")
    with closing(RtspCamera(recording, connections=2)) as camera:
        named = with_option([camera.address, *words[1:]], "--detections", detections)
        patience = ["--waiting-frames", "100", "--reconnects", "1", "--reconnect-wait", "0.01", "--timeout", "5"]
        assert main(["track", *named, *patience, "--events", "-"]) == 0
        shown = capsys.readouterr()
        page = ["--explain-links", str(tmp_path / "l.html")]
        assert main(["track", *named, *patience, *page]) == 2  # nobody answers any more
    events = [json.loads(line) for line in shown.out.splitlines()]
    assert {event["event"] for event in events} == {"new"}
    assert "1 times the stream was opened again" in shown.err
    assert "did not come back after 1 attempt" in shown.err
    table = read_track_table(tmp_path / "t.parquet")
    assert sum(len(tracklet.frames) for tracklet in table.tracklets) >= 6


def test_three_hundred_people_in_a_frame(words: list[str], tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (170, 255, 3), dtype=np.uint8))
    picture = coarse.resize((1020, 680), Image.Resampling.NEAREST)
    boxes = [(2 + 34 * column, 2 + 56 * row) for column in range(30) for row in range(10)]
    for frame in range(3):
        picture.save(frames / f"{frame}.png")
    detections = tmp_path / "det.txt"
    rows = [f"{frame + 1},-1,{left},{top},24,50,0.9" for frame in range(3) for left, top in boxes]
    detections.write_text("\n".join(rows), encoding="utf-8")
    named = with_option([str(frames), *words[1:]], "--detections", detections)
    assert main(["track", *named, "--frame-rate", "5"]) == 0
    table = read_track_table(tmp_path / "t.parquet")
    assert len(table.tracklets) == 300
    assert all(len(tracklet.embedded) for tracklet in table.tracklets)


@pytest.mark.real
@pytest.mark.slow
def test_a_detector_finds_the_people_of_a_real_video(words: list[str], shared: Path, tmp_path: Path) -> None:
    place = shared / "data" / "tracking" / "TUD-Campus"
    detector = ["--detector", str(shared / "weights" / "detectors" / "yolox_nano.onnx")]
    named = [str(place / "video.mp4"), *detector, *words[3:], "--mot", str(tmp_path / "t.txt")]
    assert main(["track", *named]) == 0
    scores = score_tracks({"c": read_tracks(place / "gt" / "gt.txt")}, {"c": read_tracks(tmp_path / "t.txt")})
    assert scores.combined.idf1 > 0.4
