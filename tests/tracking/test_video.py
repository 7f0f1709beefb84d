from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.tracking.videos import number_of, picture, write_sound, write_video

from omnireid.errors import SettingError, TrackingError
from omnireid.tracking.video import open_video
from omnireid.tracking.video_options import VideoOptions

TENTHS = [number / 10 for number in range(8)]


def test_every_frame_of_a_file_has_its_number_time_and_pixels(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", TENTHS)
    with open_video(path, channels="rgb") as video:
        assert (video.width, video.height, video.is_live) == (64, 48, False)
        frames = list(video.frames())
    assert [frame.number for frame in frames] == list(range(8))
    assert [frame.time for frame in frames] == pytest.approx(TENTHS)
    assert [number_of(frame.pixels) for frame in frames] == list(range(8))
    assert np.abs(frames[2].pixels[:20, :28].astype(int) - (250, 10, 10)).max() < 30
    bgr = next(open_video(path).frames(start=5))
    assert bgr.number == 5
    assert np.array_equal(bgr.pixels[..., ::-1], frames[5].pixels)


def test_times_are_those_of_the_video_where_the_frame_rate_varies(tmp_path: Path) -> None:
    times = [2.0, 2.04, 2.5, 2.51, 4.0]
    video = open_video(write_video(tmp_path / "v.mkv", times))
    assert [frame.time for frame in video.frames()] == pytest.approx([0, 0.04, 0.5, 0.51, 2.0])


@pytest.mark.parametrize(("rotation", "corner"), [(90, "bottom left"), (-90, "top right"), (180, "bottom right")])
def test_a_rotation_flag_is_applied(tmp_path: Path, rotation: int, corner: str) -> None:
    """The flag says by how many degrees a picture is turned anticlockwise; its red part begins at the top left."""
    video = open_video(write_video(tmp_path / "v.mp4", TENTHS[:2], rotation=rotation, codec="mpeg4"), channels="rgb")
    pixels = next(video.frames()).pixels
    height, width, _ = pixels.shape
    assert (video.width, video.height) == (width, height) == ((64, 48) if rotation == 180 else (48, 64))
    row, column = corner.split()
    vertical = pixels[: height // 2] if row == "top" else pixels[height // 2 :]
    quarter = vertical[:, : width // 2] if column == "left" else vertical[:, width // 2 :]
    assert quarter[..., 0].mean() > 200
    assert quarter[..., 1].mean() < 60


def test_a_broken_frame_is_skipped_and_counted_and_keeps_its_number(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "v.mkv", TENTHS, broken=[0, 3, 4]))
    frames = list(video.frames())
    assert [frame.number for frame in frames] == [1, 2, 5, 6, 7]
    assert [number_of(frame.pixels) for frame in frames] == [1, 2, 5, 6, 7]
    assert (video.counts.broken, video.counts.read) == (3, 8)


def test_too_many_broken_frames_stop_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", TENTHS, broken=[2, 3, 4])
    with pytest.raises(TrackingError, match="3 frames in a row of .* are broken"):
        list(open_video(path, VideoOptions(broken_in_a_row=2)).frames())
    whole = write_video(tmp_path / "b.mkv", TENTHS, broken=range(8))
    with pytest.raises(TrackingError, match=r"No frame of .*b\.mkv can be decoded"):
        open_video(whole)


def test_a_file_that_breaks_off_gives_what_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", TENTHS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    numbers = [frame.number for frame in open_video(path).frames()]
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < 8


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    with pytest.raises(TrackingError, match="No such video: nowhere.mp4"):
        open_video("nowhere.mp4")
    with pytest.raises(TrackingError, match=r"notes\.mp4 cannot be opened as a video: .*Invalid data"):
        open_video(text)
    with pytest.raises(TrackingError, match=r"There is no video in .*sound\.wav; it holds audio"):
        open_video(write_sound(tmp_path / "sound.wav"))
    with pytest.raises(TrackingError, match="There is no image in"):
        open_video(tmp_path, VideoOptions(frame_rate=5))
    with pytest.raises(TrackingError, match=r"rtsp://127\.0\.0\.1:9/x cannot be opened"):
        open_video("rtsp://127.0.0.1:9/x")
    with pytest.raises(SettingError, match="waiting_frames must be a whole number, at least 1; got 0"):
        VideoOptions(waiting_frames=0)
    with pytest.raises(SettingError, match="frame_rate must be a finite number above 0; got nan"):
        VideoOptions(frame_rate=float("nan"))


def folder_of_frames(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(folder / name)
    return folder


def test_a_folder_is_read_in_the_order_of_the_numbers_in_its_names(tmp_path: Path) -> None:
    folder = folder_of_frames(tmp_path / "img1", ["8.png", "9.png", "10.png", "11.png"])
    (folder / "10.png").write_text("broken")
    with pytest.raises(TrackingError, match="frame rate of the images in .* is not known"):
        open_video(folder)
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nframeRate=4\nseqLength=4\n")
    video = open_video(folder, channels="rgb")
    frames = list(video.frames())
    assert [(frame.number, frame.time) for frame in frames] == [(0, 0), (1, 0.25), (3, 0.75)]
    assert np.array_equal(frames[2].pixels, picture(3))
    assert (video.frame_count, video.counts.broken) == (4, 1)
    assert [frame.time for frame in open_video(folder, VideoOptions(frame_rate=2)).frames()] == [0, 0.5, 1.5]


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = folder_of_frames(tmp_path / "frames", ["1.png", "2.png"])
    Image.fromarray(picture(2, 32, 24)).save(folder / "3.png")
    with pytest.raises(TrackingError, match="Frame 2 of .* has 32 × 24 pixels, but the video began with 64 × 48"):
        list(open_video(folder, VideoOptions(frame_rate=1)).frames())


class Camera:
    """A server on this machine that streams one recording a connection, closes it, and is gone after the last."""

    def __init__(self, recordings: list[bytes]) -> None:
        recordings = list(recordings)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not recordings:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(recordings.pop(0))

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/stream.ts"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Camera]:
    contents = []
    for part in (0, 1):
        path = write_video(
            tmp_path / f"{part}.ts", [n / 25 for n in range(8)], first=8 * part, codec="mpeg2video", ticks=25
        )
        contents.append(path.read_bytes())
    server = Camera(contents)
    yield server
    server.close()


FAST = {"reconnect_wait": 0.01, "reconnects": 2, "timeout": 5.0}


def test_a_stream_that_ends_is_opened_again_a_bounded_number_of_times(camera: Camera) -> None:
    with open_video(camera.address, VideoOptions(waiting_frames=100, **FAST)) as video:  # type: ignore[arg-type]
        assert video.is_live
        frames = list(video.frames())
    assert [frame.number for frame in frames] == list(range(16))
    assert [number_of(frame.pixels) for frame in frames] == list(range(16))
    times = [frame.time for frame in frames]
    assert times == sorted(set(times))
    assert (video.counts.reconnections, video.counts.dropped) == (1, 0)
    assert video.counts.ended_because is not None
    assert "did not come back after 2 attempts" in video.counts.ended_because
    assert "404" in video.counts.ended_because


def test_a_slow_caller_gets_the_newest_frames_of_a_stream(camera: Camera) -> None:
    with open_video(camera.address, VideoOptions(waiting_frames=2, **FAST)) as video:  # type: ignore[arg-type]
        frames = video.frames()
        first = next(frames)
        while video.counts.ended_because is None:
            time.sleep(0.01)
        rest = list(frames)
    assert [frame.number for frame in rest] == [14, 15]
    assert first.number < 14
    assert video.counts.dropped == 16 - 1 - len(rest)


def test_a_video_that_was_never_read_is_closed_too(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", TENTHS)
    with open_video(path) as video:
        pass
    assert list(video.frames()) == []
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    videos = [open_video(path) for _ in range(5)]
    for opened in videos:
        opened.close()
    assert before == (len(list(Path("/proc/self/fd").iterdir())) if before else 0)


def test_closing_a_stream_ends_its_thread(camera: Camera) -> None:
    before = threading.active_count()
    video = open_video(camera.address, VideoOptions(**FAST))  # type: ignore[arg-type]
    next(video.frames())
    video.close()
    for thread in threading.enumerate():
        if thread.name == "live-stream":
            thread.join(5)
    assert not any(thread.name == "live-stream" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1


def test_a_stated_rate_counts_instead_of_a_files_own_timestamps(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", [0, 0.1, 0.2, 0.3], broken=[1])
    with open_video(video, VideoOptions(frame_rate=5)) as opened:
        assert opened.rate == 5
        assert [frame.time for frame in opened.frames()] == [0, 0.4, 0.6]
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nseqLength=4\nframeRate=4\n", encoding="utf-8")
    with open_video(video) as opened:
        assert [frame.time for frame in opened.frames()] == [0, 0.5, 0.75]
