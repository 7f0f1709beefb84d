"""The scores of predicted attributes: values, a table and a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Bounds = tuple[float, float]

TITLES = {"mean_accuracy": "mA", "accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}


@dataclass(frozen=True)
class OverallScores:
    """Scores over all attributes, as fractions. A score that nothing counts for is None.

    Attributes:
        mean_accuracy: mA, the mean over the attributes of the mean of two shares: that of the crops with the
            attribute, and that of the crops without it, for which the prediction is right.
        accuracy: Mean over the crops of |true and predicted| / |true or predicted|.
        precision: Mean of |true and predicted| / |predicted| over the crops with a predicted attribute.
        recall: Mean of |true and predicted| / |true| over the crops with a true attribute.
        f1: Harmonic mean of the mean precision and the mean recall; 0 where both are 0.

    Source: Li et al., "A Richly Annotated Pedestrian Dataset for Person Retrieval in Real Surveillance Scenarios",
    IEEE TIP 2019.
    """

    mean_accuracy: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None

    def json(self) -> dict[str, float | None]:
        """The scores by name."""
        return {name: getattr(self, name) for name in TITLES}


@dataclass(frozen=True)
class AttributeScore:
    """Scores of one attribute, as fractions. A score that nothing counts for is None.

    Attributes:
        name: Name of the attribute.
        positive_share: Share of the crops that have it.
        mean_accuracy: Mean of recall and specificity; its mean over the attributes is mA.
        recall: Share of the crops with the attribute for which it is predicted.
        specificity: Share of the crops without it for which it is not predicted.
        precision: Share of the crops for which it is predicted that have it.
        accuracy: Share of right predictions.
        majority_accuracy: Accuracy of always predicting what most training crops have.
        interval: 95 % confidence interval of `mean_accuracy`.
    """

    name: str
    positive_share: float
    mean_accuracy: float | None
    recall: float | None
    specificity: float | None
    precision: float | None
    accuracy: float
    majority_accuracy: float
    interval: Bounds | None


@dataclass(frozen=True)
class TaskScore:
    """Accuracy of a task, as a fraction: a yes-or-no attribute, or one value of several such as a colour.

    Attributes:
        name: Name of the task.
        choices: Number of values; 1 for a yes-or-no attribute.
        crops: Number of counted crops: all of a yes-or-no attribute, else those with exactly one true value.
        accuracy: Share of these crops for which the prediction is right. Of several values the one with the highest
            score is predicted. None where no crop is counted.
        majority_accuracy: Accuracy of always predicting the most frequent value of the training crops.
        interval: 95 % confidence interval of the accuracy.
    """

    name: str
    choices: int
    crops: int
    accuracy: float | None
    majority_accuracy: float | None
    interval: Bounds | None


@dataclass(frozen=True)
class AttributeScores:
    """Scores of predicted attributes, beside those of the majority baseline.

    Attributes:
        overall: Scores over all attributes.
        majority: The same scores when each attribute is predicted as most training crops have it.
        intervals: 95 % confidence interval of each overall score, by bootstrap over people.
        attributes: Scores of each attribute.
        tasks: Accuracy of each task.
        crops: Number of scored crops.
        people: Number of people on them; None where people are not known. Each crop is then drawn on its own, and
            the intervals are too narrow if a person is on several.
        warnings: What a reader of the scores should know, in sentences.
    """

    overall: OverallScores
    majority: OverallScores
    intervals: Mapping[str, Bounds]
    attributes: tuple[AttributeScore, ...]
    tasks: tuple[TaskScore, ...]
    crops: int
    people: int | None
    warnings: tuple[str, ...] = field(default_factory=tuple)

    @property
    def mean_task_accuracy(self) -> float | None:
        """Mean accuracy over the tasks that have one; None where none has."""
        known = [task.accuracy for task in self.tasks if task.accuracy is not None]
        return sum(known) / len(known) if known else None

    def json(self) -> dict[str, Any]:
        """The scores as plain values, ready for ``json.dumps``; fractions, not percentages."""
        return {
            **self.overall.json(),
            "majority": self.majority.json(),
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            "mean_task_accuracy": self.mean_task_accuracy,
            "tasks": [dict(vars(task)) for task in self.tasks],
            "attributes": [dict(vars(attribute)) for attribute in self.attributes],
            "crops": self.crops,
            "people": self.people,
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """The scores in percent as text for a terminal, beside the majority baseline."""
        people = "people not known" if self.people is None else f"{self.people:,} people"
        width = max(len(name) for name in (*(one.name for one in self.attributes), *(one.name for one in self.tasks)))
        width = max(width, len("attribute"))
        lines = [f"WARNING: {warning}" for warning in self.warnings]
        lines += [f"{self.crops:,} crops, {people}", "", f"{'':{width}}{'%':>8}{'95 % interval':>17}{'majority':>10}"]
        for name, title in TITLES.items():
            value, majority = getattr(self.overall, name), getattr(self.majority, name)
            lines.append(f"{title:{width}}{_percent(value)}{_range(self.intervals.get(name))}{_percent(majority, 10)}")
        lines += ["", f"{'task':{width}}{'right':>8}{'95 % interval':>17}{'majority':>10}{'values':>8}{'crops':>9}"]
        for task in self.tasks:
            lines.append(
                f"{task.name:{width}}{_percent(task.accuracy)}{_range(task.interval)}"
                f"{_percent(task.majority_accuracy, 10)}{task.choices:>8}{task.crops:>9,}"
            )
        lines.append(f"{'mean':{width}}{_percent(self.mean_task_accuracy)}")
        lines += ["", f"{'attribute':{width}}{'mA':>8}{'95 % interval':>17}{'share':>10}{'recall':>8}{'right':>9}"]
        for one in self.attributes:
            lines.append(
                f"{one.name:{width}}{_percent(one.mean_accuracy)}{_range(one.interval)}"
                f"{_percent(one.positive_share, 10)}{_percent(one.recall)}{_percent(one.accuracy, 9)}"
            )
        return "\n".join(lines)


def _percent(value: float | None, width: int = 8) -> str:
    return f"{'–' if value is None else f'{100 * value:.2f}':>{width}}"


def _range(bounds: Bounds | None) -> str:
    return f"{'' if bounds is None else f'{100 * bounds[0]:.2f} – {100 * bounds[1]:.2f}':>17}"
