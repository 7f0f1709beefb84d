"""How a calibration is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnireid.errors import SettingError
from omnireid.retrieval.decision import DecisionCosts, check_prior
from omnireid.terms import Distance


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How distances are calibrated, and which costs the thresholds follow from.

    Attributes:
        distance: Distance that is calibrated; by default the weights' own.
        prior: Probability that two crops show one person, before they are compared. The default, 0.5, means that both
            answers are equally likely.
        false_match_cost: Cost of taking two people for one. Only the ratios of the three costs matter.
        missed_match_cost: Cost of taking one person for two.
        question_cost: Cost of asking somebody to look at both crops.
        hold_out: Share of the people on whom the calibration is tested and not fitted, from 0.1 to 0.9.
        frame_rate: Frames a second of the frame numbers in Market-1501's file names (25 for Market-1501 itself), which
            gives curves by the time between crops. Without it only a column time of a manifest gives them.

    Raises:
        SettingError: a value is out of range.
    """

    distance: Distance | None = None
    prior: float = 0.5
    false_match_cost: float = 20.0
    missed_match_cost: float = 10.0
    question_cost: float = 1.0
    hold_out: float = 0.5
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        check_prior(self.prior)
        if not 0.1 <= self.hold_out <= 0.9:
            raise SettingError(f"hold_out must be from 0.1 to 0.9; got {self.hold_out!r}.")
        _ = self.costs  # checked at birth
        if self.frame_rate is not None and not (self.frame_rate > 0 and math.isfinite(self.frame_rate)):
            raise SettingError(f"frame_rate must be a positive number; got {self.frame_rate!r}.")

    @property
    def costs(self) -> DecisionCosts:
        """The costs as one value."""
        return DecisionCosts(
            false_match_cost=self.false_match_cost,
            missed_match_cost=self.missed_match_cost,
            question_cost=self.question_cost,
        )
