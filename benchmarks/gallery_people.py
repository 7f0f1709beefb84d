"""Claims: a person is found better by all their sightings than by one, and sightings are put together without labels.

Market-1501's test set is a gallery, from two tables that `omnireid embed` made. Labels serve to score only.

**Search.** A task is a person and a camera: find the person's crops by that camera in the whole gallery, by the
person's queries from the other cameras. The person's own crops by those cameras are skipped. The baseline searches by
one of these queries at a time, and its scores are averaged over them; the others search by all of them together, by
``best``, ``mean`` and ``vote``. So every column ranks the same crops.

**Clustering.** Queries and gallery together, 19,281 crops with 2,798 distractors, which are clustered too and are not
scored. Pairwise F1 counts pairs of crops; B-cubed F1 averages over crops (Bagga and Baldwin, 1998). People found are
groups with at least two crops of the 750 people. The baseline joins every two neighbours up to a distance; it is
given the threshold that scores best here, which no other row is.

Tables: omnireid embed Market-1501-v15.09.15 --split query --output query.parquet, and --split gallery
Run: python benchmarks/gallery_people.py cluster query.parquet gallery.parquet
     python benchmarks/gallery_people.py search query.parquet gallery.parquet [PEOPLE, drawn with seed 0]
     python benchmarks/gallery_people.py choose TABLE…

The last one prints the scores of many settings on other people, by which the defaults were chosen. TABLE may be two
tables, as query.parquet+gallery.parquet.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from omnireid import Crops, EmbeddingTable, RankedMatches, read_embeddings, search
from omnireid.data.market_names import market_frame
from omnireid.gallery.clustering import join_neighbours
from omnireid.gallery.constraints import Circumstances, Groups
from omnireid.gallery.options import METHODS, ClusterMethod, ClusterOptions
from omnireid.gallery.person_search import fuse_rankings, person_queries
from omnireid.machine import describe
from omnireid.retrieval.comparison import EmbeddingComparison
from omnireid.retrieval.distance import check_distance, prepare_gallery, squared_norms
from omnireid.retrieval.options import Reranking
from omnireid.retrieval.reciprocal_graph import ReciprocalGraph, connect_neighbours
from omnireid.types import AnyArray, BoolArray, IntArray

FRAME_RATE = 25
"""Frames a second of Market-1501."""
CONSTRAINTS = {
    "none": ClusterOptions(unconstrained=True),
    "frames": ClusterOptions(cameras_overlap=True),
    "frames and places": ClusterOptions(),
}
THRESHOLDS = tuple(np.round(np.arange(0.2, 0.75, 0.05), 2).tolist())


@dataclass(frozen=True, eq=False)
class Labelled:
    """Embeddings with who they show, by which camera and when; 0 is a distractor.

    Attributes:
        table: The embeddings.
        persons: (N,) person ids.
        cameras: (N,) camera ids.
    """

    table: EmbeddingTable
    persons: IntArray
    cameras: IntArray

    def circumstances(self, options: ClusterOptions) -> Circumstances | None:
        """When and where the crops were taken, by their names; None without constraints."""
        if options.unconstrained:
            return None
        frames = [market_frame(path.name) or (0, 0) for path in self.table.paths]
        cameras = [str(camera) for camera in self.cameras.tolist()]
        seconds = [sequence * 1e6 + number / FRAME_RATE for sequence, number in frames]
        keys = [(camera, *frame) for camera, frame in zip(cameras, frames, strict=True)]
        return Circumstances(cameras, keys, seconds, [None] * len(keys), options.window_s)


def labelled(table: EmbeddingTable) -> Labelled:
    persons, cameras = table.crops.person_ids, table.crops.camera_ids
    assert persons is not None
    assert cameras is not None
    return Labelled(table, persons.astype(np.int64), cameras.astype(np.int64))


def join(one: EmbeddingTable, other: EmbeddingTable) -> Labelled:
    """Both tables as one."""
    one.check_comparable(other)
    first, second = labelled(one), labelled(other)
    paths = (*one.paths, *other.paths)
    persons = np.concatenate([first.persons, second.persons])
    cameras = np.concatenate([first.cameras, second.cameras])
    crops = Crops(paths, persons, cameras)
    return Labelled(
        EmbeddingTable(crops, np.concatenate([one.embeddings, other.embeddings]), one.provenance), persons, cameras
    )


# ---------------------------------------------------------------------------------------------------------- search


def average_precision(is_true: BoolArray) -> tuple[float, float]:
    """Rank-1 and average precision of one ranking."""
    ranks = np.flatnonzero(is_true) + 1
    return float(ranks[0] == 1), float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def measure_search(query: Labelled, gallery: Labelled, most_people: int) -> None:
    """Print rank-1 and mAP of a search by one sighting, and by several."""
    distance = check_distance(query.table.provenance.distance)
    everything = len(gallery.persons)
    prepared = prepare_gallery(gallery.table.embeddings, distance)

    def rank(embeddings: AnyArray) -> RankedMatches:
        comparison = EmbeddingComparison(embeddings, prepared, squared_norms(embeddings, "query"))
        return search(embeddings, gallery.table.embeddings, everything, comparison=comparison)

    numbers = np.arange(everything)
    people = np.unique(query.persons)
    people = np.sort(np.random.default_rng(0).permutation(people)[:most_people])
    scores: dict[str, list[tuple[float, float]]] = {"one": [], **{method: [] for method in METHODS}}
    sightings = []
    for person in people.tolist():
        own = np.flatnonzero(query.persons == person)
        ranked = rank(query.table.embeddings[own])
        is_person = gallery.persons == person
        for camera in np.unique(gallery.cameras[is_person]).tolist():
            asked = np.flatnonzero(query.cameras[own] != camera)
            if not len(asked):
                continue
            sightings.append(len(asked))
            is_true = is_person & (gallery.cameras == camera)
            skipped = is_person & ~is_true
            chosen = RankedMatches(ranked.indices[asked], ranked.distances[asked])
            single = [average_precision(is_true[row[~skipped[row]]]) for row in chosen.indices]
            scores["one"].append((float(np.mean([s[0] for s in single])), float(np.mean([s[1] for s in single]))))
            for method in METHODS:
                found = chosen
                if method == "mean":
                    found = rank(person_queries(query.table.embeddings[own[asked]], distance, method))
                fused = fuse_rankings(found, skipped, numbers, everything, method)
                scores[method].append(average_precision(is_true[fused.indices[0]]))
    print(
        f"\nsearch: {len(people)} people, {len(sightings):,} tasks, {np.mean(sightings):.1f} sightings each; "
        "rank-1 and mAP in percent"
    )
    baseline = 100 * np.mean(scores["one"], axis=0)
    for name, values in scores.items():
        rank1, precision = 100 * np.mean(values, axis=0)
        gain = "" if name == "one" else f"  {rank1 - baseline[0]:+6.2f} {precision - baseline[1]:+6.2f}"
        print(f"  {name:6}{rank1:7.2f} {precision:6.2f}{gain}", flush=True)


# ------------------------------------------------------------------------------------------------------ clustering


@dataclass(frozen=True)
class ClusterScores:
    """Scores of a clustering, as fractions; people are groups with at least two scored crops."""

    pairwise: float
    precision: float
    recall: float
    b_cubed: float
    people: int

    def __str__(self) -> str:
        f1 = f"pairwise F1 {100 * self.pairwise:5.1f} (precision {100 * self.precision:5.1f}, recall "
        return f"{f1}{100 * self.recall:5.1f})  B-cubed F1 {100 * self.b_cubed:5.1f}  {self.people:4} people"


def score(groups: IntArray, persons: IntArray) -> ClusterScores:
    """Compare groups with people; crops of nobody (0) are not scored."""
    scored = persons > 0
    _, found = np.unique(groups[scored], return_inverse=True)
    _, true = np.unique(persons[scored], return_inverse=True)
    width = int(true.max()) + 1
    keys, common = np.unique(found.astype(np.int64) * width + true, return_counts=True)
    sizes, people = np.bincount(found), np.bincount(true)

    def pairs(counts: IntArray) -> float:
        return float((counts * (counts - 1) // 2).sum())

    precision, recall = pairs(common) / max(pairs(sizes), 1.0), pairs(common) / pairs(people)
    total = int(scored.sum())
    b_precision = float((common**2 / sizes[keys // width]).sum()) / total
    b_recall = float((common**2 / people[keys % width]).sum()) / total
    return ClusterScores(
        pairwise=2 * precision * recall / max(precision + recall, 1e-12),
        precision=precision,
        recall=recall,
        b_cubed=2 * b_precision * b_recall / (b_precision + b_recall),
        people=int((sizes > 1).sum()),
    )


def cluster(data: Labelled, graph: ReciprocalGraph, options: ClusterOptions) -> tuple[ClusterScores, str]:
    """Cluster as the gallery does, and score it; also the pairs of neighbours that were kept apart."""
    groups = Groups(graph.crops, data.circumstances(options))
    join_neighbours(graph, groups, options)
    roots = np.array([groups.root(row) for row in range(graph.crops)], dtype=np.int64)
    return score(roots, data.persons), ", ".join(f"{count:,} by {name}" for name, count in groups.refused.items())


def plain_components(data: Labelled, graph: ReciprocalGraph, threshold: float) -> ClusterScores:
    """The baseline: neighbours up to a distance are one person, and so is whoever they connect."""
    near = graph.distances <= threshold
    edges = coo_array((near[near], (graph.first[near], graph.second[near])), shape=(graph.crops, graph.crops))
    return score(connected_components(edges, directed=False)[1].astype(np.int64), data.persons)


def connect(data: Labelled) -> ReciprocalGraph:
    defaults = ClusterOptions()
    distance = check_distance(data.table.provenance.distance)
    return connect_neighbours(data.table.embeddings, distance, Reranking(k1=defaults.k1, k2=defaults.k2))


def best_plain(data: Labelled, graph: ReciprocalGraph) -> tuple[float, ClusterScores]:
    """The baseline with the threshold that scores best on these very crops."""
    tried = np.quantile(graph.distances, np.linspace(0.01, 0.5, 30)).tolist()
    return max(((t, plain_components(data, graph, t)) for t in tried), key=lambda pair: pair[1].pairwise)


def measure_constraints(data: Labelled) -> None:
    """Print how often the constraints are right about two crops."""
    known = data.circumstances(ClusterOptions())
    assert known is not None
    frames: dict[object, list[int]] = {}
    moments: dict[float, list[int]] = {}
    for row in np.flatnonzero(data.persons > 0).tolist():
        frames.setdefault(known.frames[row], []).append(row)
        moments.setdefault(known.seconds[row] or 0.0, []).append(row)
    counts = {"frames": [0, 0], "places": [0, 0]}
    for name, rows_of in (("frames", frames), ("places", moments)):
        for rows in rows_of.values():
            for place, one in enumerate(rows):
                for other in rows[:place]:
                    if name == "frames" or data.cameras[one] != data.cameras[other]:
                        counts[name][int(data.persons[one] == data.persons[other])] += 1
    for name, (different, same) in counts.items():
        print(f"  {name}: {different + same:,} pairs of crops, of which {same:,} show one person all the same")


def measure_clusters(data: Labelled) -> None:
    """Print the scores of both methods, with and without constraints, and of the baseline."""
    began = time.perf_counter()
    graph = connect(data)
    scored = int((data.persons > 0).sum())
    people = len(np.unique(data.persons[data.persons > 0]))
    print(
        f"\nclustering: {graph.crops:,} crops, {scored:,} of {people} people; graph of {len(graph):,} pairs in "
        f"{time.perf_counter() - began:.0f} s\nwhat the constraints say about two crops:"
    )
    measure_constraints(data)
    threshold, scores = best_plain(data, graph)
    print(f"  {'plain distance, best threshold here ' + format(threshold, '.3f'):48}{scores}", flush=True)
    for method in get_args(ClusterMethod):
        for name, options in CONSTRAINTS.items():
            scores, refused = cluster(data, graph, replace(options, method=method))
            print(f"  {method + ', constraints: ' + name:48}{scores}  kept apart: {refused or '-'}", flush=True)


def choose(tables: list[str]) -> None:
    """Print the scores of many settings, without constraints."""
    for path in tables:
        parts = [read_embeddings(part) for part in path.split("+")]
        data = labelled(parts[0]) if len(parts) == 1 else join(parts[0], parts[1])
        graph = connect(data)
        print(f"\n{path}: {graph.crops:,} crops, {len(np.unique(data.persons[data.persons > 0]))} people")
        free = CONSTRAINTS["none"]
        for threshold in THRESHOLDS:
            scores, _ = cluster(data, graph, replace(free, threshold=threshold))
            print(f"  components, threshold {threshold:.2f}    {scores}", flush=True)
        for dense in (2, 3, 5, 8, 12):
            scores, _ = cluster(data, graph, replace(free, method="hdbscan", dense_sightings=dense))
            print(f"  hdbscan, dense_sightings {dense:2}    {scores}", flush=True)


if __name__ == "__main__":
    print(describe())
    what, *arguments = sys.argv[1:]
    if what == "choose":
        choose(arguments)
    else:
        asked, stored = (read_embeddings(path) for path in arguments[:2])
        if what == "cluster":
            measure_clusters(join(asked, stored))
        else:
            measure_search(labelled(asked), labelled(stored), int(arguments[2]) if len(arguments) > 2 else 750)
