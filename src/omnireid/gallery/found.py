"""What a search of a gallery found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omnireid.gallery.sightings import Sighting, Sightings
from omnireid.retrieval.search import RankedMatches
from omnireid.terms import Distance


@dataclass(frozen=True)
class GalleryMatch:
    """One sighting found for a query.

    Attributes:
        rank: Its place, from 1.
        distance: Euclidean distance (not squared) or cosine distance to the query.
        sighting: What was found.
    """

    rank: int
    distance: float
    sighting: Sighting


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
    """

    queries: tuple[str, ...]
    ranked: RankedMatches
    sightings: Sightings
    distance: Distance
    index_recall: float | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, query: int) -> tuple[GalleryMatch, ...]:
        """The sightings found for one query, nearest first."""
        rows, distances = self.ranked.indices[query].tolist(), self.ranked.distances[query].tolist()
        return tuple(
            GalleryMatch(rank, value, self.sightings[row])
            for rank, (row, value) in enumerate(zip(rows, distances, strict=True), start=1)
            if row >= 0
        )

    def json(self) -> dict[str, Any]:
        """What was found as plain values."""
        found = []
        for number, name in enumerate(self.queries):
            matches = [{"rank": m.rank, "distance": m.distance, **m.sighting.json()} for m in self[number]]
            found.append({"query": name, "matches": matches})
        return {"distance": self.distance, "index_recall": self.index_recall, "queries": found}

    def table(self) -> str:
        """What was found as text, a block for each query."""
        lines = []
        for number, name in enumerate(self.queries):
            lines.append(f"{name}:" + ("" if self[number] else " nothing fits the filter"))
            for match in self[number]:
                seen = match.sighting
                time = "" if seen.time is None else seen.time.isoformat(timespec="seconds")
                camera = "" if seen.camera is None else f"camera {seen.camera}"
                parts = (f"sighting {seen.number}", seen.person or "nobody named", camera, time, seen.path)
                lines.append(f"  {match.rank:>3}  {match.distance:8.4f}  " + "  ".join(part for part in parts if part))
        return "\n".join(lines)
