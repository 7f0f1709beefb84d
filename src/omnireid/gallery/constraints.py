"""What keeps two sightings apart: one frame, one moment in two places, two known people, or somebody's word.

`Groups` puts sightings together pair by pair and refuses every pair that would bring
two such sightings into one group. What is known of a group is indexed by frame and by
moment, so memory grows with the number of sightings and never with their pairs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Reason = Literal["frame", "places", "decision", "people"]
"""Two boxes of one frame; one moment in two places; somebody said so; two people of the gallery."""

SAME_BOX = 0.5
"""Two boxes of one frame with at least this intersection over union are one box, found twice."""

Box = Sequence[float]


@dataclass(frozen=True, eq=False)
class Circumstances:
    """When and where N sightings were taken, as far as that is known.

    Attributes:
        cameras: The camera of each; None where it is not known.
        frames: The frame of each, as a key that no other frame has; None where it is not known.
        seconds: The time of each in seconds; None where it is not known.
        boxes: The box of each in its frame; None where it is not known.
        same_time_s: Sightings by two cameras at most this many seconds apart are at one moment. None where cameras may
            see the same place, so that one person can be seen by two of them at once.
        duplicate_boxes: Whether one person may have two boxes in a frame. Sightings of a frame are then kept apart only
            where both boxes are known and do not overlap.
    """

    cameras: Sequence[str | None]
    frames: Sequence[tuple[object, ...] | None]
    seconds: Sequence[float | None]
    boxes: Sequence[Box | None]
    same_time_s: float | None = 0.0
    duplicate_boxes: bool = False

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def known(self) -> int:
        """Number of sightings with a camera and a frame or time, which is what the constraints need."""
        return sum(frame is not None for frame in self.frames)

    def are_apart_in_frame(self, one: int, other: int) -> bool:
        """Whether two sightings of one frame show two people. Without known boxes, each is taken to have its own."""
        first, second = self.boxes[one], self.boxes[other]
        if first is None or second is None:
            return not self.duplicate_boxes
        overlap = _overlap(first, second)
        return overlap == 0 if self.duplicate_boxes else overlap < SAME_BOX

    def are_apart_in_space(self, one: int, other: int) -> bool:
        """Whether two cameras took two sightings at one moment."""
        first, second = self.seconds[one], self.seconds[other]
        if self.same_time_s is None or first is None or second is None:
            return False
        return self.cameras[one] != self.cameras[other] and abs(first - second) <= self.same_time_s

    def moment(self, row: int) -> int | None:
        """A number such that sightings at one moment have the same one, or one that is next to it."""
        seconds = self.seconds[row]
        if self.same_time_s is None or seconds is None or self.cameras[row] is None:
            return None
        return math.floor(seconds / max(self.same_time_s, 1.0))


def read_circumstances(table: pa.Table, same_time_s: float | None, *, duplicate_boxes: bool = False) -> Circumstances:
    """Read when and where sightings were taken.

    A frame is known by the camera with the user's column ``frame``, or with the time where there is no such value.

    Args:
        table: N sightings.
        same_time_s: See `Circumstances`.
        duplicate_boxes: See `Circumstances`.
    """
    cameras: list[str | None] = table.column("camera").to_pylist()
    times: list[datetime | None] = table.column("time").to_pylist()
    numbered = table.column("frame").to_pylist() if "frame" in table.column_names else [None] * len(cameras)
    frames: list[tuple[object, ...] | None] = []
    for camera, number, time in zip(cameras, numbered, times, strict=True):
        moment = ("time", time) if number is None else ("frame", number)
        frames.append(None if camera is None or moment[1] is None else (camera, *moment))
    seconds = [None if time is None else time.astimezone(UTC).timestamp() for time in times]
    return Circumstances(cameras, frames, seconds, table.column("box_xyxy").to_pylist(), same_time_s, duplicate_boxes)


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else 1.0


@dataclass
class _Group:
    """What is known of one group of sightings."""

    members: list[int]
    person: str | None = None
    frames: dict[tuple[object, ...], list[int]] = field(default_factory=dict)
    moments: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class Groups:
    """N sightings in groups, at first one group for each sighting.

    Attributes:
        circumstances: When and where they were taken; None joins without regard to that.
        different: Row to the rows of which somebody said that they show somebody else.
        refused: Number of pairs that were refused, by reason.
    """

    size: int
    circumstances: Circumstances | None = None
    different: Mapping[int, frozenset[int]] = field(default_factory=dict)
    refused: Counter[Reason] = field(default_factory=Counter)
    _parents: list[int] = field(init=False, repr=False)
    _groups: dict[int, _Group] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._parents = list(range(self.size))
        self._groups = {row: self._alone(row) for row in range(self.size)}

    def _alone(self, row: int) -> _Group:
        group = _Group([row])
        if self.circumstances is not None:
            frame, moment = self.circumstances.frames[row], self.circumstances.moment(row)
            if frame is not None:
                group.frames[frame] = [row]
            if moment is not None:
                group.moments[moment] = [row]
        return group

    def root(self, row: int) -> int:
        """The row that stands for the group of `row`."""
        parents = self._parents
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    def bind(self, rows: Sequence[int], person: str | None = None) -> None:
        """Make sightings one group, whatever speaks against it: it was decided before.

        Args:
            rows: The sightings.
            person: Who they are. Two groups that have a person are never joined.
        """
        root = self.root(rows[0])
        for row in rows[1:]:
            root = self._unite(root, self.root(row))
        self._groups[root].person = person

    def join(self, one: int, other: int) -> bool:
        """Put the groups of two sightings together, unless something speaks against it; returns whether it did."""
        first, second = self.root(one), self.root(other)
        if first == second:
            return False
        reason = self.reason_apart(first, second)
        if reason is not None:
            self.refused[reason] += 1
            return False
        self._unite(first, second)
        return True

    def reason_apart(self, one: int, other: int) -> Reason | None:
        """What keeps the groups of two sightings apart, or None."""
        first, second = self.root(one), self.root(other)
        small, large = sorted((self._groups[first], self._groups[second]), key=lambda group: len(group.members))
        if small.person is not None and large.person is not None:
            return "people"
        large_root = self.root(large.members[0])
        for row in small.members:
            if any(self.root(partner) == large_root for partner in self.different.get(row, ())):
                return "decision"
        return self._apart_by_circumstances(small, large)

    def _apart_by_circumstances(self, small: _Group, large: _Group) -> Reason | None:
        known = self.circumstances
        if known is None:
            return None
        for frame, rows in small.frames.items():
            others = large.frames.get(frame, ())
            if any(known.are_apart_in_frame(row, other) for row in rows for other in others):
                return "frame"
        for moment, rows in small.moments.items():
            others = [row for near in (moment - 1, moment, moment + 1) for row in large.moments.get(near, ())]
            if any(known.are_apart_in_space(row, other) for row in rows for other in others):
                return "places"
        return None

    def _unite(self, first: int, second: int) -> int:
        """Join two groups without a question; returns the root of both."""
        if first == second:
            return first
        if len(self._groups[first].members) < len(self._groups[second].members):
            first, second = second, first
        kept, gone = self._groups[first], self._groups.pop(second)
        self._parents[second] = first
        kept.members.extend(gone.members)
        kept.person = gone.person if kept.person is None else kept.person
        for frame, rows in gone.frames.items():
            kept.frames.setdefault(frame, []).extend(rows)
        for moment, rows in gone.moments.items():
            kept.moments.setdefault(moment, []).extend(rows)
        return first

    def all(self) -> list[tuple[str | None, tuple[int, ...]]]:
        """Every group with its known person, the largest first; those of one size by their first row."""
        found = [(group.person, tuple(sorted(group.members))) for group in self._groups.values()]
        return sorted(found, key=lambda group: (-len(group[1]), group[1]))
