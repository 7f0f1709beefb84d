"""From embeddings and labels to scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from omnireid.data.matches import TrueMatches, find_matches
from omnireid.errors import ShapeError
from omnireid.evaluation.intervals import bootstrap_intervals
from omnireid.evaluation.match_ranks import Positions, find_positions
from omnireid.evaluation.protocols import average_queries, check_neighbourhood, check_protocol, draw_gallery
from omnireid.evaluation.scores import RANKS, SCORE_NAMES, CameraPair, RankingScores, deviations
from omnireid.retrieval.comparison import Comparison, compare_embeddings
from omnireid.retrieval.distance import as_embeddings, check_distance, check_widths, squared_norms
from omnireid.retrieval.expansion import QueryExpansion, expand_queries
from omnireid.retrieval.reranking import Reranking, rerank
from omnireid.types import JUNK_PERSON_ID, Distance, IntArray, Labels, Protocol, as_labels, check_whole_number

RealArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _QueryScores:
    """Scores of each of N counted queries."""

    first_rank: IntArray
    average_precision: RealArray
    inverse_negative_penalty: RealArray

    def values(self) -> RealArray:
        """(N, 6) the scores in the order of `SCORE_NAMES`."""
        found = [self.first_rank <= rank for rank in RANKS]
        return np.stack([*found, self.average_precision, self.inverse_negative_penalty], axis=1).astype(np.float64)


def _score_queries(query: IntArray, rank: IntArray) -> _QueryScores:
    """Score each query by the ranks, from 1, of its true matches; `query` is ascending and each has one."""
    ranks = np.sort((query << 32) + rank) & 0xFFFFFFFF  # by query, then rank
    starts = np.flatnonzero(np.diff(query, prepend=-1))
    lengths = np.diff(np.append(starts, len(query)))
    place = np.arange(len(query)) - np.repeat(starts, lengths) + 1
    return _QueryScores(
        first_rank=ranks[starts],
        average_precision=np.add.reduceat(place / ranks, starts) / lengths,
        inverse_negative_penalty=lengths / ranks[starts + lengths - 1],
    )


def _score_pairs(positions: Positions, query_cameras: IntArray, gallery_cameras: IntArray) -> tuple[CameraPair, ...]:
    """Scores by camera pair; `query_cameras` are those of the counted queries."""
    if positions.camera_rank is None:
        return ()
    of_query, camera = query_cameras[positions.query], gallery_cameras[positions.crop]
    pairs = []
    for pair in np.unique(np.stack([of_query, camera], axis=1), axis=0).tolist():
        chosen = (of_query == pair[0]) & (camera == pair[1])
        scored = _score_queries(positions.query[chosen], positions.camera_rank[chosen])
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


@dataclass(frozen=True, eq=False)
class _Ranking:
    """One checked ranking to score."""

    query: npt.NDArray[Any]
    gallery: npt.NDArray[Any]
    gallery_labels: Labels
    matches: TrueMatches
    person_ids: IntArray  # of the counted queries
    camera_ids: IntArray | None
    distance: Distance
    protocol: Protocol
    max_rank: int
    reranking: Reranking | None
    expansion: QueryExpansion | None
    progress: bool


def _summarise(ranking: _Ranking, scored: _QueryScores, gallery: int, pairs: tuple[CameraPair, ...]) -> RankingScores:
    """Average the scores of the queries."""
    length = max(ranking.max_rank, RANKS[-1])
    found_at = np.bincount(np.minimum(scored.first_rank, length + 1), minlength=length + 2)[1 : length + 1]
    curve = np.cumsum(found_at) / len(scored.first_rank)
    return RankingScores(
        cmc=tuple(curve.tolist()),
        mean_average_precision=float(scored.average_precision.mean()),
        mean_inverse_negative_penalty=float(scored.inverse_negative_penalty.mean()),
        queries=len(scored.first_rank),
        queries_without_match=sum(ranking.matches.left_out.values()),
        gallery=gallery,
        distance=ranking.distance,
        protocol=ranking.protocol,
        left_out=ranking.matches.left_out,
        camera_pairs=pairs,
        reranking=ranking.reranking,
        expansion=ranking.expansion,
    )


def _compare_whole_gallery(ranking: _Ranking) -> Comparison:
    """The expanded and re-ranked queries and the gallery, as asked for."""
    query, expansion, reranking = ranking.query, ranking.expansion, ranking.reranking
    if expansion is not None:
        query = expand_queries(query, ranking.gallery, expansion, ranking.distance, progress=ranking.progress)
    if reranking is None:
        return compare_embeddings(query, ranking.gallery, ranking.distance)
    return rerank(query, ranking.gallery, reranking, ranking.distance, progress=ranking.progress)


def _score_whole_gallery(ranking: _Ranking, camera_pairs: bool) -> tuple[RankingScores, RealArray]:
    """Scores against the whole gallery, and (N, 6) those of each query."""
    junk = np.flatnonzero(ranking.gallery_labels.person_ids == JUNK_PERSON_ID)
    cameras = ranking.gallery_labels.camera_ids if camera_pairs else None
    positions = find_positions(
        _compare_whole_gallery(ranking),
        ranking.matches,
        hidden=junk,
        cameras=cameras,
        progress=ranking.progress,
    )
    scored = _score_queries(positions.query, positions.rank)
    pairs: tuple[CameraPair, ...] = ()
    if cameras is not None and ranking.camera_ids is not None:
        pairs = _score_pairs(positions, ranking.camera_ids, cameras)
    return _summarise(ranking, scored, len(ranking.gallery) - len(junk), pairs), scored.values()


def _score_drawn_galleries(ranking: _Ranking, repeats: int, seed: int) -> tuple[RankingScores, RealArray]:
    """Scores averaged over random galleries of one crop an identity, and (N, 6) those of each query."""
    generator = np.random.default_rng(seed)
    scores, values = [], []
    for _ in range(repeats):
        draw = draw_gallery(ranking.matches, ranking.gallery_labels.person_ids, generator)
        positions = find_positions(
            compare_embeddings(ranking.query, ranking.gallery[draw.crops], ranking.distance),
            draw.matches,
            hidden=draw.hidden,
            progress=ranking.progress,
        )
        scored = _score_queries(positions.query, positions.rank)
        scores.append(_summarise(ranking, scored, len(draw.crops) - len(draw.hidden), ()))
        values.append(scored.values())
    average = replace(
        scores[0],
        cmc=tuple(fmean(column) for column in zip(*(one.cmc for one in scores), strict=True)),
        mean_average_precision=fmean(one.mean_average_precision for one in scores),
        mean_inverse_negative_penalty=fmean(one.mean_inverse_negative_penalty for one in scores),
        standard_deviations=deviations(scores),
        repeats=repeats,
    )
    return average, np.mean(values, axis=0)


def _check_lengths(embeddings: npt.NDArray[Any], labels: Labels, what: str) -> None:
    if len(embeddings) != len(labels):
        raise ShapeError(
            f"{len(embeddings):,} {what} embeddings but {len(labels):,} {what} labels: they must be aligned, one entry "
            "a crop. Labels of another split, or a skipped image, are the usual causes."
        )


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

    A gallery crop of the query's own person from the query's own camera is
    skipped: finding it again would not be re-identification. Gallery crops with
    person id -1 are junk and dropped. A query left with no true match is not
    counted. AP is the mean of the precision at each true match, without
    trapezoids.

    The matrix of distances is never held, nor sorted: memory beyond the inputs
    is one block of it, and what grows with the ids alone (benchmarks/evaluation.py).
    Re-ranking adds what `rerank` needs: the embeddings once or twice more, and blocks.

    Args:
        query: (Q, D) embeddings, one a row; float16, 32, 64 or integers, or a torch tensor. Compared in float32.
        gallery: (G, D) embeddings.
        query_labels: Q person and camera ids; without cameras a list of person ids will do.
        gallery_labels: G person and camera ids.
        distance: ``euclidean`` or ``cosine``; embeddings need not be normalised for either.
        protocol: see `omnireid.types.Protocol`.
        reranking: order the gallery by `omnireid.rerank` instead of the distance alone. All Q queries and the whole
            gallery, junk too, are each other's neighbours; labels only score the result.
        expansion: first expand the queries by `omnireid.expand_queries`; before both, ``multi-query`` averages
            them. Neither goes with ``single-gallery-shot``.
        max_rank: length of the CMC curve; it has at least 20 entries.
        repeats: random galleries averaged over, for ``single-gallery-shot`` only.
        bootstrap_samples: for the 95 % confidence intervals; 0 leaves them out.
        camera_pairs: also score each query camera against each other gallery camera; takes longer.
            Empty for ``no-cameras`` and ``single-gallery-shot``, where it has no meaning.
        seed: of the bootstrap and of the random galleries.
        progress: draw a bar on standard error.

    Returns:
        Fractions in [0, 1], averaged over the counted queries. Ties go to the
        lower gallery index, in every precision.

    Raises:
        ShapeError: the arrays are empty, or disagree in length or width.
        EmbeddingError: a NaN or an infinity; the message names the row.
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
    queries, crops = as_embeddings(query, "query"), as_embeddings(gallery, "gallery")
    query_labels = as_labels(query_labels, "query_labels")
    gallery_labels = as_labels(gallery_labels, "gallery_labels")
    check_widths(queries, crops)
    _check_lengths(queries, query_labels, "query")
    _check_lengths(crops, gallery_labels, "gallery")
    for name, number, least in (
        ("max_rank", max_rank, 1),
        ("repeats", repeats, 1),
        ("bootstrap_samples", bootstrap_samples, 0),
        ("seed", seed, 0),
    ):
        check_whole_number(number, name, least=least)
    distance, protocol = check_distance(distance), check_protocol(protocol, query_labels, gallery_labels)
    check_neighbourhood(protocol, reranking, expansion)
    squared_norms(queries, "query")
    left_out: dict[str, int] = {}
    if protocol == "multi-query":
        matches = find_matches(query_labels, gallery_labels, use_cameras=True)
        left_out = {reason: number for reason, number in matches.left_out.items() if reason.startswith("junk")}
        queries, query_labels = average_queries(queries, query_labels, distance)
    matches = find_matches(query_labels, gallery_labels, use_cameras=protocol != "no-cameras")
    matches.left_out.update(left_out)
    ranking = _Ranking(
        query=queries,
        gallery=crops,
        gallery_labels=gallery_labels,
        matches=matches,
        person_ids=query_labels.person_ids[matches.queries],
        camera_ids=None if query_labels.camera_ids is None else query_labels.camera_ids[matches.queries],
        distance=distance,
        protocol=protocol,
        max_rank=max_rank,
        reranking=reranking,
        expansion=expansion,
        progress=progress,
    )
    if protocol == "single-gallery-shot":
        squared_norms(crops, "gallery")
        scores, values = _score_drawn_galleries(ranking, repeats, seed)
    else:
        scores, values = _score_whole_gallery(ranking, camera_pairs and protocol != "no-cameras")
    if bootstrap_samples == 0:
        return scores
    bounds = bootstrap_intervals(values, ranking.person_ids, bootstrap_samples, seed)
    return replace(
        scores, intervals={name: (low, high) for name, (low, high) in zip(SCORE_NAMES, bounds.tolist(), strict=True)}
    )
