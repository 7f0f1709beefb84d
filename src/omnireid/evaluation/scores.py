"""The scores of an evaluation: a value, a table and a JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

from omnireid.errors import OmnireidError
from omnireid.retrieval.options import QueryExpansion, Reranking
from omnireid.terms import Distance, Protocol

RANKS = (1, 5, 10, 20)

SCORE_NAMES = (*(f"rank{rank}" for rank in RANKS), "mean_average_precision", "mean_inverse_negative_penalty")

TITLES = {
    **{f"rank{rank}": f"rank-{rank}" for rank in RANKS},
    "mean_average_precision": "mAP",
    "mean_inverse_negative_penalty": "mINP",
}
_WIDEST_MATRIX = 8  # cameras; a wider matrix does not fit a terminal
_PAIRS_SHOWN = 5


@dataclass(frozen=True)
class CameraPair:
    """Scores of the queries of one camera against the gallery crops of another.

    Attributes:
        query_camera: Camera id of the queries.
        gallery_camera: Camera id of the gallery crops; never the same one.
        queries: Number of queries that have a true match there.
        rank1: Fraction of these queries whose nearest crop in the gallery camera is right.
        mean_average_precision: Mean AP of these queries when only the gallery camera's crops are ranked.
    """

    query_camera: int
    gallery_camera: int
    queries: int
    rank1: float
    mean_average_precision: float


@dataclass(frozen=True)
class RankingScores:
    """Scores of a ranking, averaged over its queries. All scores are fractions in [0, 1].

    Attributes:
        cmc: Cumulative match curve. Entry k-1 is the fraction of queries with a true match among the first k crops.
            It has at least 20 entries and never falls, however small the gallery is.
        mean_average_precision: Mean AP over the queries. AP is the mean of the precision at each true match.
        mean_inverse_negative_penalty: Mean INP over the queries. INP is M / rank of the last of M true matches.
        queries: Number of counted queries.
        queries_without_match: Number of queries left out because nothing could be found for them.
        gallery: Number of gallery crops searched, junk not included.
        distance: How embeddings were compared.
        protocol: Which gallery crops a query was scored against.
        left_out: Reasons why queries were left out, and the number of queries for each.
        intervals: 95 % confidence interval of each of `SCORE_NAMES`, by bootstrap over query identities.
        standard_deviations: Standard deviation of each of `SCORE_NAMES` over repeats or splits; empty where there
            was only one.
        camera_pairs: Scores by query and gallery camera; empty where not asked for.
        repeats: Number of random galleries averaged over (``single-gallery-shot``), else 1.
        splits: Number of splits of the data set averaged over, else 1.
        reranking: Settings of re-ranking; None where the distance alone ordered the gallery.
        expansion: Settings of query expansion; None where queries were not expanded.
        queries_decided_by_tie: Number of queries for which a crop of somebody else is exactly as near as the first
            true match, so that the order of the gallery decides.
        queries_with_copy: Number of queries whose own picture is in the gallery and is not skipped. Only
            `omnireid.evaluate` and `omnireid.evaluate_embedder`, which know the files, look for it.
        warnings: Reasons not to believe the scores, in sentences.
    """

    cmc: tuple[float, ...]
    mean_average_precision: float
    mean_inverse_negative_penalty: float
    queries: int
    queries_without_match: int
    gallery: int
    distance: Distance
    protocol: Protocol
    left_out: Mapping[str, int] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    standard_deviations: Mapping[str, float] = field(default_factory=dict)
    camera_pairs: tuple[CameraPair, ...] = ()
    repeats: int = 1
    splits: int = 1
    reranking: Reranking | None = None
    expansion: QueryExpansion | None = None
    queries_decided_by_tie: int = 0
    queries_with_copy: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def rank1(self) -> float:
        """The fraction of queries whose nearest crop is a true match."""
        return self.cmc[0]

    @property
    def rank5(self) -> float:
        """The fraction of queries with a true match among the first 5."""
        return self.cmc[4]

    @property
    def rank10(self) -> float:
        """The fraction of queries with a true match among the first 10."""
        return self.cmc[9]

    @property
    def rank20(self) -> float:
        """The fraction of queries with a true match among the first 20."""
        return self.cmc[19]

    def json(self) -> dict[str, Any]:
        """The scores as plain values, ready for ``json.dumps``; fractions, not percentages."""
        return {
            **{name: getattr(self, name) for name in SCORE_NAMES},
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            "standard_deviations": dict(self.standard_deviations),
            "cmc": list(self.cmc),
            "queries": self.queries,
            "queries_without_match": self.queries_without_match,
            "left_out": dict(self.left_out),
            "gallery": self.gallery,
            "distance": self.distance,
            "protocol": self.protocol,
            "repeats": self.repeats,
            "splits": self.splits,
            "reranking": None if self.reranking is None else asdict(self.reranking),
            "query_expansion": None if self.expansion is None else asdict(self.expansion),
            "camera_pairs": [dict(vars(pair)) for pair in self.camera_pairs],
            "queries_decided_by_tie": self.queries_decided_by_tie,
            "queries_with_copy": self.queries_with_copy,
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """The scores in percent as text for a terminal, with warnings first, and distance, protocol and re-ranking."""
        return "\n".join([*_headline(self), "", *_score_lines(self), *_camera_lines(self.camera_pairs)])


def _headline(scores: RankingScores) -> list[str]:
    counts = f"{scores.queries:,} queries counted, {scores.gallery:,} gallery crops"
    if scores.splits > 1:
        counts += f", in {scores.splits} splits together"
    if scores.repeats > 1:
        counts += f", {scores.repeats} random galleries averaged"
    lines = [f"WARNING: {warning}" for warning in scores.warnings]
    lines += [f"protocol {scores.protocol}, distance {scores.distance}", counts, *describe_reordering(scores)]
    lines += [f"{number:,} queries left out: {reason}" for reason, number in scores.left_out.items()]
    if scores.queries_decided_by_tie:
        lines.append(f"{scores.queries_decided_by_tie:,} queries decided by a tie with somebody else's crop")
    return lines


def describe_reordering(scores: RankingScores) -> list[str]:
    """Lines that say how the order was changed: such scores are not those of the embeddings alone."""
    lines = []
    if (expansion := scores.expansion) is not None:
        kind = "AQE" if expansion.alpha == 0 else f"α-QE, alpha {expansion.alpha:g}"
        lines.append(f"EXPANDED: each query averaged with its {expansion.count} nearest gallery crops ({kind})")
    if (reranking := scores.reranking) is not None:
        settings = f"k1 {reranking.k1}, k2 {reranking.k2}, lambda {reranking.lambda_value:g}"
        lines.append(f"RE-RANKED: k-reciprocal encoding ({settings})")
    return lines


def _score_lines(scores: RankingScores) -> list[str]:
    header = f"{'':8}{'%':>7}"
    header += f"   {'95 % interval':^15}" if scores.intervals else ""
    header += "   ± between " + ("splits" if scores.splits > 1 else "repeats") if scores.standard_deviations else ""
    lines = [header.rstrip()]
    for name in SCORE_NAMES:
        line = f"{TITLES[name]:8}{100 * getattr(scores, name):7.2f}"
        if scores.intervals:
            low, high = scores.intervals[name]
            line += f"   {100 * low:6.2f} – {100 * high:6.2f}"
        if scores.standard_deviations:
            line += f"   {100 * scores.standard_deviations[name]:5.2f}"
        lines.append(line)
    return lines


def _camera_lines(pairs: Sequence[CameraPair]) -> list[str]:
    """The camera pairs as a matrix, or only the hardest and easiest pairs where there are many cameras."""
    if not pairs:
        return []
    query_cameras = sorted({pair.query_camera for pair in pairs})
    gallery_cameras = sorted({pair.gallery_camera for pair in pairs})
    if len(gallery_cameras) > _WIDEST_MATRIX:
        return _extreme_lines(pairs)
    cells = {
        (pair.query_camera, pair.gallery_camera): f"{100 * pair.rank1:.1f}/{100 * pair.mean_average_precision:.1f}"
        for pair in pairs
    }
    lines = ["", "rank-1/mAP by query camera (down) and gallery camera (across)"]
    lines.append(f"{'':8}" + "".join(f"{camera:>12}" for camera in gallery_cameras))
    for query_camera in query_cameras:
        row = [cells.get((query_camera, camera), "–") for camera in gallery_cameras]
        lines.append(f"{query_camera:<8}" + "".join(f"{cell:>12}" for cell in row))
    return lines


def _extreme_lines(pairs: Sequence[CameraPair]) -> list[str]:
    by_rank1 = sorted(pairs, key=lambda pair: (pair.rank1, pair.mean_average_precision))
    shown = {"hardest": by_rank1[:_PAIRS_SHOWN], "easiest": by_rank1[-_PAIRS_SHOWN:]}
    lines = ["", f"{len(pairs)} camera pairs (all of them are in the JSON)"]
    for title, extremes in shown.items():
        lines.append(f"{title:8}{'query':>7}{'gallery':>9}{'queries':>9}{'rank-1':>8}{'mAP':>8}")
        lines += [
            f"{'':8}{pair.query_camera:>7}{pair.gallery_camera:>9}{pair.queries:>9,}{100 * pair.rank1:>8.1f}"
            f"{100 * pair.mean_average_precision:>8.1f}"
            for pair in extremes
        ]
    return lines


def _average_pairs(groups: Sequence[Sequence[CameraPair]]) -> tuple[CameraPair, ...]:
    """Average the scores of each pair over all groups, weighted by the number of queries."""
    together: dict[tuple[int, int], list[CameraPair]] = {}
    for pair in (pair for group in groups for pair in group):
        together.setdefault((pair.query_camera, pair.gallery_camera), []).append(pair)
    return tuple(
        CameraPair(
            *cameras,
            queries=(queries := sum(pair.queries for pair in same)),
            rank1=sum(pair.rank1 * pair.queries for pair in same) / queries,
            mean_average_precision=sum(pair.mean_average_precision * pair.queries for pair in same) / queries,
        )
        for cameras, same in sorted(together.items())
    )


def deviations(scores: Sequence[RankingScores]) -> dict[str, float]:
    """The sample standard deviation (n - 1) of each of `SCORE_NAMES`; empty for fewer than two values."""
    if len(scores) < 2:
        return {}
    return {name: stdev(getattr(one, name) for one in scores) for name in SCORE_NAMES}


def average_scores(scores: Sequence[RankingScores]) -> RankingScores:
    """Average the scores of a data set's splits; each split has the same weight.

    Counts (queries, gallery, left out, ties, copies) are totals over the splits. The
    standard deviations are between splits. An interval is the mean of the splits' own
    bounds: it says how far the score of one split can be trusted, and is wide rather
    than narrow for their average. Splits of one data set share people, so dividing by
    the root of their number would claim too much.

    Raises:
        OmnireidError: there are no scores, or their distances, protocols, curves or re-rankings differ.

    >>> one = RankingScores((0.5,) * 20, 0.4, 0.3, 10, 0, 20, "euclidean", "single-query")
    >>> other = RankingScores((0.7,) * 20, 0.6, 0.5, 10, 0, 20, "euclidean", "single-query")
    >>> average = average_scores([one, other])
    >>> round(average.rank1, 3), round(average.standard_deviations["rank1"], 3), average.queries, average.splits
    (0.6, 0.141, 20, 2)
    """
    if not scores:
        raise OmnireidError("There are no scores to average. Evaluate at least one split first.")
    kinds = {(one.distance, one.protocol, len(one.cmc), *describe_reordering(one)) for one in scores}
    if len(kinds) > 1:
        raise OmnireidError(
            "Only scores of the same distance, protocol, length of curve and re-ranking can be averaged; got "
            + ", ".join("/".join(str(part) for part in kind) for kind in sorted(kinds))
            + ". Evaluate every split with the same settings."
        )
    first = scores[0]
    reasons = dict.fromkeys(reason for one in scores for reason in one.left_out)
    return RankingScores(
        cmc=tuple(fmean(values) for values in zip(*(one.cmc for one in scores), strict=True)),
        mean_average_precision=fmean(one.mean_average_precision for one in scores),
        mean_inverse_negative_penalty=fmean(one.mean_inverse_negative_penalty for one in scores),
        queries=sum(one.queries for one in scores),
        queries_without_match=sum(one.queries_without_match for one in scores),
        gallery=sum(one.gallery for one in scores),
        distance=first.distance,
        protocol=first.protocol,
        left_out={reason: sum(one.left_out.get(reason, 0) for one in scores) for reason in reasons},
        intervals={
            name: (fmean(one.intervals[name][0] for one in scores), fmean(one.intervals[name][1] for one in scores))
            for name in SCORE_NAMES
            if all(name in one.intervals for one in scores)
        },
        standard_deviations=deviations(scores),
        camera_pairs=_average_pairs([one.camera_pairs for one in scores]),
        repeats=first.repeats,
        splits=sum(one.splits for one in scores),
        reranking=first.reranking,
        expansion=first.expansion,
        queries_decided_by_tie=sum(one.queries_decided_by_tie for one in scores),
        queries_with_copy=sum(one.queries_with_copy for one in scores),
        warnings=tuple(dict.fromkeys(warning for one in scores for warning in one.warnings)),
    )
