from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import supervision
import trackers

from omnireid.errors import SettingError, TrackingError
from omnireid.tracking.detections import FrameDetections
from omnireid.tracking.motion import FollowedBoxes, follow_boxes
from omnireid.tracking.tracking_options import MOTION_TRACKERS, MotionOptions, MotionTracker

RATE = 10.0


def walkers(frames: int, hidden: range = range(0)) -> Iterator[tuple[FrameDetections, float]]:
    """Two people who walk past each other in different depths; the first has no box in the hidden frames."""
    for frame in range(frames):
        boxes = np.array([[10 + 4 * frame, 20, 50 + 4 * frame, 120], [400 - 4 * frame, 200, 440 - 4 * frame, 300]])
        kept = boxes[1:] if frame in hidden else boxes
        yield FrameDetections(frame, kept.astype(np.float32), np.full(len(kept), 0.9)), frame / RATE


def numbers_of_first(results: list[FollowedBoxes]) -> set[int]:
    return {int(n) for r in results for n, box in zip(r.numbers, r.boxes, strict=True) if box[1] == 20}


@pytest.mark.parametrize("tracker", MOTION_TRACKERS)
def test_each_walker_keeps_a_number_and_boxes_stay_as_detected(tracker: MotionTracker) -> None:
    results = list(follow_boxes(walkers(20), RATE, MotionOptions(tracker)))
    assert [r.frame for r in results] == list(range(20))
    assert len(numbers_of_first(results)) == 1
    for result, (detections, time) in zip(results[3:], list(walkers(20))[3:], strict=True):
        assert result.time == time
        assert len(set(result.numbers.tolist())) == len(result) == 2
        np.testing.assert_array_equal(result.boxes, detections.boxes[result.rows])


@pytest.mark.parametrize("tracker", MOTION_TRACKERS)
def test_whoever_is_gone_for_longer_than_the_lost_time_begins_a_new_tracklet(tracker: MotionTracker) -> None:
    def numbers(lost_s: float) -> set[int]:
        return numbers_of_first(
            list(follow_boxes(walkers(30, range(10, 16)), RATE, MotionOptions(tracker, lost_s=lost_s)))
        )

    assert len(numbers(1.0)) == 1
    assert len(numbers(0.2)) == 2


def test_the_default_is_the_library_tracker_with_its_own_settings() -> None:
    theirs = trackers.BoTSORTTracker(frame_rate=RATE, enable_cmc=False)
    for (detections, time), ours in zip(
        walkers(25, range(8, 12)), follow_boxes(walkers(25, range(8, 12)), RATE), strict=True
    ):
        given = supervision.Detections(xyxy=detections.boxes, confidence=detections.scores)
        result = theirs.update(given, timestamp=time)
        theirs_numbers = np.asarray(result.tracker_id)
        kept = theirs_numbers >= 0
        assert {(n, *box) for n, box in zip(theirs_numbers[kept], result.xyxy[kept].tolist(), strict=True)} == {
            (n, *box) for n, box in zip(ours.numbers, ours.boxes.tolist(), strict=True)
        }


def test_two_followers_at_once_do_not_disturb_each_other() -> None:
    alone = list(follow_boxes(walkers(12), RATE))
    for one, other, before in zip(follow_boxes(walkers(12), RATE), follow_boxes(walkers(12), RATE), alone, strict=True):
        assert one.numbers.tolist() == other.numbers.tolist() == before.numbers.tolist()


def test_frames_without_boxes_give_results_without_boxes() -> None:
    empty = FrameDetections(0, np.empty((0, 4), np.float32), np.empty(0, np.float32))
    (result,) = follow_boxes([(empty, 0.0)], RATE)
    assert len(result) == 0
    assert result.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("second", "time", "message"),
    [
        (1, 0.0, "frame 1 at 0 s came after frame 0 at 0 s"),
        (0, 0.1, "Frames must come in the order of time"),
        (1, float("nan"), "The time of frame 1 is not finite"),
    ],
)
def test_frames_out_of_order_are_refused(second: int, time: float, message: str) -> None:
    (first, _), *_ = walkers(1)
    frames = [(first, 0.0), (FrameDetections(second, first.boxes, first.scores), time)]
    with pytest.raises(TrackingError, match=message):
        list(follow_boxes(frames, RATE))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="no motion tracker 'sort'"):
        MotionOptions("sort")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="lost_s must be"):
        MotionOptions(lost_s=-1.0)
    with pytest.raises(SettingError, match="frame_rate must be a positive number"):
        list(follow_boxes(walkers(1), 0.0))
