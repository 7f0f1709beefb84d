"""Sightings of nobody named, and what is nearest to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.found import usual_prior
from omnireid.gallery.sightings import Sighting, compare_cameras, seconds_between
from omnireid.gallery.snapshot import Snapshot, rank_sightings
from omnireid.retrieval.calibration import Calibration, Verdict
from omnireid.retrieval.distance import check_distance

MOST_UNNAMED = 2000
"""Sightings of nobody named that are compared with all others: those that were added last."""


@dataclass(frozen=True)
class NearPair:
    """A sighting of nobody named, and the one nearest to it.

    Attributes:
        unnamed: The sighting of nobody named.
        other: The nearest other sighting.
        distance: Their distance.
        probability: With a calibration, the probability that both show one person.
        verdict: With a calibration, what to do about it.
    """

    unnamed: Sighting
    other: Sighting
    distance: float
    probability: float | None = None
    verdict: Verdict | None = None

    def json(self) -> dict[str, Any]:
        """The pair as plain values."""
        return dict(vars(self)) | {"unnamed": self.unnamed.json(), "other": self.other.json()}


def find_near_pairs(
    snapshot: Snapshot, distance: str, calibration: Calibration | None, count: int
) -> tuple[NearPair, ...]:
    """The `count` nearest of the pairs of an unnamed sighting and its nearest other one, each pair once.

    Args:
        snapshot: The sightings of a gallery.
        distance: How embeddings are compared.
        calibration: What a distance means; None where nobody knows.
        count: Number of pairs.
    """
    table = snapshot.sightings.table
    rows = np.flatnonzero(table.column("person").is_null().to_numpy())[-MOST_UNNAMED:]
    if not len(rows) or len(snapshot) < 2:
        return ()
    query = snapshot.embeddings[rows].astype(np.float32)
    ranked = rank_sightings(snapshot, query, 2, SightingFilter(), check_distance(distance), None)
    # The sighting itself is the first or, among equal embeddings, perhaps none of both.
    place = (ranked.indices[:, 0] == rows).astype(np.int64)
    others = np.take_along_axis(ranked.indices, place[:, None], axis=1)[:, 0]
    distances = np.take_along_axis(ranked.distances, place[:, None], axis=1)[:, 0]
    nearest: dict[frozenset[int], int] = {}
    for index in np.argsort(distances, kind="stable").tolist():
        nearest.setdefault(frozenset((int(rows[index]), int(others[index]))), index)
    pairs = [
        NearPair(snapshot.sightings[int(rows[index])], snapshot.sightings[int(others[index])], float(distances[index]))
        for index in list(nearest.values())[:count]
    ]
    return tuple(pairs) if calibration is None else _with_probabilities(pairs, calibration, snapshot)


def _with_probabilities(
    pairs: Sequence[NearPair], calibration: Calibration, snapshot: Snapshot
) -> tuple[NearPair, ...]:
    """The pairs with what a calibration says of their distances, by camera and time where both are known."""
    likely = calibration.probabilities(
        np.array([pair.distance for pair in pairs]),
        same_camera=compare_cameras([pair.unnamed.camera for pair in pairs], [pair.other.camera for pair in pairs]),
        gap_s=seconds_between([pair.unnamed.time for pair in pairs], [pair.other.time for pair in pairs]),
        prior=usual_prior(snapshot.sightings),
    )
    verdicts = calibration.verdicts(likely)
    return tuple(
        replace(pair, probability=float(probability), verdict=verdict)
        for pair, probability, verdict in zip(pairs, likely, verdicts, strict=True)
    )
