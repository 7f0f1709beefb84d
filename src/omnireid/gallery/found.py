"""What a search of a gallery found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from omnireid.gallery.sightings import Sighting, Sightings, compare_cameras, seconds_between
from omnireid.retrieval.calibration import Calibration, Verdict
from omnireid.retrieval.search import RankedMatches
from omnireid.terms import Distance
from omnireid.types import DoubleArray


@dataclass(frozen=True)
class GalleryMatch:
    """One sighting found for a query.

    Attributes:
        rank: Its place, from 1.
        distance: Euclidean distance (not squared) or cosine distance to the query.
        sighting: What was found.
        probability: That both show one person; None without a calibration.
        verdict: ``same``, ``ask`` (a person) or ``new``; None without a calibration.
    """

    rank: int
    distance: float
    sighting: Sighting
    probability: float | None = None
    verdict: Verdict | None = None

    def json(self) -> dict[str, Any]:
        """The match as plain values."""
        record: dict[str, Any] = {"rank": self.rank, "distance": self.distance}
        if self.probability is not None:
            record |= {"probability": self.probability, "verdict": self.verdict}
        return record | self.sighting.json()


@dataclass(frozen=True, eq=False)
class GalleryMatches:
    """What was found for Q queries.

    Attributes:
        queries: Names of the queries.
        ranked: (Q, K) rows of `sightings` and their distances, nearest first; -1 where fewer than K fit the filter.
        sightings: The sightings that `ranked` points into.
        distance: How embeddings were compared.
        index_recall: None where every sighting was compared. Else the share of the true nearest ten that the index
            found when it was measured.
        probabilities: (Q, K) that each match shows the query's person; None without a calibration.
        thresholds: A probability below the first is *new*, from the second on *same*; None without a calibration.
        prior: Probability before anybody looked that the probabilities begin with.
    """

    queries: tuple[str, ...]
    ranked: RankedMatches
    sightings: Sightings
    distance: Distance
    index_recall: float | None = None
    probabilities: DoubleArray | None = field(default=None, repr=False)
    thresholds: tuple[float, float] | None = None
    prior: float | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, query: int) -> tuple[GalleryMatch, ...]:
        """The sightings found for one query, nearest first."""
        rows, distances = self.ranked.indices[query].tolist(), self.ranked.distances[query].tolist()
        likely = [None] * len(rows) if self.probabilities is None else self.probabilities[query].tolist()
        return tuple(
            GalleryMatch(rank, value, self.sightings[row], probability, self.verdict(probability))
            for rank, (row, value, probability) in enumerate(zip(rows, distances, likely, strict=True), start=1)
            if row >= 0
        )

    def verdict(self, probability: float | None) -> Verdict | None:
        """What the calibration's costs say of a probability; None without a calibration."""
        if probability is None or self.thresholds is None:
            return None
        new, same = self.thresholds
        return "same" if probability >= same else "new" if probability < new else "ask"

    def json(self) -> dict[str, Any]:
        """What was found as plain values."""
        found = [
            {"query": name, "matches": [match.json() for match in self[number]]}
            for number, name in enumerate(self.queries)
        ]
        return {
            "distance": self.distance,
            "index_recall": self.index_recall,
            "prior": self.prior,
            "queries": found,
        }

    def table(self) -> str:
        """What was found as text, a block for each query."""
        lines = []
        for number, name in enumerate(self.queries):
            matches = self[number]
            lines.append(f"{name}:" + ("" if matches else " nothing fits the filter"))
            for match in matches:
                seen = match.sighting
                likely = "" if match.probability is None else f"{100 * match.probability:5.1f} %  {match.verdict}"
                time = "" if seen.time is None else seen.time.isoformat(timespec="seconds")
                camera = "" if seen.camera is None else f"camera {seen.camera}"
                person = "nobody named" if seen.person is None else f"person {seen.person}"
                parts = (likely, f"sighting {seen.number}", person, camera, time, seen.path)
                lines.append(f"  {match.rank:>3}  {match.distance:8.4f}  " + "  ".join(part for part in parts if part))
        if self.index_recall is not None:
            lines.append(
                f"Found through an index, which gave {100 * self.index_recall:.1f} % of the true nearest ten when "
                "it was measured."
            )
        if self.prior is not None:
            lines.append(
                f"The probabilities begin with a prior of {self.prior:.2g} for each sighting, before anybody looked."
            )
        return "\n".join(lines)


def with_probabilities(
    found: GalleryMatches,
    calibration: Calibration,
    prior: float,
    *,
    cameras: Sequence[str | None] | None = None,
    times: Sequence[datetime | None] = (),
) -> GalleryMatches:
    """The matches with the probabilities that a calibration gives them, each by the narrowest curve that is for it.

    Args:
        found: The matches.
        calibration: The calibration of the gallery's model.
        prior: Probability that a sighting shows the query's person, before they are compared.
        cameras: The camera of each query, where they are known.
        times: The time of each query; empty where none is known.
    """
    import pyarrow as pa

    indices = found.ranked.indices
    shape, width = indices.shape, indices.shape[1]
    shown = found.sightings.table.take(pa.array(indices.reshape(-1), mask=indices.reshape(-1) < 0))
    same_camera = gap_s = None
    if cameras is not None:
        asked = [camera for camera in cameras for _ in range(width)]
        same_camera = compare_cameras(asked, shown.column("camera").to_pylist()).reshape(shape)
    if times:
        asked_times = [time for time in times for _ in range(width)]
        gap_s = seconds_between(asked_times, shown.column("time").to_pylist()).reshape(shape)
    probabilities = calibration.probabilities(found.ranked.distances, same_camera=same_camera, gap_s=gap_s, prior=prior)
    return replace(found, probabilities=probabilities, thresholds=calibration.thresholds, prior=prior)


def usual_prior(sightings: Sightings) -> float:
    """The prior where nobody stated one: a half, shared among the people of the gallery.

    Whoever is searched for is there in half of the searches. Where nobody is named, all sightings share it.

    Args:
        sightings: All sightings of the gallery, with the column ``person`` at least.
    """
    import pyarrow.compute as pc

    named = int(pc.count_distinct(sightings.table.column("person"), mode="only_valid").as_py())
    return 0.5 / max(1, named or len(sightings))
