"""Cutting tracklets in which the motion tracker went over from one person to another.

Where two people pass each other, a tracker that compares boxes may leave with
the other one. The crops before and after then look different.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from omnireid.tracking.appearance import Appearance, mean_distance, unit_rows
from omnireid.tracking.tracklets import Tracklet
from omnireid.types import DoubleArray

LEAST_SIDE = 2
"""Embedded crops needed on either side of a cut."""

WINDOW_S = 1.0
"""Seconds before and after a place that are compared. A longer time also shows how people change by turning round."""


def split_tracklets(
    tracklets: Sequence[Tracklet], appearance: Appearance, probability: float = 0.9
) -> tuple[Tracklet, ...]:
    """Cut tracklets where the appearance changes to another person's.

    Boxes are never moved or left out. A cut lies in the middle between the two embedded crops around it.

    Args:
        tracklets: Tracklets of one camera.
        appearance: What a distance between crops is worth.
        probability: A tracklet is cut where the crops before and after show two people with at least this probability.

    Returns:
        The tracklets in their order; parts of one follow each other. The first part keeps the number, later ones get
        numbers above all others.
    """
    least = math.log(probability / (1 - probability))
    next_number = max((tracklet.number for tracklet in tracklets), default=-1) + 1
    result: list[Tracklet] = []
    for tracklet in tracklets:
        first, *later = _parts(tracklet, appearance, least)
        result.append(first)
        for part in later:
            result.append(replace(part, number=next_number))
            next_number += 1
    return tuple(result)


def split_at_gaps(tracklets: Sequence[Tracklet], longest_s: float) -> tuple[Tracklet, ...]:
    """Cut tracklets wherever nothing was seen of the person for longer than `longest_s` seconds.

    Returns:
        The tracklets, numbered as by `split_tracklets`.
    """
    next_number = max((tracklet.number for tracklet in tracklets), default=-1) + 1
    result: list[Tracklet] = []
    for tracklet in tracklets:
        rows = np.flatnonzero(np.diff(tracklet.times) > longest_s) + 1
        edges = [0, *rows.tolist(), len(tracklet.times)]
        crops = np.searchsorted(tracklet.embedded, edges).tolist()
        for place, (box, crop) in enumerate(zip(pairwise(edges), pairwise(crops), strict=True)):
            part = _select(tracklet, slice(*box), slice(*crop))
            result.append(part if place == 0 else replace(part, number=next_number))
            next_number += place > 0
    return tuple(result)


def _parts(tracklet: Tracklet, appearance: Appearance, least: float) -> list[Tracklet]:
    """The parts of a tracklet between its cuts, with the number of the whole."""
    rows = unit_rows(tracklet.embeddings)
    times = tracklet.times[tracklet.embedded]
    cuts = range(LEAST_SIDE, len(rows) - LEAST_SIDE + 1)
    if not cuts:
        return [tracklet]
    distances = [_distance_across(rows, times, cut) for cut in cuts]
    best = int(np.argmax(distances))
    if -float(appearance.log_likelihood_ratios(distances[best])) < least:
        return [tracklet]
    cut = cuts[best]
    row = (int(tracklet.embedded[cut - 1]) + int(tracklet.embedded[cut]) + 1) // 2
    before = _select(tracklet, slice(None, row), slice(None, cut))
    after = _select(tracklet, slice(row, None), slice(cut, None))
    return [*_parts(before, appearance, least), *_parts(after, appearance, least)]


def _distance_across(rows: DoubleArray, times: DoubleArray, cut: int) -> float:
    """Distance between the crops of the window before a cut and of the window after it."""
    first = min(int(np.searchsorted(times, times[cut - 1] - WINDOW_S)), cut - LEAST_SIDE)
    last = max(int(np.searchsorted(times, times[cut] + WINDOW_S, side="right")), cut + LEAST_SIDE)
    return mean_distance(rows[first:cut], rows[cut:last])


def _select(tracklet: Tracklet, boxes: slice, crops: slice) -> Tracklet:
    """A run of a tracklet's boxes, and the embedded crops among them."""
    return replace(
        tracklet,
        frames=tracklet.frames[boxes],
        times=tracklet.times[boxes],
        boxes=tracklet.boxes[boxes],
        scores=tracklet.scores[boxes],
        embedded=tracklet.embedded[crops] - (boxes.start or 0),
        embeddings=tracklet.embeddings[crops],
        qualities=tracklet.qualities[crops],
    )
