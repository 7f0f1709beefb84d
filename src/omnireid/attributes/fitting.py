"""Training a head on embeddings: logistic regression with a weighted loss, in seconds and without torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from omnireid.attributes.head import AttributedEmbeddings, AttributeHead, HeadRecord
from omnireid.attributes.options import FittingOptions
from omnireid.data.attributes import tasks_of
from omnireid.errors import DataError, SettingError, list_briefly
from omnireid.types import BoolArray, DoubleArray, FloatArray
from omnireid.version import __version__

_STEPS = 1000
_TOLERANCE = 1e-9
"""Training ends when no step can be expected to lower the loss of any attribute by more."""


def fit_attribute_head(data: AttributedEmbeddings, options: FittingOptions = FittingOptions()) -> AttributeHead:
    """Train a head on embeddings with known attributes.

    The loss of an attribute is the sigmoid cross-entropy, in which a crop that has the attribute weighs
    exp(1 - p) and one that lacks it exp(p), where p is the share of crops that have it. So crops with a rare
    attribute, which are easily ignored, count up to e times as much. Attributes in which all crops agree cannot be
    learned; they are left out with a warning.

    Args:
        data: Embeddings and attributes to learn from.
        options: How the head is trained.

    Raises:
        DataError: There are no crops, or they agree in every attribute.
        SettingError: An attribute that is to be left out is not there.

    Source: the loss of Li et al., "Multi-attribute Learning for Pedestrian Attribute Recognition in Surveillance
    Scenarios", ACPR 2015, with weights on both sides as in Jia et al., "Rethinking of Pedestrian Attribute
    Recognition", 2020. OSNet's paper trains with a weighted sigmoid cross-entropy too.
    """
    data = _without(data, options.leave_out)
    is_learnable = find_learnable(data.values, data.names, data.data)
    left_out = tuple(name for name, learnable in zip(data.names, is_learnable, strict=True) if not learnable)
    shares = data.values.mean(axis=0)
    weights, biases = fit_logistic(data.table.embeddings, data.values[:, is_learnable], penalty=options.penalty)
    people = data.table.crops.person_ids
    made = data.table.provenance
    return AttributeHead(
        names=tuple(name for name, learnable in zip(data.names, is_learnable, strict=True) if learnable),
        weights=weights.astype(np.float32),
        biases=biases.astype(np.float32),
        positive_shares=shares[is_learnable].astype(np.float32),
        record=HeadRecord(
            weights_sha256=made.weights_sha256,
            model=made.model,
            training_data=data.data,
            licence=f"data: {data.licence}; weights: {made.licence}",
            crops=len(data),
            people=0 if people is None else len(np.unique(people)),
            penalty=options.penalty,
            left_out=left_out,
            omnireid_version=__version__,
        ),
    )


def _without(data: AttributedEmbeddings, leave_out: Sequence[str]) -> AttributedEmbeddings:
    """The data without some attributes, named one by one or by task."""
    tasks = tasks_of(data.names)
    absent = [name for name in leave_out if name not in data.names and name not in tasks]
    if absent:
        raise SettingError(
            f"leave_out (--leave-out) names {absent[0]!r}, which {data.data} does not have. It has: {', '.join(tasks)}."
        )
    dropped = {column for task, columns in tasks.items() if task in leave_out for column in columns}
    kept = [k for k, name in enumerate(data.names) if k not in dropped and name not in leave_out]
    if not kept:
        raise SettingError("leave_out (--leave-out) names every attribute, so there is nothing to learn.")
    return replace(data, names=tuple(data.names[k] for k in kept), values=data.values[:, kept])


def find_learnable(values: BoolArray, names: Sequence[str], data: str) -> BoolArray:
    """(K,) which of (N, K) attributes can be learned: not all crops agree in them. The others are named in a warning.

    Raises:
        DataError: There are no crops, or they agree in every attribute.
    """
    is_learnable = np.logical_and(values.any(axis=0), ~values.all(axis=0))
    if not is_learnable.any():
        raise DataError(
            f"The {len(values):,} training crops of {data} agree in every attribute ({list_briefly(names)}), so there "
            "is nothing to learn. Add crops that differ."
        )
    left_out = [name for name, learnable in zip(names, is_learnable, strict=True) if not learnable]
    if left_out:
        warnings.warn(
            f"The training crops all agree in {len(left_out)} of {len(names)} attributes, which are left out: "
            f"{list_briefly(left_out, 8)}.",
            stacklevel=3,
        )
    return is_learnable


def balance_weights(values: BoolArray) -> DoubleArray:
    """(N, K) weight of each crop for each attribute: exp(1 - p) where it has the attribute, else exp(p); mean 1."""
    shares = values.mean(axis=0)
    weights = np.where(values, np.exp(1 - shares), np.exp(shares))
    scaled: DoubleArray = weights / weights.mean(axis=0)
    return scaled


def fit_logistic(embeddings: FloatArray, values: BoolArray, *, penalty: float) -> tuple[DoubleArray, DoubleArray]:
    """Fit K logistic regressions at once by bound optimisation, accelerated.

    The curvature of the logistic loss is nowhere above a quarter, so a quadratic function with that curvature lies
    above the loss, and its minimum is a step that never raises it. The quadratic's matrix is the same in every step
    and for every attribute, up to a factor, so it is decomposed once. Nesterov's momentum, started again wherever it
    points uphill, makes the steps few: about 40 for 13,000 embeddings.

    Args:
        embeddings: (N, D).
        values: (N, K) booleans; each column has both values.
        penalty: Factor of half the squared norm of an attribute's weights, in units of each dimension's standard
            deviation. Biases are not penalised.

    Returns:
        (D, K) weights and (K,) biases, for embeddings as they are.

    Source: Böhning, "Multinomial logistic regression algorithm", 1992; O'Donoghue and Candès, "Adaptive restart for
    accelerated gradient schemes", 2015.
    """
    means = embeddings.mean(axis=0, dtype=np.float64)
    deviations = embeddings.std(axis=0, dtype=np.float64)
    scale = np.where(deviations > 0, deviations, 1)
    centred = ((embeddings - means) / scale).astype(np.float32)
    targets = values.astype(np.float32)
    sample_weights = balance_weights(values).astype(np.float32)
    # The bias is one more dimension, always 1, which the centred ones do not interact with.
    curvature, directions = np.linalg.eigh((centred.T @ centred / np.float32(len(centred))).astype(np.float64))
    largest = 0.25 * sample_weights.max(axis=0).astype(np.float64)
    bound = np.maximum(curvature, 0)[:, None] * largest + penalty

    def gradient(point: DoubleArray) -> DoubleArray:
        logits = centred @ point[:-1].astype(np.float32) + point[-1].astype(np.float32)
        errors = sample_weights * (0.5 * (1 + np.tanh(0.5 * logits)) - targets)
        slopes = (centred.T @ errors).astype(np.float64) / len(centred)
        return np.vstack([slopes + penalty * point[:-1], errors.mean(axis=0, dtype=np.float64)])

    def step(slopes: DoubleArray) -> DoubleArray:
        return np.vstack([directions @ ((directions.T @ slopes[:-1]) / bound), slopes[-1] / largest])

    found = _minimise(gradient, step, np.zeros((centred.shape[1] + 1, values.shape[1])))
    weights = found[:-1] / scale[:, None]
    return weights, found[-1] - means @ weights


def _minimise(
    gradient: Callable[[DoubleArray], DoubleArray], step: Callable[[DoubleArray], DoubleArray], start: DoubleArray
) -> DoubleArray:
    """Take steps from `start`, each column with a momentum of its own, until none of them gains anything.

    Args:
        gradient: Gradient at a point, column by column.
        step: The step against a gradient.
        start: (D, K) first point.
    """
    point, ahead = start, start
    momentum = np.ones(start.shape[1])
    for _ in range(_STEPS):
        slopes = gradient(ahead)
        change = step(slopes)
        if (slopes * change).sum(axis=0).max() < _TOLERANCE:
            return ahead - change
        following = ahead - change
        is_uphill = (slopes * (following - point)).sum(axis=0) > 0
        momentum = np.where(is_uphill, 1, momentum)
        larger = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        ahead = following + np.where(is_uphill, 0, (momentum - 1) / larger) * (following - point)
        point, momentum = following, larger
    warnings.warn(
        f"Training of the head stopped after {_STEPS:,} steps without arriving. A larger penalty arrives sooner.",
        stacklevel=4,
    )
    return point
