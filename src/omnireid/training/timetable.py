"""When things happen in a run: input sizes, milestones, warm-up and frozen epochs, counted in epochs.

A recipe may give a moment as an epoch (``40``), which stays where it is, or as an
epoch of a run of some length (``24/40``), which moves when the run is made shorter
or longer. Named recipes use the second form, so that ``--epochs`` alone is enough
to shorten a run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from omnireid.errors import RecipeError

Moment = float | str
"""A number of epochs, or text such as ``150/350``: epoch 150 of a run of 350, scaled to the run's own length."""


@dataclass(frozen=True)
class Resolution:
    """The input size from an epoch on.

    Attributes:
        first_epoch: First epoch at this size, counted from 0.
        height: Height of the network's input, in pixels.
        width: Width of the network's input, in pixels.
    """

    first_epoch: int
    height: int
    width: int


@dataclass(frozen=True)
class Timetable:
    """The moments of a run, in epochs of this run.

    Attributes:
        resolutions: Input sizes in the order of their first epochs; the first begins at epoch 0.
        milestones: Epochs at which a ``step`` schedule lowers the rate, rising.
        warmup_epochs: Length of the warm-up, a fraction included.
        frozen_epochs: Number of first epochs in which only the head learns.
    """

    resolutions: tuple[Resolution, ...]
    milestones: tuple[float, ...]
    warmup_epochs: float
    frozen_epochs: int

    def resolution_at(self, epoch: int) -> Resolution:
        """The input size in an epoch, counted from 0."""
        return [resolution for resolution in self.resolutions if resolution.first_epoch <= epoch][-1]


def read_timetable(
    epochs: int,
    *,
    resolutions: Sequence[str],
    milestones: Sequence[Moment],
    warmup_epochs: Moment,
    frozen_epochs: Moment,
) -> Timetable:
    """Turn a recipe's moments into epochs of a run.

    Args:
        epochs: Length of the run.
        resolutions: Texts such as ``96x48@0``, ``128x64@40`` or ``128x64@24/40``.
        milestones: Moments; fractions of an epoch are kept.
        warmup_epochs: A moment; fractions of an epoch are kept.
        frozen_epochs: A moment, rounded down to whole epochs.

    Raises:
        RecipeError: A text cannot be read, or the moments do not fit a run of this length.
    """
    frozen = _epochs_of("frozen_epochs", frozen_epochs, epochs)
    if frozen >= epochs:
        raise RecipeError(f"--frozen-epochs {frozen:g} leaves none of the {epochs} epochs to train the network.")
    return Timetable(
        resolutions=_read_resolutions(resolutions, epochs),
        milestones=tuple(_epochs_of("milestones", milestone, epochs) for milestone in milestones),
        warmup_epochs=_epochs_of("warmup_epochs", warmup_epochs, epochs),
        frozen_epochs=int(frozen),
    )


def _epochs_of(name: str, moment: Moment, epochs: int) -> float:
    """The moment in epochs of this run; a whole number is an int, so that it is written without a point."""
    flag = "--" + name.replace("_", "-")
    if isinstance(moment, str):
        found = re.fullmatch(r"(\d+)/(\d+)", moment)
        if found is None or int(found[1]) >= int(found[2]):
            raise RecipeError(
                f"{flag} {moment!r} cannot be read: write a number of epochs such as 5, or 5/70 for epoch 5 of a run "
                "of 70, which moves with --epochs."
            )
        scaled = Fraction(int(found[1]), int(found[2])) * epochs
        return int(scaled) if scaled.denominator == 1 else float(scaled)
    if not 0 <= moment <= 10**9:
        raise RecipeError(f"{flag} must lie between 0 and {10**9}; got {moment}.")
    return int(moment) if moment == int(moment) else moment


def _read_resolutions(texts: Sequence[str], epochs: int) -> tuple[Resolution, ...]:
    read: list[Resolution] = []
    for text in texts:
        resolution, is_scaled = _read_resolution(text, epochs)
        # In a short run two scaled moments may fall into one epoch: the later size is nearer to the last one.
        if is_scaled and read and read[-1].first_epoch == resolution.first_epoch:
            read.pop()
        read.append(resolution)
    firsts = [resolution.first_epoch for resolution in read]
    if not read or firsts[0] != 0 or any(later <= earlier for earlier, later in pairwise(firsts)):
        raise RecipeError(
            f"--resolutions must start at epoch 0 and go up, such as 96x48@0 128x64@40; got "
            f"{' '.join(texts) or 'none'}."
        )
    if firsts[-1] >= epochs:
        raise RecipeError(
            f"--resolutions: {texts[-1]} begins after the last of {epochs} epochs, so the weights would never see the "
            "size they are meant for."
        )
    return tuple(read)


def _read_resolution(text: str, epochs: int) -> tuple[Resolution, bool]:
    """The resolution, and whether its first epoch moves with the run's length."""
    found = re.fullmatch(r"(\d+)x(\d+)@(\d+)(?:/(\d+))?", text)
    if found is None or (found[4] and int(found[3]) >= int(found[4])):
        raise RecipeError(
            f"--resolutions {text!r} cannot be read: write height x width @ first epoch, such as 128x64@40, or "
            "128x64@24/40 for epoch 24 of a run of 40, which moves with --epochs."
        )
    height, width, first_epoch = (int(group) for group in found.groups()[:3])
    if not (16 <= height <= 4096 and 16 <= width <= 4096):
        raise RecipeError(f"--resolutions {text}: height and width must lie between 16 and 4096 pixels.")
    if found[4]:
        first_epoch = first_epoch * epochs // int(found[4])
    return Resolution(first_epoch, height, width), bool(found[4])
