"""Calibrations of a few points, for tests of what uses one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnireid.retrieval.calibration import Calibration, CalibrationCurve, Relation
from omnireid.terms import Distance


def curve_through(
    points: Mapping[float, float], relation: Relation = "any", least_gap_s: float | None = None
) -> CalibrationCurve:
    """A curve with these log likelihood ratios, by distance."""
    return CalibrationCurve(
        relation=relation,
        distances=tuple(points),
        log_likelihood_ratios=tuple(points.values()),
        method="logistic",
        same_pairs=9,
        different_pairs=9,
        people=9,
        least_gap_s=least_gap_s,
    )


def calibration_of(
    weights_sha256: str,
    *curves: CalibrationCurve,
    preprocessing: Mapping[str, Any],
    distance: Distance = "euclidean",
    data: str = "drawn people",
) -> Calibration:
    """A calibration for weights with this digest, which see crops after this preprocessing."""
    return Calibration(
        weights_sha256=weights_sha256,
        model="osnet_x0_25",
        preprocessing=preprocessing,
        distance=distance,
        curves=curves,
        data=data,
    )
