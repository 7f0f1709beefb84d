"""What a distance between two crops means: the probability that both show one person, and what to do about it.

A curve gives, for a distance, the logarithm of how much more often two crops of
one person are that far apart than crops of two people. The probability follows
from it and from the *prior*, the probability before anybody looked:

    probability = 1 / (1 + exp(-(log likelihood ratio + log(prior / (1 - prior)))))

Curves come from labelled pairs (`omnireid.calibrate`); using them needs NumPy only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from omnireid.errors import CalibrationError, OmnireidError, ShapeError, newer_format
from omnireid.files import write_json
from omnireid.retrieval.decision import DecisionCosts, check_prior, is_number
from omnireid.terms import DISTANCES, Distance
from omnireid.types import AnyArray, BoolArray, DoubleArray

FORMAT_VERSION = 1
_KIND = "omnireid calibration"

Relation = Literal["any", "same-camera", "other-cameras"]
"""Which pairs of crops a curve is for: all of them, or those from one camera, or those from two."""

RELATIONS: tuple[Relation, ...] = get_args(Relation)

Verdict = Literal["same", "ask", "new"]
"""What to do with a pair: take both for one person, ask somebody, or take them for two people."""


@dataclass(frozen=True, kw_only=True)
class CalibrationCurve:
    """The log likelihood ratio as a function of distance, for one kind of pair.

    Attributes:
        relation: Pairs the curve is for.
        least_gap_s: Smallest time between both crops, in seconds; None where the curve ignores time.
        gap_below_s: The time is shorter than this; None for no limit.
        method: How it was fitted: ``isotonic``, ``logistic``, or ``adapted`` from another data set's curve.
        distances: Distances in ascending order.
        log_likelihood_ratios: Natural logarithm of the ratio at each of `distances`, never rising. Values between two
            of them are interpolated, and values beyond the ends stay as they are at the end.
        same_pairs: Number of pairs of one person it was fitted on.
        different_pairs: Number of pairs of two people.
        people: Number of people these pairs show.

    Raises:
        CalibrationError: the values form no curve.
    """

    relation: Relation
    distances: tuple[float, ...]
    log_likelihood_ratios: tuple[float, ...]
    method: str
    same_pairs: int
    different_pairs: int
    people: int
    least_gap_s: float | None = None
    gap_below_s: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "distances", tuple(self.distances))
        object.__setattr__(self, "log_likelihood_ratios", tuple(self.log_likelihood_ratios))
        x, y = self.distances, self.log_likelihood_ratios
        if self.relation not in RELATIONS:
            raise CalibrationError(f"A curve is for {', '.join(RELATIONS)}; found {self.relation!r}.")
        if len(x) < 2 or len(x) != len(y) or not all(map(is_number, (*x, *y))):
            raise CalibrationError(
                f"The curve {self.relation} needs as many finite ratios as distances, at least two; found {len(x)} "
                f"distances and {len(y)} ratios."
            )
        if any(b <= a for a, b in pairwise(x)) or any(b > a for a, b in pairwise(y)):
            raise CalibrationError(
                f"The curve {self.relation} must have rising distances and ratios that never rise: crops that are "
                "further apart cannot be more alike."
            )

    @property
    def name(self) -> str:
        """Such as ``same-camera, 5 s to 60 s``."""
        if self.least_gap_s is None:
            return self.relation
        end = "and more" if self.gap_below_s is None else f"to {self.gap_below_s:g} s"
        return f"{self.relation}, {self.least_gap_s:g} s {end}"

    def evaluate(self, distances: npt.ArrayLike) -> DoubleArray:
        """Log likelihood ratios at `distances`, in any shape."""
        values: DoubleArray = np.interp(
            np.asarray(distances, dtype=np.float64), self.distances, self.log_likelihood_ratios
        )
        return values

    def distance_at(self, ratio: float) -> float | None:
        """The largest distance whose log likelihood ratio is at least `ratio`; None if no distance reaches it."""
        ratios = np.asarray(self.log_likelihood_ratios)
        if ratios[0] < ratio:
            return None
        last = int(np.flatnonzero(ratios >= ratio)[-1])
        if last == len(ratios) - 1:
            return math.inf
        x, y = self.distances[last : last + 2], self.log_likelihood_ratios[last : last + 2]
        return x[0] + (x[1] - x[0]) * (y[0] - ratio) / (y[0] - y[1])

    def covers(self, same_camera: DoubleArray | None, gap_s: DoubleArray | None, shape: tuple[int, ...]) -> BoolArray:
        """Which pairs the curve is for, as far as is known about them."""
        covered = np.ones(shape, dtype=bool)
        if self.relation != "any":
            if same_camera is None:
                return np.zeros(shape, dtype=bool)
            covered &= same_camera == float(self.relation == "same-camera")  # NaN, not known, is neither
        if self.least_gap_s is not None:
            if gap_s is None:
                return np.zeros(shape, dtype=bool)
            covered &= gap_s >= self.least_gap_s  # an unknown gap is NaN, and no comparison holds for it
            covered &= gap_s < (math.inf if self.gap_below_s is None else self.gap_below_s)
        return covered


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Distances to probabilities, for the embeddings of one file of weights.

    Attributes:
        weights_sha256: SHA-256 of the weights.
        model: Name of their architecture.
        preprocessing: The fields of `omnireid.Preprocessing` that the embeddings were made with.
        distance: How the embeddings were compared.
        curves: One curve for each kind of pair. The first is for any pair.
        prior: Probability that two crops show one person, before they are compared. With the default of 0.5 both
            answers are equally likely. State your own: for one of N people in a gallery it is at most 1 / N.
        costs: What mistakes and questions cost; the thresholds follow from them.
        data: What the calibration was fitted on, in words.
        held_out: Figures measured on people that it was not fitted on, by name, as fractions or counts.
        omnireid_version: Version that fitted it.

    Raises:
        CalibrationError: the values do not fit together.
        SettingError: the prior is not between 0 and 1.
    """

    weights_sha256: str
    model: str
    preprocessing: Mapping[str, Any]
    distance: Distance
    curves: tuple[CalibrationCurve, ...]
    prior: float = 0.5
    costs: DecisionCosts = DecisionCosts()
    data: str = "unknown"
    held_out: Mapping[str, float] = field(default_factory=dict)
    omnireid_version: str = "unknown"

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", tuple(self.curves))
        object.__setattr__(self, "preprocessing", _plain(self.preprocessing))
        check_prior(self.prior)
        if len(self.weights_sha256) != 64:
            raise CalibrationError(f"weights_sha256 must have 64 digits; found {self.weights_sha256!r:.80}.")
        if self.distance not in DISTANCES:
            raise CalibrationError(f"There is no distance {self.distance!r}. Known: {', '.join(DISTANCES)}.")
        kinds = [(curve.relation, curve.least_gap_s, curve.gap_below_s) for curve in self.curves]
        if not kinds or kinds[0] != ("any", None, None) or len(set(kinds)) < len(kinds):
            raise CalibrationError(
                "A calibration needs a first curve for any pair, and each kind of pair once; found "
                f"{[curve.name for curve in self.curves]}."
            )

    @property
    def thresholds(self) -> tuple[float, float]:
        """Probabilities: a pair below the first is *new*, from the second on it is the *same*."""
        return self.costs.thresholds

    @property
    def needs_times(self) -> bool:
        """Whether a curve is chosen by the time between two crops."""
        return any(curve.least_gap_s is not None for curve in self.curves)

    def check_weights(self, weights_sha256: str, preprocessing: Mapping[str, Any], distance: str) -> None:
        """Check that distances between certain embeddings mean what this calibration says.

        Args:
            weights_sha256: SHA-256 of the weights that made the embeddings.
            preprocessing: Fields of their preprocessing.
            distance: How they are compared.

        Raises:
            CalibrationError: it was made for other weights, another preprocessing or another distance.
        """
        if weights_sha256 != self.weights_sha256:
            raise CalibrationError(
                f"This calibration is for weights {self.weights_sha256[:12]}… ({self.model}), but the embeddings are "
                f"by {weights_sha256[:12]}…: a distance means something else there. Make one for these weights with: "
                "omnireid calibrate"
            )
        if _plain(preprocessing) != self.preprocessing:
            raise CalibrationError(
                "This calibration was made with another preprocessing than these embeddings. Make one for them with: "
                "omnireid calibrate"
            )
        if distance != self.distance:
            raise CalibrationError(
                f"This calibration is for {self.distance} distance, and these are {distance} distances. Compare by "
                f"{self.distance}, or calibrate with distance (--distance {distance})."
            )

    def log_likelihood_ratios(
        self, distances: npt.ArrayLike, *, same_camera: npt.ArrayLike | None = None, gap_s: npt.ArrayLike | None = None
    ) -> DoubleArray:
        """What the distances say, whatever the prior: above 0 they speak for one person, below for two.

        Args:
            distances: Distances between two crops, in any shape; +inf stands for no crop.
            same_camera: For each pair, whether one camera took both crops, NaN where that is not known; None where no
                cameras are known.
            gap_s: Seconds between both crops, NaN where that is not known; None where no times are known.

        Each pair is read on the narrowest curve that fits what is known about it.

        Raises:
            ShapeError: the arrays have different shapes.
        """
        values = np.asarray(distances, dtype=np.float64)
        cameras = _aligned(same_camera, "same_camera", values)
        gaps = _aligned(gap_s, "gap_s", values)
        same = None if cameras is None else cameras.astype(np.float64)
        seconds = None if gaps is None else np.abs(gaps.astype(np.float64))
        result = np.empty(values.shape, dtype=np.float64)
        for curve in sorted(self.curves, key=lambda one: (one.least_gap_s is not None, one.relation != "any")):
            covered = curve.covers(same, seconds, values.shape)
            result[covered] = curve.evaluate(values[covered])
        result[np.isposinf(values)] = -np.inf
        return result

    def probabilities(
        self,
        distances: npt.ArrayLike,
        *,
        same_camera: npt.ArrayLike | None = None,
        gap_s: npt.ArrayLike | None = None,
        prior: float | None = None,
    ) -> DoubleArray:
        """The probability that each pair of crops shows one person.

        Args:
            distances: As for `log_likelihood_ratios`.
            same_camera: As for `log_likelihood_ratios`.
            gap_s: As for `log_likelihood_ratios`.
            prior: Probability before the crops are compared; by default the calibration's own.

        Raises:
            ShapeError: the arrays have different shapes.
            SettingError: the prior is not between 0 and 1.
        """
        ratios = self.log_likelihood_ratios(distances, same_camera=same_camera, gap_s=gap_s)
        return to_probabilities(ratios, self.prior if prior is None else prior)

    def verdicts(self, probabilities: npt.ArrayLike) -> AnyArray:
        """``same``, ``ask`` or ``new`` for each probability, as an array of text of the same shape."""
        values = np.asarray(probabilities, dtype=np.float64)
        new, same = self.thresholds
        return np.where(values >= same, "same", np.where(values < new, "new", "ask"))

    def json(self) -> dict[str, Any]:
        """The calibration as plain values, ready for ``json.dumps``."""
        new, same = self.thresholds
        values = asdict(replace(self, preprocessing=dict(self.preprocessing), held_out=dict(self.held_out)))
        return {"kind": _KIND, "format_version": FORMAT_VERSION, **values, "new_below": new, "same_from": same}

    @staticmethod
    def from_json(values: object, where: str) -> Calibration:
        """Read what `json` gave.

        Raises:
            CalibrationError: it is something else, or a value is missing or wrong; the message names `where`.
        """
        if not isinstance(values, Mapping) or values.get("kind") != _KIND:
            raise CalibrationError(f"{where} is no calibration. Make one with: omnireid calibrate")
        version = values.get("format_version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise CalibrationError(newer_format(where, version, FORMAT_VERSION))
        try:
            known = {name: values[name] for name in Calibration.__dataclass_fields__}
            known["curves"] = tuple(CalibrationCurve(**curve) for curve in known["curves"])
            known["costs"] = DecisionCosts(**known["costs"])
            return Calibration(**known)
        except (KeyError, TypeError, ValueError, AttributeError, OmnireidError) as error:
            raise CalibrationError(
                f"{where} cannot be used ({error}). Make the calibration again with: omnireid calibrate"
            ) from error


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json(path, calibration.json())


def read_calibration(path: str | Path) -> Calibration:
    """Read what `write_calibration` wrote.

    Raises:
        CalibrationError: there is no such file, it is no calibration, or it is damaged.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CalibrationError(
            f"{path} cannot be read as a calibration ({error}). Make one with: omnireid calibrate"
        ) from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CalibrationError(
            f"{path} is no whole JSON file ({error}). Make the calibration again with: omnireid calibrate"
        ) from error
    return Calibration.from_json(values, str(path))


def to_probabilities(log_likelihood_ratios: npt.ArrayLike, prior: float) -> DoubleArray:
    """Probabilities from log likelihood ratios and a prior.

    >>> to_probabilities([0.0], 0.25).tolist()
    [0.25]
    """
    check_prior(prior)
    with np.errstate(over="ignore"):
        odds = np.exp(-(np.asarray(log_likelihood_ratios, dtype=np.float64) + math.log(prior / (1 - prior))))
    probabilities: DoubleArray = 1 / (1 + odds)
    return probabilities


def _aligned(values: npt.ArrayLike | None, parameter: str, distances: DoubleArray) -> AnyArray | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != distances.shape:
        raise ShapeError(
            f"{parameter} must have one value for each distance, shape {distances.shape}; got {array.shape}."
        )
    return array


def _plain(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as JSON gives them back: with lists where a fresh value has tuples."""
    return {
        name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in preprocessing.items()
    }
