"""From an embedder and a data set to scores: the whole evaluation in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from omnireid.embedding.chunks import embed_crops
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable
from omnireid.evaluation.evaluation import DEPTH, Evaluation, evaluate
from omnireid.evaluation.protocols import check_labels, check_neighbourhood
from omnireid.evaluation.scores import RankingScores, average_scores
from omnireid.retrieval.options import RankingOptions
from omnireid.terms import Protocol
from omnireid.types import Crops, Dataset, Split


@dataclass(frozen=True, eq=False)
class EvaluatedSplits:
    """Evaluations of the splits of a data set.

    Attributes:
        scores: Scores averaged over the splits; each split has the same weight.
        splits: One evaluation for each split.
    """

    scores: RankingScores
    splits: tuple[Evaluation, ...]

    def table(self) -> str:
        """The averaged scores in percent as text for a terminal."""
        return self.scores.table()

    def json(self) -> dict[str, Any]:
        """The averaged scores as plain values, and the crops that were left out."""
        return replace(self.splits[0], scores=self.scores).json()


@dataclass(frozen=True, eq=False)
class _Search:
    """What is looked for in one split, and by which rule it is scored."""

    query: Split
    gallery: Split
    protocol: Protocol


def evaluate_embedder(
    embedder: Embedder,
    datasets: Sequence[Dataset],
    ranking: RankingOptions = RankingOptions(),
    *,
    depth: int = DEPTH,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = False,
    label: str = "embed",
) -> EvaluatedSplits:
    """Embed and score a data set, or several splits of one.

    A crop of several splits is embedded once. What can be seen without embedding
    anything, such as a gallery without any true match, is checked first.

    `omnireid.evaluate_datasets` scores several data sets.

    Args:
        embedder: The network.
        datasets: One data set, or the published splits of one (`omnireid.load_splits`).
        ranking: How the gallery is ranked. By default by the distance the weights were trained for, under the
            protocol the data set is published with.
        depth: Number of crops of each query's ranking to keep.
        batch_size: Crops per step of the network; by default the number that suits it.
        skip_unreadable: Leave out crops that cannot be decoded, instead of stopping at the first.
        progress: Show bars on standard error.
        label: Text before the bar of the embedding.

    Returns:
        The averaged scores, and one evaluation for each of `datasets`.

    Raises:
        NoTrueMatchError: no query of a split has anything to be found.
        LabelsError: the protocol needs camera ids and there are none.
        SettingError: re-ranking or query expansion under a protocol without one gallery.
        EmbeddingError: every query is decided by a tie, because the embeddings are all equal.
        ImageError: a crop cannot be decoded.
    """
    embedded = embed_crops(
        embedder,
        crops_to_embed(datasets, ranking),
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
        progress=progress,
        label=label,
    )
    return evaluate_table(embedded, datasets, ranking, depth=depth, progress=progress)


def crops_to_embed(datasets: Sequence[Dataset], ranking: RankingOptions) -> Crops:
    """The crops of all searches in the splits of a data set, each once; raises what can be seen without embedding."""
    searches = _plan_searches(datasets, ranking)
    paths = dict.fromkeys(path for search in searches for path in (*search.query.paths, *search.gallery.paths))
    return Crops(tuple(paths))


def evaluate_table(
    embedded: EmbeddingTable,
    datasets: Sequence[Dataset],
    ranking: RankingOptions = RankingOptions(),
    *,
    depth: int = DEPTH,
    progress: bool = False,
) -> EvaluatedSplits:
    """Score the splits of a data set whose crops are embedded; see `evaluate_embedder`."""
    evaluations = tuple(
        evaluate(
            embedded.pick(search.query),
            embedded.pick(search.gallery),
            replace(ranking, protocol=search.protocol),
            depth=depth,
            progress=progress,
        )
        for search in _plan_searches(datasets, ranking)
    )
    return EvaluatedSplits(average_scores([one.scores for one in evaluations]), evaluations)


def check_splits(datasets: Sequence[Dataset], ranking: RankingOptions) -> None:
    """Check what `evaluate_embedder` can see without embedding anything; raises its errors."""
    _plan_searches(datasets, ranking)


def _plan_searches(datasets: Sequence[Dataset], ranking: RankingOptions) -> list[_Search]:
    """The searches in the splits of a data set, checked."""
    searches = []
    for dataset in datasets:
        protocol = ranking.protocol or dataset.protocol
        search = _Search(_query_crops(dataset, protocol), dataset.gallery, protocol)
        check_labels(search.query.labels, search.gallery.labels, protocol)
        check_neighbourhood(protocol, ranking.reranking, ranking.expansion)
        searches.append(search)
    return searches


def _query_crops(dataset: Dataset, protocol: Protocol) -> Split:
    """The crops to look for: for multi-query the further ones, where the data set has them."""
    if protocol == "multi-query" and dataset.multi_query is not None:
        return dataset.multi_query
    return dataset.query
