"""The questions whose answers help most: pairs of sightings that may show one person, and nobody knows it yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from omnireid.gallery.clustering import rows_by_person, rows_that_differ, undecided_rows
from omnireid.gallery.constraints import Groups, read_circumstances
from omnireid.gallery.deciding import People
from omnireid.gallery.sightings import Sighting, Sightings, compare_cameras, seconds_between
from omnireid.gallery.snapshot import Snapshot
from omnireid.retrieval.calibration import Calibration, Verdict
from omnireid.retrieval.options import Reranking
from omnireid.retrieval.reciprocal_graph import ReciprocalGraph, connect_neighbours
from omnireid.types import DoubleArray, IntArray, check_whole_number

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Question:
    """Do two sightings show one person?

    Attributes:
        one: A sighting.
        other: Another one, of another person or of nobody.
        distance: Distance of their embeddings.
        probability: The probability that both show one person.
        verdict: What the calibration's costs say: ``ask``, or ``same`` or ``new`` where a question pays less.
        changed: Number of sightings that get another person if the answer is yes: the smaller of the two people.
    """

    one: Sighting
    other: Sighting
    distance: float
    probability: float
    verdict: Verdict
    changed: int

    @property
    def evidence(self) -> dict[str, Any]:
        """What is kept with the decision that follows from an answer."""
        return {
            "sightings": [self.one.number, self.other.number],
            "distance": round(self.distance, 6),
            "probability": round(self.probability, 6),
        }

    def json(self) -> dict[str, Any]:
        """The question as plain values."""
        record = {"distance": self.distance, "probability": self.probability, "verdict": self.verdict}
        return record | {"changed": self.changed, "one": self.one.json(), "other": self.other.json()}

    def __str__(self) -> str:
        lines = [
            f"{100 * self.probability:.1f} % the same person, distance {self.distance:.4f}; yes moves "
            f"{self.changed:,} sightings"
        ]
        for sighting in (self.one, self.other):
            parts = [f"  sighting {sighting.number}", sighting.person or "nobody named"]
            parts += [] if sighting.camera is None else [f"camera {sighting.camera}"]
            parts += [] if sighting.time is None else [sighting.time.isoformat(timespec="seconds")]
            lines.append("  ".join([*parts, sighting.path]))
        return "\n".join(lines)


def find_questions(
    snapshot: Snapshot,
    people: People,
    calibration: Calibration,
    count: int,
    *,
    prior: float | None = None,
    progress: bool = False,
) -> tuple[Question, ...]:
    """Find the most useful questions, the most useful first.

    Asked are pairs of neighbours in the k-reciprocal graph, once for any two people, by their nearest sightings.
    Pairs in the calibration's *ask* range come first. A question is worth the probability of a wrong guess, times the
    number of sightings that an answer would move. Nobody is asked about two boxes of one frame that do not overlap,
    about sightings that somebody said differ, or about those that were given to nobody.

    Args:
        snapshot: The sightings.
        people: Who is who, at the same moment.
        calibration: What a distance means.
        count: Number of questions.
        prior: Probability that a sighting shows a certain person, before anybody looked. By default a half, shared
            among the people of the gallery, or its sightings where nobody is named.
        progress: Draw a bar on standard error.

    Raises:
        SettingError: `count` is below 1, or the prior is no probability.
    """
    check_whole_number(count, "count", least=1)
    rows, names = undecided_rows(snapshot, people)
    if len(rows) < 2:
        return ()
    table = snapshot.sightings.table.take(rows)
    numbers = table.column("sighting").to_numpy()
    graph = connect_neighbours(snapshot.embeddings[rows], calibration.distance, Reranking(), progress=progress)
    if prior is None:
        prior = 0.5 / (len(set(names) - {None}) or len(rows))
    probabilities = _probabilities(graph, calibration, table, prior)
    groups = Groups(len(rows), read_circumstances(table, None, duplicate_boxes=True), rows_that_differ(people, numbers))
    for own in rows_by_person(names).values():
        groups.bind(own)
    codes = np.array([groups.root(row) for row in range(len(rows))], dtype=np.int64)
    sizes = np.bincount(codes)
    changed = np.minimum(sizes[codes[graph.first]], sizes[codes[graph.second]])
    verdicts = calibration.verdicts(probabilities)
    worth = np.minimum(probabilities, 1 - probabilities) * changed
    pairs = _nearest_of_each(graph, codes)
    order = pairs[np.lexsort((pairs, -worth[pairs], verdicts[pairs] != "ask"))]
    sightings = Sightings(table)
    found: list[Question] = []
    for pair in order.tolist():
        first, second = int(graph.first[pair]), int(graph.second[pair])
        if groups.reason_apart(first, second) is not None:
            continue
        value, likely = float(graph.distances[pair]), float(probabilities[pair])
        found.append(
            Question(
                sightings[first],
                sightings[second],
                value,
                likely,
                cast("Verdict", str(verdicts[pair])),
                int(changed[pair]),
            )
        )
        if len(found) == count:
            break
    return tuple(found)


def _probabilities(graph: ReciprocalGraph, calibration: Calibration, table: pa.Table, prior: float) -> DoubleArray:
    """The probability of each pair of the graph, by the narrowest curve for what is known of its cameras and times."""
    cameras, times = (
        (table.column(name).take(graph.first).to_pylist(), table.column(name).take(graph.second).to_pylist())
        for name in ("camera", "time")
    )
    return calibration.probabilities(
        graph.distances,
        same_camera=compare_cameras(*cameras),
        gap_s=seconds_between(*times) if calibration.needs_times else None,
        prior=prior,
    )


def _nearest_of_each(graph: ReciprocalGraph, codes: IntArray) -> IntArray:
    """The pair of nearest sightings of every two groups that are neighbours.

    Args:
        graph: E pairs of N sightings.
        codes: (N,) number of each sighting's group.
    """
    first, second = codes[graph.first], codes[graph.second]
    lower, upper = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((graph.distances, upper, lower))
    order = order[lower[order] != upper[order]]
    changes = np.diff(lower[order], prepend=-1) | np.diff(upper[order], prepend=-1)
    nearest: IntArray = order[changes != 0]
    return nearest
