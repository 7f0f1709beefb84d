from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.tracking.walkers import walker

from omnireid.tracking.results import identified_boxes
from omnireid.tracking.stillness import can_be_interpolated
from omnireid.tracking.tracklets import Tracklet


def shaken(tracklet: Tracklet) -> Tracklet:
    """The same person under a camera that swings by two widths of a person, once a second."""
    swing = 80 * np.sin(2 * np.pi * tracklet.times)
    return replace(tracklet, boxes=(tracklet.boxes + np.stack([swing, 0 * swing] * 2, axis=1)).astype(np.float32))


def test_a_still_camera_and_one_that_swings_are_told_apart() -> None:
    people = [walker(0, 0, (0, 40), speed=50), walker(1, 1, (5, 40), speed=-30, left=400)]
    assert can_be_interpolated(people, 1.5)
    assert not can_be_interpolated([shaken(one) for one in people], 1.5)
    assert can_be_interpolated([walker(0, 0, (0, 8), speed=50)], 2.0), "where all are shorter, the longest gap is taken"
    assert not can_be_interpolated([walker(0, 0, (0, 2)), walker(1, 1, (4, 5))], 2.0)
    assert not can_be_interpolated([], 2.0)


def test_nothing_is_filled_under_a_camera_that_swings() -> None:
    still = [walker(0, 0, (0, 30), speed=50), walker(1, 0, (34, 60), speed=50)]
    people = {0: 7, 1: 7}
    assert len(identified_boxes(still, people, fill_s=1.5)) == 60
    assert len(identified_boxes([shaken(one) for one in still], people, fill_s=1.5)) == 56
