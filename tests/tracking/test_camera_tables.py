from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnireid.errors import DataNotFoundError, TrackingError
from omnireid.tracking.camera_linking import link_cameras
from omnireid.tracking.camera_tables import join_tables, place_after
from omnireid.tracking.seen_events import list_events
from omnireid.tracking.track_table import Recording, TrackTable
from omnireid.tracking.travel_times import TravelTime, TravelTimes, read_travel_times, write_travel_times

from .cameras import START, seen, table, walks


def test_tables_of_one_camera_name_or_other_weights_are_refused() -> None:
    door, yard = table(walks(2, ("door",))), table(walks(2, ("yard",)))
    joined = join_tables({"a.parquet": door, "b.parquet": yard})
    assert {one.camera for one in joined.tracklets} == set(joined.recordings) == {"door", "yard"}
    with pytest.raises(TrackingError, match=r"a and b both have a camera named 'door'.*name them apart.*--people"):
        join_tables({"a": door, "b": door})
    with pytest.raises(TrackingError, match=r"a has embeddings by the weights aaaa.* and b by bbbb.*same weights"):
        join_tables({"a": door, "b": table(walks(2, ("yard",)), weights="b")})
    with pytest.raises(TrackingError, match="different preprocessing"):
        join_tables({"a": door, "b": replace(yard, preprocessing={"height": 128})})
    nobody = TrackTable((), {}, {"roof": Recording(640, 480, START)})
    assert join_tables({"a": nobody, "b": door}).weights_sha256 == "a" * 64


def test_a_later_recording_of_a_camera_follows_the_earlier_one() -> None:
    before = link_cameras(table(walks(8, ("door", "hall")))).table
    hour = "2026-05-01T11:00:00+00:00"
    later = replace(table([seen("door", 0, 3, 5.0), seen("roof", 0, 4, 9.0)], started=hour), people={("door", 0): 7})
    placed = place_after(later, before, "people.parquet")
    door, roof = placed.tracklets
    assert (door.number, door.start, door.frames[0]) == (8, 3605.0, 36050)
    assert (roof.number, roof.start) == (0, 9.0)
    assert placed.people == {("door", 8): 7}
    assert (placed.recordings["door"].started, placed.recordings["roof"].started) == (START, hour)
    people = link_cameras(placed, before=before).table.people
    assert people["door", 8] == before.people["door", 3]
    for again, reason in ((table([seen("door", 0, 3, 5.0)]), "follow each other, each once"), (None, "nobody knows")):
        unknown = again or table([seen("door", 0, 3, 5.0)], started=None)
        with pytest.raises(TrackingError, match=rf"Camera 'door' is in people.parquet already.*{reason}"):
            place_after(unknown, before, "people.parquet")


def test_an_event_is_one_stay_with_its_times() -> None:
    tracklets = [seen("door", 0, 1, 245.0), seen("door", 1, 1, 250.0), seen("door", 2, 1, 280.0), seen("3", 0, 2, 9.0)]
    made = replace(
        TrackTable(tuple(tracklets[:3]), {}, {"door": Recording(640, 480, START)}, "a" * 64),
        people={("door", n): 12 for n in range(3)},
    )
    events = list_events(made, {("door", 0): 0.9, ("door", 1): 1.0})
    assert [event.tracks for event in events] == [(0, 1), (2,)]
    assert str(events[0]) == "person 12 seen at camera door, 10:04:05–10:04:12, probability 0.95"
    assert events[1].probability is None
    assert events[0].json() == {
        "event": "seen",
        "person": 12,
        "camera": "door",
        "from": "2026-05-01T10:04:05.000+00:00",
        "to": "2026-05-01T10:04:12.900+00:00",
        "from_s": 245.0,
        "to_s": 252.9,
        "tracks": [0, 1],
        "probability": 0.95,
    }
    dateless = TrackTable((tracklets[3],), {("3", 0): 4}, {}, "a" * 64)
    assert str(list_events(dateless, {})[0]) == "person 4 seen at camera 3, 9.0 s–11.9 s"


def test_travel_times_come_back_and_can_be_written_by_hand(tmp_path: Path) -> None:
    times = TravelTimes((TravelTime("door", "hall", 0, 0, 3.0), TravelTime("hall", "door", 5, 40, 7.0)))
    write_travel_times(times, tmp_path / "times.json")
    assert read_travel_times(tmp_path / "times.json") == times
    by_hand = tmp_path / "hand.json"
    by_hand.write_text('{"times": [{"from": "door", "to": "hall", "least_s": 5, "most_s": 40}]}')
    assert read_travel_times(by_hand).times == (TravelTime("door", "hall", 5, 40),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", "is no JSON file with travel times"),
        ("[]", "holds no travel times. Write"),
        ('{"times": [{"from": "a"}]}', "Travel time 1 of .* lacks a value"),
        ('{"times": [{"from": "a", "to": "a", "least_s": 1, "most_s": 2}]}', "from one camera to another"),
        ('{"times": [{"from": "a", "to": "b", "least_s": 9, "most_s": 2}]}', "0 <= least_s <= most_s"),
        ('{"times": [{"from": "a", "to": "b", "least_s": 1, "most_s": 2, "weight": 0}]}', "weight"),
    ],
)
def test_broken_travel_times_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "times.json").write_text(text)
    with pytest.raises(TrackingError, match=reason):
        read_travel_times(tmp_path / "times.json")
    with pytest.raises(DataNotFoundError, match="There is no file"):
        read_travel_times(tmp_path / "none.json")


def test_a_travel_time_speaks_for_one_person_as_much_as_it_is_rarer_among_strangers() -> None:
    cameras = np.repeat([0, 1], 50)
    rng = np.random.default_rng(0)
    moments = rng.uniform(0, 1000, 100)
    gaps = moments[None] - moments[:, None]
    times = TravelTimes((TravelTime("a", "b", 10, 20),))
    ratios = times.log_ratios(gaps, cameras, ("a", "b"))
    inside = (gaps >= 10) & (gaps < 20) & (cameras[:, None] < cameras[None])
    outside = (cameras[:, None] < cameras[None]) & ~inside
    share = inside[:50, 50:].mean()
    assert ratios[inside].min() > 3.5
    assert ratios[inside].mean() == pytest.approx(np.log(0.95 / share), abs=0.3)
    np.testing.assert_allclose(ratios[outside], np.log(20 / 420))
    np.testing.assert_array_equal(ratios, ratios.T)
    assert not ratios[:50, :50].any()
    assert json.dumps(times.json())
