"""From an embedder and a data set to scores: the whole evaluation in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnireid.data.numbering import number_together
from omnireid.embedding.chunks import embed_crops
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable
from omnireid.evaluation.protocols import check_labels, check_neighbourhood
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.evaluation.scores import RankingScores, average_scores
from omnireid.retrieval.expansion import QueryExpansion
from omnireid.retrieval.reranking import Reranking
from omnireid.types import Crops, Dataset, Distance, Protocol, Split


@dataclass(frozen=True, eq=False)
class EvaluatedEmbedder:
    """Scores, and the embedded crops they came from."""

    scores: RankingScores
    crops: EmbeddingTable


def evaluate_embedder(
    embedder: Embedder,
    datasets: Sequence[Dataset],
    *,
    distance: Distance | None = None,
    protocol: Protocol | None = None,
    reranking: Reranking | None = None,
    expansion: QueryExpansion | None = None,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> EvaluatedEmbedder:
    """Embed and score a data set, or several splits of one, averaged.

    What can be seen without embedding anything, such as a gallery without any
    true match, is checked first.

    Args:
        embedder: what embeds.
        datasets: one, or the published splits of one.
        distance: how embeddings are compared; by default as the weights say.
        protocol: what a query is scored against; by default as the data set is published.
        reranking: see `evaluate_ranking`.
        expansion: see `evaluate_ranking`.
        batch_size: crops a step of the network; by default what suits it.
        skip_unreadable: leave out crops that cannot be decoded.
        progress: show bars on standard error.

    Raises:
        NoTrueMatchError: no query of a split has anything to be found.
        LabelsError: the protocol needs camera ids and there are none.
        OmnireidError: re-ranking or query expansion under a protocol without one gallery.
        ImageError: a crop cannot be decoded.
    """
    chosen = [protocol or dataset.protocol for dataset in datasets]
    queries = [_query_crops(dataset, rule) for dataset, rule in zip(datasets, chosen, strict=True)]
    for dataset, query, rule in zip(datasets, queries, chosen, strict=True):
        check_labels(query.labels, dataset.gallery.labels, rule)
        check_neighbourhood(rule, reranking, expansion)
    splits = [split for dataset, query in zip(datasets, queries, strict=True) for split in (query, dataset.gallery)]
    splits += [dataset.query for dataset in datasets]
    paths = dict.fromkeys(path for split in splits for path in split.paths)  # a crop of several splits is embedded once
    crops = embed_crops(
        embedder, Crops(tuple(paths)), batch_size=batch_size, skip_unreadable=skip_unreadable, progress=progress
    )
    scores = []
    for dataset, query, rule in zip(datasets, queries, chosen, strict=True):
        kept_query, kept_gallery = crops.pick(query), crops.pick(dataset.gallery)
        query_labels, gallery_labels = number_together(kept_query.crops, kept_gallery.crops)
        scores.append(
            evaluate_ranking(
                kept_query.embeddings,
                kept_gallery.embeddings,
                query_labels,
                gallery_labels,
                distance or embedder.metadata.distance,
                protocol=rule,
                reranking=reranking,
                expansion=expansion,
                camera_pairs=dataset.query.camera_ids is not None,
                progress=progress,
            )
        )
    return EvaluatedEmbedder(scores[0] if len(scores) == 1 else average_scores(scores), crops)


def _query_crops(dataset: Dataset, protocol: Protocol) -> Split:
    """The crops that are looked for: under multi-query, the further ones of a data set that has them."""
    if protocol == "multi-query" and dataset.multi_query is not None:
        return dataset.multi_query
    return dataset.query
