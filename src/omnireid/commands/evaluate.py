"""``omnireid evaluate``: numbers for weights on a data set, or for stored embeddings."""

from __future__ import annotations

import json as json_format
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.commands.options import JsonOption, OptionalWeights, SkipUnreadableOption, announce
from omnireid.data.options import DataOptions
from omnireid.embedding.options import RuntimeOptions
from omnireid.retrieval.options import RankingOptions

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder
    from omnireid.evaluation.embedder_scores import EvaluatedEmbedder
    from omnireid.evaluation.scores import RankingScores
    from omnireid.types import Dataset


@dataclass(frozen=True)
class StoredTables:
    """Embeddings to score instead of a data set.

    Attributes:
        query: Table of query embeddings made by omnireid embed. Needs --gallery, and replaces --data.
        gallery: Table of gallery embeddings.
    """

    query: Path | None = None
    gallery: Path | None = None


@dataclass(frozen=True)
class EvaluationOutputs:
    """Files that are written besides the printed table.

    Attributes:
        picture: Draw some queries, and what was found for each, in this PNG file.
    """

    json: JsonOption = None
    picture: Path | None = None


def evaluate(
    *,
    weights: OptionalWeights = None,
    data: Path | None = None,
    tables: StoredTables = StoredTables(),
    reading: DataOptions = DataOptions(),
    skip_unreadable: SkipUnreadableOption = False,
    ranking: RankingOptions = RankingOptions(),
    outputs: EvaluationOutputs = EvaluationOutputs(),
    runtime: RuntimeOptions = RuntimeOptions(precision="fp32"),
) -> None:
    """Score weights on a data set, or stored embeddings: CMC, mAP and mINP with 95 % intervals.

    Data sets that are published with several splits (VIPeR, GRID, CUHK03 classic)
    are scored on all of them and averaged. Weights are scored in float32, so that
    every machine gives the same numbers, unless --precision says otherwise.

    Example: omnireid evaluate --weights osnet_x0_25_market1501.pth --data Market-1501-v15.09.15 --json out.json

    Args:
        data: Folder or manifest of the data set to score on.
        tables: Stored embeddings to score instead of a data set.
        reading: How the data set is read.
        ranking: How the gallery is ranked.
        outputs: Files that are written besides the printed table.
        runtime: How the model is run.
    """
    from omnireid.errors import DataError
    from omnireid.files import atomic_output, check_output
    from omnireid.version import __version__

    started = time.perf_counter()
    query, gallery = tables.query, tables.gallery
    for output in (outputs.json, outputs.picture):
        if output is not None:
            check_output(output)  # before minutes of work, not after
    if outputs.picture is not None and (ranking.reranking or ranking.expansion):
        raise DataError("A picture shows what the distance alone finds: leave out --picture, or --rerank and --expand.")
    drawing = None
    if data is not None and query is None and gallery is None:
        from omnireid.data.datasets import load_splits
        from omnireid.embedding.embedder import load_embedder
        from omnireid.evaluation.embedder_scores import evaluate_embedder
        from omnireid.weights.shipped import DEFAULT_WEIGHTS

        datasets = load_splits(data, reading)
        embedder = load_embedder(DEFAULT_WEIGHTS if weights is None else weights, runtime)
        announce(embedder)
        _announce(datasets[0], embedder)
        evaluated = evaluate_embedder(
            embedder,
            datasets,
            distance=ranking.distance,
            protocol=ranking.protocol,
            reranking=ranking.reranking,
            expansion=ranking.expansion,
            skip_unreadable=skip_unreadable,
            progress=True,
        )
        for path, reason in evaluated.crops.provenance.skipped[:5]:
            print(f"left out {path}: {reason}")
        scores, details = evaluated.scores, _details(datasets[0], embedder, evaluated)
        drawing = (datasets[0], embedder, evaluated)
    elif query is not None and gallery is not None and weights is None and data is None:
        if outputs.picture is not None:
            raise DataError("A picture needs the crops: give --data.")
        if skip_unreadable or reading != DataOptions():
            raise DataError(
                "--skip-unreadable, --split-index, --layout and --seed belong to --data, not to stored embeddings."
            )
        scores, details = _of_tables(query, gallery, ranking)
    else:
        raise DataError(
            "Give --data, with or without --weights, or --query and --gallery. See omnireid evaluate --help."
        )
    print(scores.table())
    seconds = time.perf_counter() - started
    print(f"{details['dataset']} · {details['model']} · weights {details['weights_sha256'][:12]}… · {seconds:.1f} s")
    if outputs.json is not None:
        record = {**scores.json(), **details, "omnireid_version": __version__, "seconds": round(seconds, 3)}
        with atomic_output(outputs.json) as temporary:
            temporary.write_text(json_format.dumps(record, indent=2) + "\n", encoding="utf-8")
    if outputs.picture is not None and drawing is not None:
        _draw(outputs.picture, *drawing)


def _announce(dataset: Dataset, embedder: Embedder) -> None:
    metadata = embedder.metadata
    counts = f"{len(dataset.query):,} queries, {len(dataset.gallery):,} gallery crops"
    splits = f" in the first of {dataset.split_count} splits" if dataset.split_count > 1 else ""
    print(f"{dataset.name}: {counts}{splits}, licence: {dataset.licence}")
    for note in dataset.notes:
        print(f"note: {note}")
    print(f"{metadata.architecture}: trained on {metadata.training_data}, licence: {metadata.licence}")


def _details(dataset: Dataset, embedder: Embedder, evaluated: EvaluatedEmbedder) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "layout": dataset.layout,
        "model": embedder.metadata.architecture,
        "weights_sha256": embedder.weights_sha256,
        "weights_licence": embedder.metadata.licence,
        "runtime": embedder.runtime,
        "precision": embedder.precision,
        "training_data": embedder.metadata.training_data,
        "unreadable": [list(entry) for entry in evaluated.crops.provenance.skipped],
        "notes": list(dataset.notes),
    }


def _draw(picture: Path, dataset: Dataset, embedder: Embedder, evaluated: EvaluatedEmbedder) -> None:
    from omnireid.reports.ranked_crops import draw_ranked_crops
    from omnireid.types import Split

    query, gallery = evaluated.crops.pick(dataset.query), evaluated.crops.pick(dataset.gallery)
    assert isinstance(query.crops, Split)
    assert isinstance(gallery.crops, Split)
    metadata = embedder.metadata
    draw_ranked_crops(
        query.crops,
        gallery.crops,
        query.embeddings,
        gallery.embeddings,
        picture,
        distance=evaluated.scores.distance,
        protocol=evaluated.scores.protocol,
        title=f"{metadata.architecture} · trained on {metadata.training_data} · {dataset.name}",
    )
    print(f"picture: {picture}")


def _of_tables(query: Path, gallery: Path, ranking: RankingOptions) -> tuple[RankingScores, dict[str, Any]]:
    from omnireid.data.numbering import number_together
    from omnireid.embedding.tables import read_embeddings
    from omnireid.evaluation.ranking import evaluate_ranking

    left, right = read_embeddings(query), read_embeddings(gallery)
    for remark in left.check_comparable(right):
        print(f"note: {remark}")
    query_labels, gallery_labels = number_together(left.crops, right.crops)
    protocol = ranking.protocol
    if protocol is None and query_labels.camera_ids is None and gallery_labels.camera_ids is None:
        print("note: the tables have no camera ids, so the protocol is no-cameras.")
        protocol = "no-cameras"
    scores = evaluate_ranking(
        left.embeddings,
        right.embeddings,
        query_labels,
        gallery_labels,
        ranking.distance or ("cosine" if left.provenance.distance == "cosine" else "euclidean"),
        protocol=protocol or "single-query",
        reranking=ranking.reranking,
        expansion=ranking.expansion,
        camera_pairs=True,
        progress=True,
    )
    details = {
        "dataset": f"{query.name} against {gallery.name}",
        "model": left.provenance.model,
        "weights_sha256": left.provenance.weights_sha256,
        "weights_licence": left.provenance.licence,
        "unreadable": [list(entry) for table in (left, right) for entry in table.provenance.skipped],
    }
    return scores, details
