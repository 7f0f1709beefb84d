from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnireid.data.capture_times import find_capture_times
from omnireid.errors import DataError, SettingError
from omnireid.types import Crops

NAMES = tuple(map(Path, ("0002_c1s1_000050_01.jpg", "0002_c2s1_000100_01.jpg", "0002_c1s2_000100_01.jpg")))


def test_frame_numbers_are_times_within_a_sequence_only() -> None:
    times = find_capture_times(Crops(NAMES), frame_rate=25)
    assert times is not None
    gaps = times.gaps(np.array([0, 0, 2]), np.array([1, 2, 2]))
    assert gaps[0] == 2.0
    assert np.isnan(gaps[1])
    assert gaps[2] == 0.0


def test_names_say_no_time_unless_the_frame_rate_is_known() -> None:
    assert find_capture_times(Crops(NAMES)) is None


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 90.0],
        [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=90)],
        ["2026-01-01T12:00:00+00:00", "2026-01-01T13:01:30+01:00"],
    ],
)
def test_a_column_of_times_counts_before_names(values: list[Any]) -> None:
    times = find_capture_times(Crops(NAMES[:2], columns={"time": values}), frame_rate=25)
    assert times is not None
    assert times.gaps(np.array([0]), np.array([1])).tolist() == [90.0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime(2026, 1, 1), "Row 1 of the column 'time' has no time zone.*2026-01-01T00:00:00\\+00:00"),
        ("2026-01-01T00:00:00", "no time zone"),
        ("yesterday", "must be seconds, or a date and time with its zone; found 'yesterday'"),
        (None, "found None"),
        (float("nan"), "found nan"),
        (True, "found True"),
    ],
)
def test_what_is_no_time_is_named(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_capture_times(Crops(NAMES[:1], columns={"time": [value]}))


def test_a_name_without_a_frame_and_a_useless_rate_are_refused() -> None:
    with pytest.raises(DataError, match=r"a\.jpg is not named like"):
        find_capture_times(Crops((Path("a.jpg"),)), frame_rate=25)
    with pytest.raises(SettingError, match="frame_rate"):
        find_capture_times(Crops(NAMES), frame_rate=0)
