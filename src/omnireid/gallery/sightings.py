"""Sightings: one row of a gallery, and many of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.gallery.schema import OWN_COLUMNS
from omnireid.types import DoubleArray

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Sighting:
    """One crop of a gallery.

    Attributes:
        number: Its number in the gallery, which no other sighting ever gets.
        path: File or address of the picture, which the gallery does not hold.
        camera: The camera that saw it; None where it is not known.
        time: When, in UTC; None where it is not known.
        person: Who it is, by label or decision; None where nobody said.
        track: The track it belongs to.
        box_xyxy: Left, top, right and bottom in its frame.
        quality: Between 0 and 1; None where it was not measured.
        columns: The user's own columns.
    """

    number: int
    path: str
    camera: str | None = None
    time: datetime | None = None
    person: str | None = None
    track: str | None = None
    box_xyxy: tuple[float, float, float, float] | None = None
    quality: float | None = None
    columns: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The sighting as plain values; what is not known is left out."""
        record = {
            "sighting": self.number,
            "path": self.path,
            "camera": self.camera,
            "time": None if self.time is None else self.time.isoformat(),
            "person": self.person,
            "track": self.track,
            "box_xyxy": None if self.box_xyxy is None else list(self.box_xyxy),
            "quality": self.quality,
        }
        plain = {name: v.isoformat() if isinstance(v, datetime) else v for name, v in self.columns.items()}
        return {name: value for name, value in (record | plain).items() if value is not None}


def compare_cameras(first: Sequence[str | None], second: Sequence[str | None]) -> DoubleArray:
    """For each of N pairs of cameras 1 where both are one, 0 where they are two, and NaN where one is not known."""
    return np.array(
        [np.nan if None in pair else float(pair[0] == pair[1]) for pair in zip(first, second, strict=True)],
        dtype=np.float64,
    )


def seconds_between(first: Sequence[datetime | None], second: Sequence[datetime | None]) -> DoubleArray:
    """The seconds between the times of N pairs, NaN where one is not known."""
    gaps = [
        np.nan if one is None or other is None else abs((one - other).total_seconds())
        for one, other in zip(first, second, strict=True)
    ]
    return np.array(gaps, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Sightings:
    """N sightings in the order in which they were added.

    Attributes:
        table: Their columns as Arrow, without embeddings.
    """

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, row: int) -> Sighting:
        values = {name: self.table.column(name)[row].as_py() for name in self.table.column_names}
        box = values["box_xyxy"]
        return Sighting(
            number=values["sighting"],
            path=values["path"],
            camera=values["camera"],
            time=values["time"],
            person=values["person"],
            track=values["track"],
            box_xyxy=None if box is None else tuple(box),
            quality=values["quality"],
            columns={name: value for name, value in values.items() if name not in OWN_COLUMNS},
        )

    def __iter__(self) -> Iterator[Sighting]:
        return (self[row] for row in range(len(self)))
