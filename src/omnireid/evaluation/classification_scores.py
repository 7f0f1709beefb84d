"""The scores of an image classifier."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassificationScores:
    """Scores of a classifier, as fractions in [0, 1] of the pictures it was shown.

    Attributes:
        top1: Fraction of pictures whose own class has the highest logit.
        top5: Fraction of pictures whose own class is among the five highest logits; 1 where there are five classes
            or fewer.
        pictures: Number of pictures.
        classes: Number of classes to choose from.
    """

    top1: float
    top5: float
    pictures: int
    classes: int

    def table(self) -> str:
        """The scores in percent as text for a terminal, with those of guessing."""
        counts = f"{self.pictures:,} pictures of {self.classes:,} classes"
        rows = (("top-1", self.top1, 1), ("top-5", self.top5, 5))
        lines = [counts, "", f"{'':8}{'%':>7}{'guessing':>11}"]
        lines += [
            f"{title:8}{100 * score:7.2f}{100 * min(1, guesses / self.classes):11.2f}" for title, score, guesses in rows
        ]
        return "\n".join(lines)
