"""The parameters of drawn footage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from omnireid.errors import SettingError

_LIMITS: Mapping[str, tuple[int, int, str]] = MappingProxyType(
    {
        "cameras": (1, 32, "they stand around one building"),
        "people": (1, 1000, "more would fill the views"),
        "height": (180, 1080, "smaller people cannot be told apart, and larger frames take long"),
        "seed": (0, 2**63 - 1, "NumPy takes no others"),
    }
)


@dataclass(frozen=True)
class FootagePlan:
    """What drawn footage consists of.

    Attributes:
        cameras: Number of cameras, 1 to 32. Their views do not overlap.
        people: Number of people, 1 to 1,000, each dressed differently.
        seconds: Length of the recording.
        frame_rate: Frames a second, 1 to 60.
        seed: Seed of people, walks, cameras and places, 0 or above.
        difficulty: How much colours and light differ between cameras, from 0 to 1.
        height: Height of a frame in pixels, an even number. A frame is 16:9.

    Raises:
        SettingError: A value is out of range.
    """

    cameras: int = 4
    people: int = 12
    seconds: float = 60
    frame_rate: float = 12.5
    seed: int = 0
    difficulty: float = 0.3
    height: int = 360

    def __post_init__(self) -> None:
        for name, (low, high, reason) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(f"{name} must be {low} to {high}: {reason}; got {value}.")
        if self.height % 2:
            raise SettingError(f"height must be even, as video files want it; got {self.height}.")
        if not 1 <= self.frame_rate <= 60:
            raise SettingError(f"frame_rate must be 1 to 60; got {self.frame_rate}.")
        if not 0 <= self.difficulty <= 1:
            raise SettingError(f"difficulty must be 0 (easy) to 1 (hard); got {self.difficulty}.")
        if not (math.isfinite(self.seconds) and 1 <= self.seconds * self.frame_rate <= 1_000_000):
            raise SettingError(f"seconds must give between 1 and 1,000,000 frames; got {self.seconds}.")

    @property
    def frames(self) -> int:
        """Number of frames of each camera."""
        return int(self.seconds * self.frame_rate + 1e-6)
