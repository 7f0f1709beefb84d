"""From embeddings and labels to scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import numpy.typing as npt

from omnireid.data.matches import TrueMatches, find_matches
from omnireid.errors import ShapeError
from omnireid.evaluation.intervals import bootstrap_intervals
from omnireid.evaluation.match_ranks import MatchRanks, find_match_ranks
from omnireid.evaluation.protocols import (
    average_queries,
    check_neighbourhood,
    check_protocol,
    draw_gallery,
    uses_cameras,
)
from omnireid.evaluation.query_scores import MatchScores, QueryScores, score_matches, spread_scores
from omnireid.evaluation.scores import RANKS, SCORE_NAMES, CameraPair, RankingScores, deviations
from omnireid.retrieval.comparison import Comparison, compare_embeddings
from omnireid.retrieval.distance import as_embeddings, check_distance, check_widths, squared_norms
from omnireid.retrieval.expansion import expand_queries
from omnireid.retrieval.options import QueryExpansion, Reranking
from omnireid.retrieval.reranking import rerank
from omnireid.retrieval.search import RankedMatches
from omnireid.terms import Distance, Protocol
from omnireid.types import JUNK_PERSON_ID, AnyArray, DoubleArray, IntArray, Labels, as_labels, check_whole_number

_MANY_TIES = 0.01  # of the queries; fewer exact ties than this happen by chance and are only counted


@dataclass(frozen=True, eq=False)
class ScoringSettings:
    """How queries and gallery are ranked and scored; the parameters of `evaluate_ranking`, checked.

    Raises:
        SettingError: a number is out of range, or there is no such distance.
    """

    distance: Distance
    protocol: Protocol
    reranking: Reranking | None = None
    expansion: QueryExpansion | None = None
    depth: int = 0
    max_rank: int = 50
    repeats: int = 10
    bootstrap_samples: int = 1000
    camera_pairs: bool = False
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        check_distance(self.distance)
        check_neighbourhood(self.protocol, self.reranking, self.expansion)
        for name, least in {"max_rank": 1, "repeats": 1, "bootstrap_samples": 0, "depth": 0, "seed": 0}.items():
            check_whole_number(getattr(self, name), name, least=least)


@dataclass(frozen=True, eq=False)
class ScoredRanking:
    """What one ranking gave.

    Attributes:
        scores: Scores averaged over the counted queries.
        query_scores: Scores of each of Q queries.
        ranked: The first crops of each of the Q queries, without those that the protocol skips. The row of a query
            that is not counted is empty (-1).
        query: (Q, D) the queries as they were searched for: averaged for ``multi-query``, but not expanded.
        first_crops: (Q,) index of each query's crop among the queries given; of its first crop for ``multi-query``.
    """

    scores: RankingScores
    query_scores: QueryScores
    ranked: RankedMatches
    query: AnyArray
    first_crops: IntArray


@dataclass(frozen=True, eq=False)
class _Ranking:
    """One ranking to score, checked."""

    query: AnyArray
    gallery: AnyArray
    query_labels: Labels
    gallery_labels: Labels
    matches: TrueMatches
    settings: ScoringSettings


def _score_pairs(ranks: MatchRanks, query_cameras: IntArray, gallery_cameras: IntArray) -> tuple[CameraPair, ...]:
    """Score each pair of cameras; `query_cameras` are those of the counted queries."""
    if ranks.camera_rank is None:
        return ()
    of_query, camera = query_cameras[ranks.query], gallery_cameras[ranks.crop]
    pairs = []
    for pair in np.unique(np.stack([of_query, camera], axis=1), axis=0).tolist():
        is_pair = (of_query == pair[0]) & (camera == pair[1])
        scored = score_matches(ranks.query[is_pair], ranks.camera_rank[is_pair])
        pairs.append(
            CameraPair(
                query_camera=pair[0],
                gallery_camera=pair[1],
                queries=len(scored.first_rank),
                rank1=float(np.mean(scored.first_rank == 1)),
                mean_average_precision=float(np.mean(scored.average_precision)),
            )
        )
    return tuple(pairs)


def _average_scores_of_queries(
    ranking: _Ranking, scored: MatchScores, gallery: int, pairs: tuple[CameraPair, ...]
) -> RankingScores:
    """Average the scores of the counted queries over a gallery of `gallery` crops."""
    settings = ranking.settings
    length = max(settings.max_rank, RANKS[-1])
    found_at = np.bincount(np.minimum(scored.first_rank, length + 1), minlength=length + 2)[1 : length + 1]
    curve = np.cumsum(found_at) / len(scored.first_rank)
    return RankingScores(
        cmc=tuple(curve.tolist()),
        mean_average_precision=float(scored.average_precision.mean()),
        mean_inverse_negative_penalty=float(scored.inverse_negative_penalty.mean()),
        queries=len(scored.first_rank),
        queries_without_match=sum(ranking.matches.left_out.values()),
        gallery=gallery,
        distance=settings.distance,
        protocol=settings.protocol,
        left_out=ranking.matches.left_out,
        camera_pairs=pairs,
        reranking=settings.reranking,
        expansion=settings.expansion,
    )


def _compare_whole_gallery(ranking: _Ranking) -> Comparison:
    """Compare queries and gallery, expanded and re-ranked as asked for."""
    query, settings = ranking.query, ranking.settings
    distance, progress = settings.distance, settings.progress
    if settings.expansion is not None:
        query = expand_queries(query, ranking.gallery, settings.expansion, distance, progress=progress)
    if settings.reranking is None:
        return compare_embeddings(query, ranking.gallery, distance)
    return rerank(query, ranking.gallery, settings.reranking, distance, progress=progress)


def _score_whole_gallery(ranking: _Ranking) -> tuple[RankingScores, list[MatchScores], list[MatchRanks]]:
    """Score against the whole gallery."""
    settings = ranking.settings
    junk = np.flatnonzero(ranking.gallery_labels.person_ids == JUNK_PERSON_ID)
    has_pairs = settings.camera_pairs and settings.protocol != "no-cameras"
    query_cameras, gallery_cameras = ranking.query_labels.camera_ids, ranking.gallery_labels.camera_ids
    ranks = find_match_ranks(
        _compare_whole_gallery(ranking),
        ranking.matches,
        hidden=junk,
        cameras=gallery_cameras if has_pairs else None,
        depth=settings.depth,
        progress=settings.progress,
    )
    scored = score_matches(ranks.query, ranks.rank)
    pairs: tuple[CameraPair, ...] = ()
    if query_cameras is not None and gallery_cameras is not None:
        pairs = _score_pairs(ranks, query_cameras[ranking.matches.queries], gallery_cameras)
    scores = _average_scores_of_queries(ranking, scored, len(ranking.gallery) - len(junk), pairs)
    return scores, [scored], [ranks]


def _score_drawn_galleries(ranking: _Ranking) -> tuple[RankingScores, list[MatchScores], list[MatchRanks]]:
    """Score against random galleries of one crop an identity, and average over them."""
    settings, person_ids = ranking.settings, ranking.gallery_labels.person_ids
    generator = np.random.default_rng(settings.seed)
    scores, scored, ranked = [], [], []
    for number in range(settings.repeats):
        draw = draw_gallery(ranking.matches, person_ids, generator)
        ranks = find_match_ranks(
            compare_embeddings(ranking.query, ranking.gallery[draw.crops], settings.distance),
            draw.matches,
            hidden=draw.hidden,
            depth=0 if number else settings.depth,
            progress=settings.progress,
        )
        found = ranks.ranked.indices
        indices = np.where(found < 0, -1, draw.crops[found])
        ranked.append(replace(ranks, ranked=RankedMatches(indices, ranks.ranked.distances)))
        scored.append(score_matches(ranks.query, ranks.rank))
        scores.append(_average_scores_of_queries(ranking, scored[-1], len(draw.crops) - len(draw.hidden), ()))
    average = replace(
        scores[0],
        cmc=tuple(fmean(column) for column in zip(*(one.cmc for one in scores), strict=True)),
        mean_average_precision=fmean(one.mean_average_precision for one in scores),
        mean_inverse_negative_penalty=fmean(one.mean_inverse_negative_penalty for one in scores),
        standard_deviations=deviations(scores),
        repeats=settings.repeats,
    )
    return average, scored, ranked


def _check_lengths(embeddings: AnyArray, labels: Labels, what: str) -> None:
    if len(embeddings) != len(labels):
        raise ShapeError(
            f"{len(embeddings):,} {what} embeddings but {len(labels):,} {what} labels: they must be aligned, one entry "
            "a crop. Labels of another split, or a skipped image, are the usual causes."
        )


def _find_doubts(ranking: _Ranking, tied: int) -> tuple[str, ...]:
    """Reasons, in sentences, not to believe the scores."""
    found = []
    people = np.unique(ranking.gallery_labels.person_ids)
    if len(people[people != JUNK_PERSON_ID]) < 2:
        found.append(
            "The gallery shows only one identity, so any order of it scores 100 %. These scores say nothing about "
            "the embeddings. Check the person ids."
        )
    queries = len(ranking.matches.queries)
    if tied >= max(1, _MANY_TIES * queries):
        found.append(
            f"{tied:,} of {queries:,} queries are decided by a tie: somebody else's crop is exactly as near as the "
            "first true match, and the order of the gallery decides between them. Look for embeddings that are equal."
        )
    return tuple(found)


def score_ranking(
    query: npt.ArrayLike,
    gallery: npt.ArrayLike,
    query_labels: Labels,
    gallery_labels: Labels,
    settings: ScoringSettings,
) -> ScoredRanking:
    """Rank the gallery once, and score the ranking; see `evaluate_ranking` for arguments and errors."""
    queries, crops = as_embeddings(query, "query"), as_embeddings(gallery, "gallery")
    query_labels = as_labels(query_labels, "query_labels")
    gallery_labels = as_labels(gallery_labels, "gallery_labels")
    check_widths(queries, crops)
    _check_lengths(queries, query_labels, "query")
    _check_lengths(crops, gallery_labels, "gallery")
    protocol = check_protocol(settings.protocol, query_labels, gallery_labels)
    squared_norms(queries, "query")
    left_out: dict[str, int] = {}
    first_crops = np.arange(len(queries))
    if protocol == "multi-query":
        matches = find_matches(query_labels, gallery_labels, use_cameras=True)
        left_out = {reason: number for reason, number in matches.left_out.items() if reason.startswith("junk")}
        queries, query_labels, first_crops = average_queries(queries, query_labels, settings.distance)
    matches = find_matches(query_labels, gallery_labels, use_cameras=uses_cameras(protocol, query_labels))
    matches.left_out.update(left_out)
    ranking = _Ranking(queries, crops, query_labels, gallery_labels, matches, settings)
    if protocol == "single-gallery-shot":
        squared_norms(crops, "gallery")
        scores, scored, ranks = _score_drawn_galleries(ranking)
    else:
        scores, scored, ranks = _score_whole_gallery(ranking)
    query_scores = spread_scores(matches.queries, len(queries), scored, [one.is_tied for one in ranks])
    tied = int(np.count_nonzero(query_scores.is_tied))
    scores = replace(scores, queries_decided_by_tie=tied, warnings=_find_doubts(ranking, tied))
    if settings.bootstrap_samples:
        values = np.mean([one.table(RANKS) for one in scored], axis=0)
        scores = replace(scores, intervals=_find_intervals(values, ranking))
    first = ranks[0].ranked
    indices = np.full((len(queries), first.indices.shape[1]), -1, dtype=np.int64)
    distances = np.full(indices.shape, np.inf, dtype=np.float32)
    indices[matches.queries], distances[matches.queries] = first.indices, first.distances
    return ScoredRanking(scores, query_scores, RankedMatches(indices, distances), queries, first_crops)


def _find_intervals(values: DoubleArray, ranking: _Ranking) -> dict[str, tuple[float, float]]:
    """95 % intervals of the mean of each column of (N, 6) scores of the counted queries."""
    person_ids = ranking.query_labels.person_ids[ranking.matches.queries]
    bounds = bootstrap_intervals(values, person_ids, ranking.settings.bootstrap_samples, ranking.settings.seed)
    return {name: (low, high) for name, (low, high) in zip(SCORE_NAMES, bounds.tolist(), strict=True)}


def evaluate_ranking(
    query: npt.ArrayLike,
    gallery: npt.ArrayLike,
    query_labels: Labels,
    gallery_labels: Labels,
    distance: Distance = "euclidean",
    *,
    protocol: Protocol = "single-query",
    reranking: Reranking | None = None,
    expansion: QueryExpansion | None = None,
    max_rank: int = 50,
    repeats: int = 10,
    bootstrap_samples: int = 1000,
    camera_pairs: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> RankingScores:
    """Score a ranking under Market-1501's single-query protocol, or another one.

    A gallery crop of the query's own person from the query's own camera is skipped:
    finding it again would not be re-identification. Gallery crops with person id -1
    are junk and dropped. A query left with no true match is not counted. AP is the
    mean of the precision at each true match, without trapezoids.

    The matrix of distances is never held, nor sorted. Memory beyond the inputs is one
    block of it, and what grows with the ids alone (benchmarks/evaluation.py).
    Re-ranking adds what `rerank` needs: the embeddings once or twice more, and blocks.

    `omnireid.evaluate` gives the scores of each query and what was found for it, too.

    Args:
        query: (Q, D) embeddings, one a row; float16, 32, 64 or integers, or a torch tensor. They are compared in
            float32.
        gallery: (G, D) embeddings.
        query_labels: Q person and camera ids; a list of person ids for labels without cameras.
        gallery_labels: G person and camera ids.
        distance: ``euclidean`` or ``cosine``; the embeddings need not be normalised for either.
        protocol: See `omnireid.terms.Protocol`.
        reranking: Order the gallery by `omnireid.rerank` instead of the distance alone. All Q queries and the whole
            gallery, junk too, are each other's neighbours; labels only score the result.
        expansion: Expand the queries by `omnireid.expand_queries` before re-ranking, and after the averages of
            ``multi-query``. Neither works with ``single-gallery-shot``.
        max_rank: Length of the CMC curve, which has at least 20 entries.
        repeats: Number of random galleries to average over, for ``single-gallery-shot`` only.
        bootstrap_samples: Samples for the 95 % confidence intervals; 0 leaves the intervals out.
        camera_pairs: Also score each query camera against each other gallery camera, which takes longer. The result
            is empty for ``no-cameras`` and ``single-gallery-shot``, where it has no meaning.
        seed: Seed for the bootstrap and for the random galleries.
        progress: Draw a bar on standard error.

    Returns:
        Fractions in [0, 1], averaged over the counted queries. Ties go to the lower gallery index, in every
        precision, and `RankingScores.queries_decided_by_tie` counts them.

    Raises:
        ShapeError: the arrays are empty, or disagree in length or width.
        EmbeddingError: an embedding holds a NaN or an infinity; the message names the row.
        LabelsError: the protocol needs camera ids and there are none.
        SettingError: re-ranking or query expansion with ``single-gallery-shot``, or a number out of range.
        NoTrueMatchError: no query has a true match; the message names the ids and cameras seen.

    Source: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015; mINP from Ye et al.,
    "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021.

    >>> query, gallery = [[0.0], [9.0]], [[1.0], [2.0], [8.0], [0.0]]
    >>> scores = evaluate_ranking(query, gallery, Labels([1, 2], [1, 1]), Labels([3, 1, 2, 1], [2, 2, 2, 1]))
    >>> scores.rank1, scores.mean_average_precision, scores.queries, scores.gallery
    (0.5, 0.75, 2, 4)
    """
    settings = ScoringSettings(
        distance=distance,
        protocol=protocol,
        reranking=reranking,
        expansion=expansion,
        max_rank=max_rank,
        repeats=repeats,
        bootstrap_samples=bootstrap_samples,
        camera_pairs=camera_pairs,
        seed=seed,
        progress=progress,
    )
    return score_ranking(query, gallery, query_labels, gallery_labels, settings).scores
