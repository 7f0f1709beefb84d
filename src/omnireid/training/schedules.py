"""How the learning rate moves over a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from omnireid.errors import RecipeError

ScheduleName = Literal["constant", "step", "linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """A factor on the learning rate, as a function of the epochs done.

    Attributes:
        kind: ``constant``; ``step``, multiplied by `factor` at each milestone; ``linear`` or ``cosine``, which fall to
            0 at the end of the run.
        epochs: Length of the run.
        warmup_epochs: Length of the linear rise from 0 to 1 at the start. ``linear`` and ``cosine`` fall after it.
        milestones: Epochs at which ``step`` lowers the rate, rising.
        factor: What ``step`` multiplies the rate by at a milestone.

    Raises:
        RecipeError: The milestones do not rise, or the warm-up is as long as the run.
    """

    kind: ScheduleName
    epochs: int
    warmup_epochs: float = 0.0
    milestones: tuple[float, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            raise RecipeError(f"--milestones must go up; got {' '.join(map(str, self.milestones))}.")
        if self.warmup_epochs >= self.epochs:
            raise RecipeError(
                f"--warmup-epochs {self.warmup_epochs:g} leaves none of the {self.epochs} epochs at the full rate."
            )

    def factor_at(self, epoch: float) -> float:
        """The factor after `epoch` epochs, a fraction included; in [0, 1].

        >>> Schedule("step", 350, milestones=(150, 225)).factor_at(150)
        0.1
        """
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        done = min(1.0, (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs))
        if self.kind == "step":
            return self.factor ** sum(epoch >= milestone for milestone in self.milestones)
        if self.kind == "linear":
            return 1 - done
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        return 1.0
