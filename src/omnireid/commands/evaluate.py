"""``omnireid evaluate``: numbers for weights on a data set, or for stored embeddings."""

from __future__ import annotations

import json as json_format
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from omnireid.commands.options import (
    OptionalNumber,
    OptionalPath,
    OptionalReal,
    OptionalText,
    PrecisionOption,
    RuntimeOption,
    announce,
)

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder
    from omnireid.evaluation.embedder_scores import EvaluatedEmbedder
    from omnireid.evaluation.scores import RankingScores
    from omnireid.retrieval.expansion import QueryExpansion
    from omnireid.retrieval.reranking import Reranking
    from omnireid.types import Dataset, Distance, Protocol

DistanceOption = Annotated[Literal["euclidean", "cosine"] | None, tyro.conf.arg(metavar="{euclidean,cosine}")]
ProtocolOption = Annotated[
    Literal["single-query", "multi-query", "single-gallery-shot", "no-cameras"] | None,
    tyro.conf.arg(metavar="{single-query,multi-query,single-gallery-shot,no-cameras}"),
]


def evaluate(
    *,
    weights: OptionalText = None,
    data: OptionalPath = None,
    query: OptionalPath = None,
    gallery: OptionalPath = None,
    layout: str = "auto",
    split_index: OptionalNumber = None,
    seed: int = 0,
    distance: DistanceOption = None,
    protocol: ProtocolOption = None,
    rerank: bool = False,
    k1: OptionalNumber = None,
    k2: OptionalNumber = None,
    lambda_value: OptionalReal = None,
    expand: OptionalNumber = None,
    alpha: OptionalReal = None,
    json: OptionalPath = None,
    picture: OptionalPath = None,
    skip_unreadable: bool = False,
    batch_size: OptionalNumber = None,
    runtime: RuntimeOption = "auto",
    precision: PrecisionOption = "auto",
    architecture: OptionalText = None,
    device: str = "auto",
    threads: OptionalNumber = None,
) -> None:
    """Score weights on a data set, or stored embeddings: CMC, mAP, mINP with 95 % intervals.

    Data sets that are published with several splits (VIPeR, GRID, CUHK03 classic)
    are scored on all of them and averaged.

    Example: omnireid evaluate --weights osnet_x0_25_market1501.pth --data Market-1501-v15.09.15 --json out.json

    Args:
        weights: a file, hf://owner/repository/file, https://…#sha256=…, or a name that ships with omnireid; with
            --data. By default the weights that ship with omnireid: osnet_x0_25.market1501.
        data: the data set's folder, or a manifest.
        query: a table of query embeddings made by omnireid embed; with --gallery, instead of --data.
        gallery: a table of gallery embeddings.
        layout: of the data set; auto looks which one fits.
        split_index: score only this published split, counted from 0.
        seed: of the automatic split of data that has none.
        distance: how embeddings are compared; by default as the weights say.
        protocol: what a query is scored against; by default as the data set is published.
        rerank: re-rank each query's gallery by k-reciprocal encoding, and score that; not with single-gallery-shot.
        k1: of re-ranking: nearest crops among which k-reciprocal neighbours are looked for; 20 by default.
        k2: of re-ranking: nearest crops whose encodings are averaged; 6 by default, 1 averages nothing.
        lambda_value: of re-ranking: weight of the original distance, from 0 to 1; 0.3 by default.
        expand: average each query with its N nearest gallery crops first; not with single-gallery-shot.
        alpha: of --expand: weigh them by their similarity to this power; 0, the plain average, by default.
        json: write all numbers here as JSON.
        picture: write a picture of some queries and what was found for them here, as PNG.
        skip_unreadable: leave out crops that cannot be decoded, and count them, instead of stopping at the first.
        batch_size: crops a step of the network; by default what suits it.
        runtime: what runs the network; auto tries what is installed, once, and takes the fastest that passes the
            parity gate.
        precision: what it computes in; auto leaves that to the trial too.
        architecture: of a checkpoint whose keys do not tell.
        device: auto, cpu, cuda or cuda:1; in onnxruntime also coreml and dml.
        threads: for the network on a CPU; the number of cores by default.
    """
    from omnireid import __version__
    from omnireid.errors import DataError
    from omnireid.files import atomic_output, check_output

    started = time.perf_counter()
    for output in (json, picture):
        if output is not None:
            check_output(output)  # before minutes of work, not after
    reranking, expansion = _reordering(rerank, k1, k2, lambda_value, expand, alpha)
    if picture is not None and (reranking or expansion):
        raise DataError("A picture shows what the distance alone finds: leave out --picture, or --rerank and --expand.")
    drawing = None
    if data is not None and query is None and gallery is None:
        from omnireid.embedding.embedder import load_embedder
        from omnireid.evaluation.embedder_scores import evaluate_embedder
        from omnireid.weights.shipped import DEFAULT_WEIGHTS

        datasets = _load(data, layout, split_index, seed)
        weights = DEFAULT_WEIGHTS if weights is None else weights
        embedder = load_embedder(
            weights, runtime=runtime, precision=precision, architecture=architecture, device=device, threads=threads
        )
        announce(embedder)
        _announce(datasets[0], embedder)
        evaluated = evaluate_embedder(
            embedder,
            datasets,
            distance=distance,
            protocol=protocol,
            reranking=reranking,
            expansion=expansion,
            batch_size=batch_size,
            skip_unreadable=skip_unreadable,
            progress=True,
        )
        for path, reason in evaluated.crops.provenance.skipped[:5]:
            print(f"left out {path}: {reason}")
        scores, details = evaluated.scores, _details(datasets[0], embedder, evaluated)
        drawing = (datasets[0], embedder, evaluated)
    elif query is not None and gallery is not None and weights is None and data is None:
        if picture is not None:
            raise DataError("A picture needs the crops: give --data.")
        if skip_unreadable or split_index is not None or layout != "auto":
            raise DataError("--skip-unreadable, --split-index and --layout go with --data, not with stored embeddings.")
        scores, details = _of_tables(query, gallery, distance, protocol, reranking, expansion)
    else:
        raise DataError(
            "Give --data, with or without --weights, or --query and --gallery. See omnireid evaluate --help."
        )
    print(scores.table())
    seconds = time.perf_counter() - started
    print(f"{details['dataset']} · {details['model']} · weights {details['weights_sha256'][:12]}… · {seconds:.1f} s")
    if json is not None:
        record = {**scores.json(), **details, "omnireid_version": __version__, "seconds": round(seconds, 3)}
        with atomic_output(json) as temporary:
            temporary.write_text(json_format.dumps(record, indent=2) + "\n", encoding="utf-8")
    if picture is not None and drawing is not None:
        _draw(picture, *drawing)


def _reordering(
    rerank: bool, k1: int | None, k2: int | None, lambda_value: float | None, expand: int | None, alpha: float | None
) -> tuple[Reranking | None, QueryExpansion | None]:
    """What the flags ask for beyond comparing embeddings."""
    from omnireid.errors import DataError
    from omnireid.retrieval.expansion import QueryExpansion
    from omnireid.retrieval.reranking import Reranking

    given: dict[str, Any] = {"k1": k1, "k2": k2, "lambda_value": lambda_value}
    given = {name: value for name, value in given.items() if value is not None}
    if given and not rerank:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise DataError(f"{flags}: only of use with re-ranking, which was not asked for. Add --rerank.")
    if alpha is not None and expand is None:
        raise DataError("--alpha: only of use with query expansion, which was not asked for. Add --expand N.")
    expansion = None if expand is None else QueryExpansion(expand, alpha or 0.0)
    return Reranking(**given) if rerank else None, expansion


def _load(data: Path, layout: str, split_index: int | None, seed: int) -> list[Dataset]:
    """The data set, or all its published splits where none was chosen."""
    from omnireid.data.datasets import load_dataset, load_splits

    if split_index is None:
        return load_splits(data, layout, seed=seed)
    return [load_dataset(data, layout, split=split_index, seed=seed)]


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


def _of_tables(
    query: Path,
    gallery: Path,
    distance: Distance | None,
    protocol: Protocol | None,
    reranking: Reranking | None,
    expansion: QueryExpansion | None,
) -> tuple[RankingScores, dict[str, Any]]:
    from omnireid.data.numbering import number_together
    from omnireid.embedding.tables import read_embeddings
    from omnireid.evaluation.ranking import evaluate_ranking

    left, right = read_embeddings(query), read_embeddings(gallery)
    for remark in left.check_comparable(right):
        print(f"note: {remark}")
    query_labels, gallery_labels = number_together(left.crops, right.crops)
    if protocol is None and query_labels.camera_ids is None and gallery_labels.camera_ids is None:
        print("note: the tables have no camera ids, so the protocol is no-cameras.")
        protocol = "no-cameras"
    scores = evaluate_ranking(
        left.embeddings,
        right.embeddings,
        query_labels,
        gallery_labels,
        distance or ("cosine" if left.provenance.distance == "cosine" else "euclidean"),
        protocol=protocol or "single-query",
        reranking=reranking,
        expansion=expansion,
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
