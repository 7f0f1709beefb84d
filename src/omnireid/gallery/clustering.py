"""Proposing people: sightings that are neighbours of each other, put together where nothing speaks against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from omnireid.errors import require
from omnireid.gallery.constraints import Groups, read_circumstances
from omnireid.gallery.deciding import People, ProposedPerson
from omnireid.gallery.options import ClusterOptions
from omnireid.gallery.snapshot import Snapshot
from omnireid.retrieval.distance import check_distance
from omnireid.retrieval.options import Reranking
from omnireid.retrieval.reciprocal_graph import ReciprocalGraph, connect_neighbours
from omnireid.types import BoolArray, IntArray

_SMALLEST_DISTANCE = 1e-6  # SciPy takes a distance of zero for no edge
_DENSE_NEIGHBOURS = 3  # HDBSCAN's min_samples
_FAR = 2.0  # beyond every Jaccard distance

_REASONS = {
    "frame": "they are two boxes of one frame",
    "places": "they are at one time in two places",
    "decision": "somebody said that they differ",
    "people": "they belong to two people of the gallery",
}


@dataclass(frozen=True)
class ClusterProposal:
    """What `Gallery.cluster` proposes.

    Attributes:
        people: The people, new ones first, those with the most sightings first.
        options: How they were found.
        sightings: Number of sightings that were compared.
        placed: Number of sightings that have a person already, which stays as it is.
        alone: Number of sightings that are proposed to nobody.
        constrained: Number of sightings of which a camera and a frame or time are known.
        kept_apart: Number of pairs of neighbours that were kept apart, by reason: ``frame``, ``places``, ``decision``
            or ``people``.
    """

    people: tuple[ProposedPerson, ...]
    options: ClusterOptions
    sightings: int
    placed: int
    alone: int
    constrained: int
    kept_apart: Mapping[str, int]

    @property
    def new_people(self) -> int:
        """Number of people whom the gallery does not have yet."""
        return sum(person.is_new for person in self.people)

    @property
    def evidence(self) -> dict[str, Any]:
        """What is kept with the decision: settings and counts."""
        counts = {"sightings": self.sightings, "new_people": self.new_people, "alone": self.alone}
        return asdict(self.options) | counts | {"kept_apart": dict(self.kept_apart)}

    def json(self) -> dict[str, Any]:
        """The proposal as plain values."""
        people = [{"person": one.name, "is_new": one.is_new, "sightings": list(one.sightings)} for one in self.people]
        more = {"placed": self.placed, "constrained": self.constrained}
        return self.evidence | more | {"people": people}

    def table(self) -> str:
        """The proposal as text, without the sightings of each person."""
        given = sum(len(person.sightings) for person in self.people if person.is_new)
        further = [len(person.sightings) for person in self.people if not person.is_new]
        lines = [
            f"{self.new_people:,} new people with {given:,} sightings; {sum(further):,} sightings for {len(further):,} "
            f"people who are there; {self.alone:,} sightings for nobody; {self.placed:,} have a person already"
        ]
        if self.options.unconstrained:
            lines.append("Frames and times were not looked at.")
        elif not self.constrained:
            lines.append(
                "No sighting has a camera and a time or frame, so nothing says which sightings cannot be one person."
            )
        else:
            lines.append(f"{self.constrained:,} of {self.sightings:,} sightings have a camera and a time or frame.")
        lines += [
            f"{count:,} pairs of neighbours were kept apart because {_REASONS[reason]}"
            for reason, count in sorted(self.kept_apart.items())
        ]
        return "\n".join(lines)


def propose_people(
    snapshot: Snapshot, people: People, distance: str, options: ClusterOptions, *, progress: bool = False
) -> ClusterProposal:
    """Propose who is one person among the sightings that have none.

    Sightings of one known person stay together, and those of two stay apart, whatever they look like. Sightings that
    a decision gives to nobody are left alone.

    Args:
        snapshot: The sightings.
        people: Who is who, at the same moment.
        distance: How embeddings are compared.
        options: The settings.
        progress: Draw a bar on standard error.

    Raises:
        MissingDependencyError: scikit-learn is missing, and the method is ``hdbscan``.
    """
    rows, names = undecided_rows(snapshot, people)
    circumstances = None
    if not options.unconstrained:
        circumstances = read_circumstances(
            snapshot.sightings.table.take(rows), options.window_s, duplicate_boxes=options.duplicate_boxes
        )
    numbers = snapshot.sightings.table.column("sighting").to_numpy()[rows]
    groups = Groups(len(rows), circumstances, rows_that_differ(people, numbers))
    for name, own in rows_by_person(names).items():
        groups.bind(own, name)
    if len(rows) > 1:
        graph = connect_neighbours(
            snapshot.embeddings[rows],
            check_distance(distance),
            Reranking(k1=options.k1, k2=options.k2),
            progress=progress,
        )
        join_neighbours(graph, groups, options)
    found = _name_people(groups, people, names, numbers, options.least_sightings)
    placed = sum(name is not None for name in names)
    return ClusterProposal(
        people=found,
        options=options,
        sightings=len(snapshot),
        placed=placed,
        alone=len(snapshot) - placed - sum(len(person.sightings) for person in found),
        constrained=0 if circumstances is None else circumstances.known,
        kept_apart={str(reason): count for reason, count in groups.refused.items()},
    )


def join_neighbours(graph: ReciprocalGraph, groups: Groups, options: ClusterOptions) -> None:
    """Join the crops of a graph into groups, the nearest first.

    Without anything that speaks against a pair, ``components`` gives the connected components of the reciprocal
    neighbours up to the threshold, and ``hdbscan`` the clusters of HDBSCAN.
    """
    if options.method == "components":
        allowed: BoolArray = graph.reciprocal & (graph.jaccard <= options.threshold)
    else:
        labels = find_dense_parts(graph, options.dense_sightings)
        allowed = (labels[graph.first] == labels[graph.second]) & (labels[graph.first] >= 0)
    pairs = np.flatnonzero(allowed)
    order = pairs[np.lexsort((graph.second[pairs], graph.first[pairs], graph.distances[pairs], graph.jaccard[pairs]))]
    for one, other in zip(graph.first[order].tolist(), graph.second[order].tolist(), strict=True):
        groups.join(one, other)


def find_dense_parts(graph: ReciprocalGraph, least: int) -> IntArray:
    """Labels that HDBSCAN gives N crops by the Jaccard distances between neighbours; -1 for noise.

    Parts of the graph without an edge between them are connected by edges longer than every distance, as HDBSCAN
    takes one connected graph.

    Args:
        graph: The neighbours.
        least: Fewest crops of a cluster.

    Source: Campello, Moulavi and Sander, "Density-Based Clustering Based on Hierarchical Density Estimates", PAKDD
    2013; the implementation is scikit-learn's.
    """
    require("sklearn", "gallery", "HDBSCAN")
    from scipy.sparse import coo_array, csr_matrix
    from scipy.sparse.csgraph import connected_components
    from sklearn.cluster import HDBSCAN

    first, second = graph.first.astype(np.int64), graph.second.astype(np.int64)
    values = np.maximum(graph.jaccard.astype(np.float64), _SMALLEST_DISTANCE)
    edges = coo_array((values, (first, second)), shape=(graph.crops, graph.crops))
    _, part = connected_components(edges, directed=False)
    _, one_of_each = np.unique(part, return_index=True)
    first = np.concatenate([first, one_of_each[:-1]])
    second = np.concatenate([second, one_of_each[1:]])
    values = np.concatenate([values, np.full(len(one_of_each) - 1, _FAR)])
    both = (np.concatenate([first, second]), np.concatenate([second, first]))
    matrix = csr_matrix((np.concatenate([values, values]), both), shape=(graph.crops, graph.crops))
    model = HDBSCAN(
        min_cluster_size=least,
        min_samples=min(_DENSE_NEIGHBOURS, graph.crops - 1),
        metric="precomputed",
        metric_params={"max_distance": _FAR},
        copy=True,
    )
    labels: IntArray = model.fit(matrix).labels_.astype(np.int64)
    return labels


def rows_that_differ(people: People, numbers: IntArray) -> dict[int, frozenset[int]]:
    """Row to the rows that somebody said show somebody else, among sightings with these numbers."""
    row_of = {number: row for row, number in enumerate(numbers.tolist())}
    return {
        row_of[number]: frozenset(row_of[other] for other in others if other in row_of)
        for number, others in people.identities.different.items()
        if number in row_of
    }


def undecided_rows(snapshot: Snapshot, people: People) -> tuple[IntArray, list[str | None]]:
    """The rows of sightings that may be put together, and who each is of.

    Sightings that a decision gives to nobody are left out, and those that were erased since `snapshot` was read.
    """
    assigned, given = people.identities.assigned, people.given
    numbers: list[int] = snapshot.sightings.table.column("sighting").to_pylist()
    rows = [row for row, number in enumerate(numbers) if number in given and assigned.get(number, "") is not None]
    return np.array(rows, dtype=np.int64), [people.name_of(numbers[row]) for row in rows]


def rows_by_person(names: Sequence[str | None]) -> dict[str, list[int]]:
    """The rows of each person; rows of nobody are left out."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            rows.setdefault(name, []).append(row)
    return rows


def _name_people(
    groups: Groups, people: People, names: Sequence[str | None], numbers: IntArray, least: int
) -> tuple[ProposedPerson, ...]:
    """The groups with sightings of nobody, each with the name of its person or a new one."""
    free = people.free_names("person")
    new, known = [], []
    for person, rows in groups.all():
        fresh = tuple(int(numbers[row]) for row in rows if names[row] is None)
        if person is not None and fresh:
            known.append(ProposedPerson(person, fresh, is_new=False))
        elif person is None and len(fresh) >= least:
            new.append(ProposedPerson(next(free), fresh, is_new=True))
    return (*new, *known)
