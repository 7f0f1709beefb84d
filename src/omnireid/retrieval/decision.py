"""From a probability to a decision: what mistakes and questions cost.

This file loads no NumPy, so that a command line can use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnireid.errors import SettingError


def is_number(value: object) -> bool:
    """Whether `value` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, kw_only=True)
class DecisionCosts:
    """What each kind of mistake costs, in any unit. Only the ratios matter.

    Attributes:
        false_match_cost: Cost of taking two people for one.
        missed_match_cost: Cost of taking one person for two.
        question_cost: Cost of asking somebody to look at both crops.

    Raises:
        SettingError: a cost is not a positive number.

    >>> DecisionCosts(false_match_cost=20, missed_match_cost=10, question_cost=1).thresholds
    (0.1, 0.95)
    """

    false_match_cost: float = 20.0
    missed_match_cost: float = 10.0
    question_cost: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not is_number(value) or value <= 0:
                raise SettingError(f"{name} must be a positive number; got {value!r}.")

    @property
    def thresholds(self) -> tuple[float, float]:
        """The probability below which a pair is *new*, and the one from which it is the *same*.

        Between them a question costs less than the expected cost of either
        decision. Both are equal where a question never pays.

        Source: Chow, "On optimum recognition error and reject tradeoff", IEEE Trans. Inf. Theory, 1970.
        """
        new, same = self.question_cost / self.missed_match_cost, 1 - self.question_cost / self.false_match_cost
        if new < same:
            return new, same
        even = self.false_match_cost / (self.false_match_cost + self.missed_match_cost)
        return even, even


def check_prior(prior: float) -> None:
    """Check a prior.

    Raises:
        SettingError: it is not between 0 and 1.
    """
    if not is_number(prior) or not 0 < prior < 1:
        raise SettingError(f"prior must be a probability between 0 and 1, and neither of them; got {prior!r}.")
