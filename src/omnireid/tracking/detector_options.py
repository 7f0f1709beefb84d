"""How people are detected. No heavy imports."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnireid.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """How people are detected.

    Attributes:
        least_score: Lowest confidence of a box that is kept. Motion trackers make use of boxes with low confidence.
        most_overlap: Of two boxes that overlap by more than this intersection over union, only the one with the higher
            confidence is kept. The default is that of YOLOX's own demonstration.
        person_class: Number of the detector's class for people: 0 in COCO.
        threads: CPU threads for the detector. Uses every core by default.

    Raises:
        SettingError: A value is out of range.
    """

    least_score: float = 0.1
    most_overlap: float = 0.45
    person_class: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("least_score", "most_overlap"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 < value <= 1:
                raise SettingError(f"{name} must be a number above 0 and at most 1; got {value!r}.")
        if isinstance(self.person_class, bool) or not isinstance(self.person_class, int) or self.person_class < 0:
            raise SettingError(f"person_class must be a whole number, at least 0; got {self.person_class!r}.")
