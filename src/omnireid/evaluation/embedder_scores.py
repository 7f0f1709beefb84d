"""From an embedder and a data set to scores: the whole evaluation in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnireid.embedding.embedder import Embedder
from omnireid.errors import ImageError
from omnireid.evaluation.protocols import check_labels, check_neighbourhood
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.evaluation.scores import RankingScores, average_scores
from omnireid.progress import progress_bar
from omnireid.retrieval.expansion import QueryExpansion
from omnireid.retrieval.reranking import Reranking
from omnireid.types import Dataset, Distance, FloatArray, Protocol, Split


@dataclass(frozen=True, eq=False)
class EmbeddedCrops:
    """The crops of one or several splits, each embedded once.

    Attributes:
        row_of: path to row of `embeddings`; unreadable crops are not in it.
        embeddings: (N, D) float32.
        skipped: unreadable crops that were left out, as (path, reason).
    """

    row_of: dict[Path, int]
    embeddings: FloatArray
    skipped: tuple[tuple[str, str], ...]

    def pick(self, split: Split) -> tuple[Split, FloatArray]:
        """The readable crops of `split` and their embeddings, in its order."""
        readable = np.array([path in self.row_of for path in split.paths], dtype=bool)
        kept = split if readable.all() else split.select(readable)
        return kept, self.embeddings[[self.row_of[path] for path in kept.paths]]


def embed_splits(
    embedder: Embedder,
    splits: Sequence[Split],
    *,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> EmbeddedCrops:
    """Embed every crop of `splits` once, however many of them share it.

    Raises:
        ImageError: a crop cannot be decoded, unless `skip_unreadable` leaves it out.
    """
    paths = list(dict.fromkeys(path for split in splits for path in split.paths))
    embeddings = np.empty((len(paths), embedder.metadata.embedding_dimension), dtype=np.float32)
    skipped: dict[int, str] = {}

    def leave_out(index: int, error: ImageError) -> None:
        skipped[index] = str(error)

    with progress_bar("embed", len(paths), show=progress) as advance:
        on_unreadable = leave_out if skip_unreadable else None
        for indices, rows in embedder.embed_batches(paths, batch_size=batch_size, on_unreadable=on_unreadable):
            embeddings[indices] = rows
            advance(len(indices))
    return EmbeddedCrops(
        {path: row for row, path in enumerate(paths) if row not in skipped},
        embeddings,
        tuple((str(paths[index]), reason) for index, reason in skipped.items()),
    )


@dataclass(frozen=True, eq=False)
class EvaluatedEmbedder:
    """Scores, and the embedded crops they came from."""

    scores: RankingScores
    crops: EmbeddedCrops


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
    crops = embed_splits(embedder, splits, batch_size=batch_size, skip_unreadable=skip_unreadable, progress=progress)
    scores = []
    for dataset, query, rule in zip(datasets, queries, chosen, strict=True):
        kept_query, query_embeddings = crops.pick(query)
        kept_gallery, gallery_embeddings = crops.pick(dataset.gallery)
        scores.append(
            evaluate_ranking(
                query_embeddings,
                gallery_embeddings,
                kept_query.labels,
                kept_gallery.labels,
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
