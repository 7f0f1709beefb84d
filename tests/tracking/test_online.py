from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from omnireid.errors import SettingError
from omnireid.tracking.appearance import AppearanceScale
from omnireid.tracking.assembly import TrackletAssembly
from omnireid.tracking.detections import FrameDetections
from omnireid.tracking.linking import link_recording
from omnireid.tracking.motion import FollowedBoxes
from omnireid.tracking.online import Decision, OnlineLinker
from omnireid.tracking.recording import StreamStep
from omnireid.tracking.results import StreamedBoxes, identified_boxes
from omnireid.tracking.tracking_options import CropOptions, LinkingOptions, OnlineOptions
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.windows import EmbeddedCrop, SeenFrame, Window

from .walkers import RATE, WIDTH, crowd, walker

NEVER = 10_000.0


def windows_of(tracklets: Sequence[Tracklet]) -> list[Window]:
    """A window for each frame in which somebody is."""
    windows = []
    for frame in sorted({frame for tracklet in tracklets for frame in tracklet.frames.tolist()}):
        here = [(one, int(np.searchsorted(one.frames, frame))) for one in tracklets if frame in one.frames]
        boxes = np.stack([one.boxes[row] for one, row in here])
        scores = np.array([one.scores[row] for one, row in here])
        numbers = np.array([one.number for one, _ in here])
        followed = FollowedBoxes(frame, frame / RATE, np.arange(len(here)), numbers, boxes, scores)
        crops = {}
        for place, (one, row) in enumerate(here):
            if row in one.embedded:
                embedding = one.embeddings[int(np.searchsorted(one.embedded, row))]
                crops[one.number] = EmbeddedCrop(frame, place, embedding, 0.8)
        seen = SeenFrame(FrameDetections(frame, boxes, scores), frame / RATE, None)
        windows.append(Window((seen,), (followed,), crops))
    return windows


def follow(
    tracklets: Sequence[Tracklet], linker: OnlineLinker, patience: float = 2.0
) -> tuple[list[Decision], dict[int, int]]:
    assembly = TrackletAssembly("door", WIDTH, 100)
    decisions: list[Decision] = []
    for window in windows_of(tracklets):
        assembly.add(window)
        decisions += linker.update(window, assembly)
        ended = assembly.take_last_seen_before(window.end - patience)
        decisions += linker.end(ended, window.end)
        linker.forget_tracklets(ended)
    decisions += linker.end(assembly.take_all(), NEVER)
    return decisions, {one.tracklet: one.person for one in decisions}


RECORDING = [*crowd(), walker(10, 2, (70, 90), left=260), walker(11, 9, (70, 90), left=700)]


def test_a_stream_finds_the_people_that_the_whole_recording_shows() -> None:
    options = OnlineOptions(decide_crops=5, decide_s=1.0)
    decisions, people = follow(RECORDING, OnlineLinker(options, LinkingOptions()))
    whole = link_recording(RECORDING)
    pairs = [(a, b) for a in people for b in people if a < b]
    assert {pair for pair in pairs if people[pair[0]] == people[pair[1]]} == {(2, 10)}
    assert {pair for pair in pairs if whole.people[pair[0]] == whole.people[pair[1]]} == {(2, 10)}
    back = next(one for one in decisions if one.tracklet == 10)
    assert back.link is not None
    assert (back.link.earlier, back.link.later) == (2, 10)
    assert back.link.gap_s == pytest.approx(5.1)
    assert all(0 <= one.decided - one.start <= 1.0 for one in decisions)


def test_too_few_crops_are_waited_for_no_longer_than_stated() -> None:
    shy = walker(3, 3, (0, 40), crops_every=15)
    decisions, _ = follow([shy], OnlineLinker(OnlineOptions(decide_crops=5, decide_s=1.5), LinkingOptions()))
    assert [one.decided for one in decisions] == [1.5]


def test_people_are_forgotten_by_age_and_by_number() -> None:
    scale = AppearanceScale(same=0.1, different=0.8, spread=0.2, same_pairs=9, different_pairs=9)
    for options, remembered in (
        (OnlineOptions(), True),
        (OnlineOptions(forget_s=3.0), False),
        (OnlineOptions(most_people=3), False),
    ):
        linker = OnlineLinker(options, LinkingOptions(), scale)  # type: ignore[arg-type]
        _, people = follow(RECORDING, linker)
        assert (people[10] == people[2]) is remembered


def test_boxes_of_a_stream_come_in_order_and_complete() -> None:
    linker = OnlineLinker(OnlineOptions(decide_s=1.0), LinkingOptions())
    assembly, boxes = TrackletAssembly("door", WIDTH, 100), StreamedBoxes()
    tables = []
    for given in [*windows_of(RECORDING), None]:
        window = given or Window((), (), {})
        if given is None:
            decisions = linker.end(assembly.take_all(), NEVER)
        else:
            assembly.add(window)
            decisions = linker.update(window, assembly)
        numbers = {number for followed in window.followed for number in followed.numbers.tolist()}
        people = {number: linker.person_of(number) for number in numbers}
        known = {number: person for number, person in people.items() if person is not None}
        tables.append(boxes.add(StreamStep(window, known, tuple(decisions), (), linker.earliest_undecided())))
    frames = np.concatenate([table.frames for table in tables])
    assert (np.diff(frames) >= 0).all()
    assert len(frames) == sum(len(tracklet.frames) for tracklet in RECORDING)
    assert len(tables[3]) == 0


def test_crops_are_thinned_and_stay_spread_over_time() -> None:
    options = CropOptions(most_crops=8)
    assert [options.stride(windows) for windows in (0, 7, 8, 15, 16, 31, 32)] == [1, 1, 2, 2, 4, 4, 8]
    assembly = TrackletAssembly("door", WIDTH, 8)
    for window in windows_of([walker(0, 0, (0, 100))]):
        assembly.add(window)
        assert assembly.crop_count(0) <= 8
    kept = assembly.tracklet(0).embedded
    assert kept[0] == 0
    assert kept[-1] > 90


def test_gaps_are_filled_where_they_are_short() -> None:
    first, second, late = walker(0, 0, (0, 10), speed=50), walker(1, 0, (14, 20), speed=50), walker(2, 0, (60, 65))
    people = {0: 7, 1: 7, 2: 7}
    table = identified_boxes([late, second, first], people, fill_s=1.0)
    assert table.frames.tolist() == [*range(20), *range(60, 65)]
    assert np.allclose(table.boxes[:20, 0], 100 + 5 * np.arange(20))
    assert set(table.identities.tolist()) == {7}
    assert len(identified_boxes([first, second], people)) == 16
    assert len(identified_boxes([walker(0, 0, (0, 3)), walker(1, 0, (6, 9))], people, fill_s=1.0)) == 6
    assert len(identified_boxes([], {})) == 0


@pytest.mark.parametrize(
    ("name", "value"), [("decide_crops", 1), ("most_people", 0), ("decide_s", 0.0), ("forget_s", math.nan)]
)
def test_options_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=name):
        OnlineOptions(**{name: value})  # type: ignore[arg-type]
