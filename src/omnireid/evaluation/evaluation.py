"""From embedded crops to an evaluation: scores, the scores of each query, and what was found for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from omnireid.data.numbering import number_together
from omnireid.embedding.tables import EmbeddingTable
from omnireid.errors import EmbeddingError
from omnireid.evaluation.copies import describe_copies, find_queries_with_copy
from omnireid.evaluation.query_scores import QueryScores
from omnireid.evaluation.ranking import ScoringSettings, score_ranking
from omnireid.evaluation.scores import RankingScores
from omnireid.retrieval.options import RankingOptions
from omnireid.retrieval.search import RankedMatches
from omnireid.terms import Distance
from omnireid.types import BoolArray, Crops

DEPTH = 50
"""Number of crops of each query's ranking that an evaluation keeps."""


@dataclass(frozen=True, eq=False)
class EvaluatedCrops:
    """The crops of an evaluation, with ids that are numbered over both sides.

    Attributes:
        query: Q crops. For ``multi-query`` the first crop of each person in each camera.
        gallery: G crops.
        skipped: Unreadable crops that were left out, as (path, reason).
    """

    query: Crops
    gallery: Crops
    skipped: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of an evaluation; pictures, reports and calibrations read it, so that nothing is ranked twice.

    Attributes:
        scores: Scores averaged over the counted queries.
        query_scores: Scores of each of the Q queries.
        ranked: The first crops of each query as they were scored: re-ranked where that was asked for, and without
            the crops that the protocol skips. The row of a query that is not counted is empty (-1). For
            ``single-gallery-shot`` it shows the first gallery drawn.
        crops: The Q queries and the gallery.
    """

    scores: RankingScores
    query_scores: QueryScores
    ranked: RankedMatches
    crops: EvaluatedCrops

    @property
    def is_true_match(self) -> BoolArray:
        """(Q, K) whether each of the ranked crops shows the query's person."""
        query, gallery = self.crops.query.person_ids, self.crops.gallery.person_ids
        assert query is not None
        assert gallery is not None
        found = self.ranked.indices
        is_same: BoolArray = (found >= 0) & (gallery[found] == query[:, None])
        return is_same

    def table(self) -> str:
        """The scores in percent as text for a terminal."""
        return self.scores.table()

    def json(self) -> dict[str, Any]:
        """The averaged scores as plain values, and the crops that were left out."""
        return {**self.scores.json(), "unreadable": [list(entry) for entry in self.crops.skipped]}


def evaluate(
    query: EmbeddingTable,
    gallery: EmbeddingTable,
    ranking: RankingOptions = RankingOptions(),
    *,
    depth: int = DEPTH,
    max_rank: int = 50,
    repeats: int = 10,
    bootstrap_samples: int = 1000,
    camera_pairs: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Score stored embeddings, and keep what was found for each query.

    The rules are those of `evaluate_ranking`. In addition, this refuses tables that
    cannot be compared, numbers the people of both tables together, and looks for
    queries whose own picture is in the gallery.

    Args:
        query: Q crops to look for, with their embeddings.
        gallery: G crops to look in.
        ranking: How the gallery is ranked. By default by the distance the weights were trained for, under
            ``single-query``, or ``no-cameras`` where neither table has camera ids.
        depth: Number of crops of each query's ranking to keep.
        max_rank: See `evaluate_ranking`.
        repeats: See `evaluate_ranking`.
        bootstrap_samples: See `evaluate_ranking`.
        camera_pairs: See `evaluate_ranking`.
        seed: See `evaluate_ranking`.
        progress: Draw a bar on standard error.

    Raises:
        EmbeddingError: the tables were made by other weights or with another preprocessing; or every query is decided
            by a tie, because the embeddings are all equal.
        LabelsError: a table has no person ids, or the protocol needs camera ids and there are none.
        SettingError: re-ranking or query expansion with ``single-gallery-shot``, or a number out of range.
        NoTrueMatchError: no query has a true match; the message names the ids and cameras seen.

    >>> from omnireid.embedding.tables import Provenance
    >>> made = Provenance("0" * 64, "osnet_x0_25", {}, "euclidean", "unknown", "0.1")
    >>> query = EmbeddingTable(Crops(["a.jpg"], [1], [1]), [[0.0]], made)
    >>> gallery = EmbeddingTable(Crops(["b.jpg", "c.jpg"], [2, 1], [2, 2]), [[5.0], [3.0]], made)
    >>> found = evaluate(query, gallery)
    >>> found.scores.rank1, found.ranked.indices.tolist(), found.ranked.distances.tolist()
    (1.0, [[1, 0]], [[3.0, 5.0]])
    """
    notes = query.check_comparable(gallery)
    query_labels, gallery_labels = number_together(query.crops, gallery.crops)
    has_cameras = query_labels.camera_ids is not None or gallery_labels.camera_ids is not None
    settings = ScoringSettings(
        distance=ranking.distance or _intended_distance(query),
        protocol=ranking.protocol or ("single-query" if has_cameras else "no-cameras"),
        reranking=ranking.reranking,
        expansion=ranking.expansion,
        depth=depth,
        max_rank=max_rank,
        repeats=repeats,
        bootstrap_samples=bootstrap_samples,
        camera_pairs=camera_pairs,
        seed=seed,
        progress=progress,
    )
    scored = score_ranking(query.embeddings, gallery.embeddings, query_labels, gallery_labels, settings)
    if scored.scores.queries_decided_by_tie == scored.scores.queries:
        raise EmbeddingError(
            f"A tie decides each of the {scored.scores.queries:,} queries: somebody else's crop is exactly as near as "
            "the first true match. The embeddings are equal where they should differ, as those of a network that has "
            "collapsed or was fed empty images. Look at the weights and at the crops, and embed again."
        )
    crops = EvaluatedCrops(
        replace(query.crops, person_ids=query_labels.person_ids, camera_ids=query_labels.camera_ids).select(
            scored.first_crops
        ),
        replace(gallery.crops, person_ids=gallery_labels.person_ids, camera_ids=gallery_labels.camera_ids),
        skipped=tuple(dict.fromkeys((*query.provenance.skipped, *gallery.provenance.skipped))),
    )
    copies = find_queries_with_copy(
        scored.query, gallery.embeddings, crops.query.paths, crops.gallery.paths, scored.ranked
    )
    found = describe_copies(copies, scored.scores.queries, crops.query.paths, crops.gallery.paths)
    scores = replace(
        scored.scores,
        queries_with_copy=int(np.count_nonzero(copies >= 0)),
        warnings=(*([found] if found else []), *scored.scores.warnings, *notes),
    )
    return Evaluation(scores, scored.query_scores, scored.ranked, crops)


def _intended_distance(table: EmbeddingTable) -> Distance:
    """The distance the weights were trained for; Euclidean where the table names none that is known."""
    known: dict[str, Distance] = {name: name for name in get_args(Distance)}
    return known.get(table.provenance.distance, "euclidean")
