"""When crops were taken, as far as their names or a column of their manifest say it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from omnireid.data.market_names import market_frame
from omnireid.errors import DataError, SettingError
from omnireid.types import Crops, DoubleArray, IntArray

TIME_COLUMN = "time"
"""Column of a manifest with the time of each crop: seconds, or a date and time with its zone."""


@dataclass(frozen=True, eq=False)
class CaptureTimes:
    """The times of N crops. Only times by one clock can be compared.

    Attributes:
        clocks: (N,) number of the clock that each time was read from.
        seconds: (N,) time in seconds since an unknown moment of that clock.
    """

    clocks: IntArray
    seconds: DoubleArray

    def gaps(self, first: IntArray, second: IntArray) -> DoubleArray:
        """Seconds between the crops `first` and `second`; NaN where their clocks differ."""
        gaps = np.abs(self.seconds[first] - self.seconds[second])
        return np.where(self.clocks[first] == self.clocks[second], gaps, np.nan)


def find_capture_times(crops: Crops, frame_rate: float | None = None) -> CaptureTimes | None:
    """The times of all crops, or None where they are not known.

    A column ``time`` counts before names.

    Args:
        crops: The crops.
        frame_rate: Frames a second of the numbers in Market-1501's file names (25 for Market-1501 itself). Without
            it, names say no time: in other data sets of that layout the same place of the name holds a serial number.

    Raises:
        SettingError: the frame rate is not a positive number.
        DataError: a value of the column ``time`` is no time, or the frame rate was given and a name has another form.
    """
    if frame_rate is not None and not (frame_rate > 0 and math.isfinite(frame_rate)):
        raise SettingError(f"frame_rate (--frame-rate) must be a positive number; got {frame_rate}.")
    if TIME_COLUMN in crops.columns:
        values = column_values(crops, TIME_COLUMN)
        seconds = np.array([_seconds(value, row) for row, value in enumerate(values)], dtype=np.float64)
        return CaptureTimes(np.zeros(len(seconds), dtype=np.int64), seconds)
    if frame_rate is None:
        return None
    frames = []
    for path in crops.paths:
        frame = market_frame(path.name)
        if frame is None:
            raise DataError(
                f"{path} is not named like 0002_c1s1_000451_03.jpg, so it says no frame number. Leave frame_rate "
                "(--frame-rate) out, or give a manifest with a column time."
            )
        frames.append(frame)
    sequences, numbers = np.array(frames, dtype=np.int64).T
    return CaptureTimes(sequences, numbers / frame_rate)


def column_values(crops: Crops, name: str) -> list[object]:
    """The values of a further column as Python's own."""
    column = crops.columns[name]
    return column.to_pylist() if hasattr(column, "to_pylist") else list(column)


def _seconds(value: object, row: int) -> float:
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise DataError(
                f"Row {row + 1} of the column {TIME_COLUMN!r} has no time zone: {value}. Write it with one, such as "
                f"{value.replace(tzinfo=UTC).isoformat()}."
            )
        return value.timestamp()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise DataError(
        f"Row {row + 1} of the column {TIME_COLUMN!r} must be seconds, or a date and time with its zone; found "
        f"{value!r:.60}."
    )
