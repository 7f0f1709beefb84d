"""Searches for people who may not be in the gallery: how often a person is missed, and how often somebody is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omnireid.evaluation.pairs import KnownCrops
from omnireid.retrieval.search import search
from omnireid.terms import Distance
from omnireid.types import AnyArray, DoubleArray, IntArray

GALLERY_SIZES = (10, 30, 100, 300, 1000, 3000)
FALSE_POSITIVE_RATES = (0.1, 0.01)
REPEATS = 20

_LEAST_STRANGERS = 10


@dataclass(frozen=True)
class OpenSetError:
    """How open-set search fails in galleries of one size, with one crop a person.

    Attributes:
        people: Number of people in the gallery, N.
        false_positive_rate: FPIR: the fraction of searches for people who are not in the gallery that find somebody.
        false_negative_rate: FNIR: the fraction of searches for people who are in it that do not find them in the first
            place, or not near enough.
        low: 2.5th percentile of the FNIR over random galleries.
        high: 97.5th percentile.
        searches: Number of searches for people in the gallery, over all random galleries.
    """

    people: int
    false_positive_rate: float
    false_negative_rate: float
    low: float
    high: float
    searches: int

    def json(self) -> dict[str, Any]:
        """The figures as plain values."""
        return dict(vars(self))


def measure_open_set(
    embeddings: AnyArray, crops: KnownCrops, distance: Distance, *, seed: int = 0, repeats: int = REPEATS
) -> tuple[OpenSetError, ...]:
    """Measure open-set search at several gallery sizes, with people drawn at random.

    A random crop of each enrolled person is the gallery. Each of them is searched
    with another crop, from another camera where there is one; everybody else is
    searched too, and should not be found. The threshold is the one at which the
    false positive rate is reached over all galleries of a size.

    Args:
        embeddings: (N, D) embeddings.
        crops: Who is on them.
        distance: How they are compared.
        seed: Seed for the draws.
        repeats: Number of random galleries of each size.

    Returns:
        One entry for each size and rate; sizes that leave fewer than 10 people to be strangers are left out.

    Source: ISO/IEC 19795-1, and Grother, Ngan and Hanaoka, "Face Recognition Vendor Test, part 2", NISTIR 8271.
    """
    rng = np.random.default_rng(seed)
    persons = np.unique(crops.person_ids)
    rows_of = {int(person): np.flatnonzero(crops.person_ids == person) for person in persons}
    errors: list[OpenSetError] = []
    for size in GALLERY_SIZES:
        if size > len(persons) - _LEAST_STRANGERS:
            break
        drawn = [_search_once(embeddings, crops, rows_of, distance, size, rng) for _ in range(repeats)]
        strangers = np.sort(np.concatenate([nearest for _, nearest in drawn]))
        for rate in FALSE_POSITIVE_RATES:
            allowed = int(rate * len(strangers))
            if not allowed:
                continue
            limit = strangers[allowed]  # exactly `allowed` strangers are nearer
            missed = np.array([np.mean(~(mates < limit)) for mates, _ in drawn if len(mates)])
            if len(missed):
                low, high = np.quantile(missed, [0.025, 0.975])
                searches = sum(len(mates) for mates, _ in drawn)
                errors.append(OpenSetError(size, rate, float(missed.mean()), float(low), float(high), searches))
    return tuple(errors)


def _search_once(
    embeddings: AnyArray,
    crops: KnownCrops,
    rows_of: dict[int, IntArray],
    distance: Distance,
    size: int,
    rng: np.random.Generator,
) -> tuple[DoubleArray, DoubleArray]:
    """Distances to the person who was searched for (+inf where somebody else is nearer), and of strangers."""
    persons = rng.permutation(np.array(list(rows_of)))
    enrolled = np.array([rng.choice(rows_of[int(person)]) for person in persons[:size]])
    probes, targets = [], []
    for number, (person, row) in enumerate(zip(persons[:size], enrolled, strict=True)):
        others = rows_of[int(person)]
        others = others[others != row]
        if crops.camera_ids is not None:
            others = others[crops.camera_ids[others] != crops.camera_ids[row]]
        if len(others):
            probes.append(int(rng.choice(others)))
            targets.append(number)
    strangers = np.array([rng.choice(rows_of[int(person)]) for person in persons[size:]])
    searched = np.concatenate([np.array(probes, dtype=np.int64), strangers])
    found = search(embeddings[searched], embeddings[enrolled], 1, distance)
    nearest, distances = found.indices[:, 0], found.distances[:, 0].astype(np.float64)
    is_found = nearest[: len(probes)] == np.array(targets, dtype=np.int64)
    return np.where(is_found, distances[: len(probes)], np.inf), distances[len(probes) :]
