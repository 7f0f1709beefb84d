from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.tracking.rtsp_camera import RtspCamera
from tests.tracking.videos import number_of, write_video

from omnireid.errors import TrackingError
from omnireid.tracking.detection_files import check_belongs_to_video, read_detections_of_video
from omnireid.tracking.mot_files import read_sequence_info
from omnireid.tracking.video import open_video
from omnireid.tracking.video_options import VideoOptions


@pytest.fixture
def recording(tmp_path: Path) -> bytes:
    return write_video(tmp_path / "v.ts", [n / 25 for n in range(8)], codec="mpeg2video", ticks=25).read_bytes()


@pytest.fixture
def rtsp_camera(recording: bytes) -> Iterator[RtspCamera]:
    with closing(RtspCamera(recording, connections=2)) as camera:
        yield camera


def test_a_camera_is_read_over_rtsp_and_opened_again_after_it_hung_up(rtsp_camera: RtspCamera) -> None:
    options = VideoOptions(waiting_frames=100, reconnects=1, reconnect_wait=0.01, timeout=5)
    with open_video(rtsp_camera.address, options) as video:
        assert video.is_live
        frames = list(video.frames())
    shown = [number_of(frame.pixels) for frame in frames]
    half = len(frames) // 2
    assert shown[:half] == shown[half:] == list(range(half))
    assert half >= 6  # the transport stream of a camera that hangs up lacks its last frame
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert all(np.diff([frame.time for frame in frames]) > 0)
    assert video.counts.reconnections == 1
    assert video.counts.ended_because is not None
    assert "did not come back after 1 attempt:" in video.counts.ended_because


def test_a_camera_that_falls_silent_is_given_up_after_the_timeout(recording: bytes) -> None:
    with closing(RtspCamera(recording, falls_silent=True)) as camera:
        video = open_video(camera.address, VideoOptions(waiting_frames=100, reconnects=0, timeout=0.5))
        assert len(list(video.frames())) >= 6
    assert video.counts.ended_because is not None
    assert "did not come back after 0 attempts" in video.counts.ended_because


@pytest.mark.real
@pytest.mark.parametrize("name", ["PETS09-S2L1", "TUD-Campus", "TUD-Stadtmitte"])
def test_a_published_sequence_has_its_frames_and_its_detections_belong_to_it(shared: Path, name: str) -> None:
    folder = shared / "data" / "tracking" / name
    stated = read_sequence_info(folder / "seqinfo.ini")
    with open_video(next(folder.glob("video.*"))) as video:
        assert (video.width, video.height) == (stated.width, stated.height)
        times = [frame.time for frame in video.frames()]
    assert len(times) == video.counts.read == stated.frames
    assert np.allclose(np.diff(times), times[1])
    path = folder / "det" / "det.txt"
    table = read_detections_of_video(path)
    check_belongs_to_video(table, path, width=video.width, height=video.height, frame_count=len(times))
    with pytest.raises(TrackingError, match="frames that the video does not have"):
        check_belongs_to_video(table, path, width=video.width, height=video.height, frame_count=len(times) - 1)
    with pytest.raises(TrackingError, match="made for another image size"):
        check_belongs_to_video(table, path, width=video.width // 2, height=video.height // 2)
