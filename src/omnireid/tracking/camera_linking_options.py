"""How people are linked across cameras."""

from __future__ import annotations

from dataclasses import dataclass

from omnireid.errors import SettingError
from omnireid.retrieval.decision import is_number


@dataclass(frozen=True)
class CameraLinkingOptions:
    """How people are linked across cameras.

    Attributes:
        probability: Least probability with which two groups of tracklets are taken for one person. At 0.5 about as
            many pairs are wrongly joined as are missed; with more, fewer are joined, and these more surely.
        overlap: Pairs of cameras whose views overlap, each as A:B. A person may be in both at once; in all other
            cameras nobody can be at two places at one time.
        learn_times: Learn travel times between cameras from pairs that look alike beyond doubt. Only cameras whose
            clocks are known have any.

    Raises:
        SettingError: A value is out of range, or a pair is not A:B.
    """

    probability: float = 0.5
    overlap: tuple[str, ...] = ()
    learn_times: bool = True

    def __post_init__(self) -> None:
        if not (is_number(self.probability) and 0 < self.probability < 1):
            raise SettingError(f"probability must be between 0 and 1; got {self.probability!r}.")
        for text in self.overlap:
            names = text.split(":")
            if len(names) != 2 or not all(names) or names[0] == names[1]:
                raise SettingError(f"overlap (--overlap) takes two cameras as A:B; got {text!r}.")

    @property
    def overlapping(self) -> frozenset[frozenset[str]]:
        """Pairs of cameras whose views overlap."""
        return frozenset(frozenset(text.split(":")) for text in self.overlap)
