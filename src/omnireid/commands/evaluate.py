"""``omnireid evaluate``: numbers for weights on a data set, or for stored embeddings."""

from __future__ import annotations

import json as json_format
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from omnireid.commands.options import OptionalNumber, OptionalPath, OptionalText

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder
    from omnireid.evaluation.scores import RankingScores
    from omnireid.types import Distance, Protocol

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
    split: OptionalNumber = None,
    distance: DistanceOption = None,
    protocol: ProtocolOption = None,
    json: OptionalPath = None,
    picture: OptionalPath = None,
    skip_unreadable: bool = False,
    batch_size: int = 32,
    runtime: Literal["auto", "torch"] = "auto",
    architecture: OptionalText = None,
    device: str = "auto",
    threads: OptionalNumber = None,
) -> None:
    """Score weights on a data set, or stored embeddings: CMC, mAP, mINP with 95 % intervals.

    Data sets that are published with several splits (VIPeR, GRID, CUHK03 classic)
    are scored on all of them and averaged.

    Example: omnireid evaluate --weights osnet_x0_25_market1501.pth --data Market-1501-v15.09.15 --json out.json

    Args:
        weights: a file, hf://owner/repository/file or https://…#sha256=…; with --data.
        data: the data set's folder, or a manifest; with --weights.
        query: a table of query embeddings made by omnireid embed; with --gallery, instead of --weights and --data.
        gallery: a table of gallery embeddings.
        layout: of the data set; auto looks which one fits.
        split: score only this published split, counted from 0.
        distance: how embeddings are compared; by default as the weights say.
        protocol: what a query is scored against; by default as the data set is published.
        json: write all numbers here as JSON.
        picture: write a picture of some queries and what was found for them here, as PNG.
        skip_unreadable: leave out crops that cannot be decoded, and count them, instead of stopping at the first.
        batch_size: crops a step of the network.
        runtime: what runs the network.
        architecture: of a checkpoint whose keys do not tell.
        device: auto, cpu, cuda or cuda:1.
        threads: for the network on a CPU; the number of cores by default.
    """
    from omnireid import __version__

    started = time.perf_counter()
    if weights is not None and data is not None and query is None and gallery is None:
        from omnireid.embedding.embedder import load_embedder

        embedder = load_embedder(weights, runtime=runtime, architecture=architecture, device=device, threads=threads)
        scores, details = _of_weights(
            embedder, data, layout, split, distance, protocol, picture, batch_size, skip_unreadable
        )
    elif query is not None and gallery is not None and weights is None and data is None:
        scores, details = _of_tables(query, gallery, distance, protocol, picture)
    else:
        from omnireid.errors import DataError

        raise DataError("Give --weights and --data, or --query and --gallery. See omnireid evaluate --help.")
    print(scores.table())
    seconds = time.perf_counter() - started
    print(f"{details['dataset']} · {details['model']} · weights {details['weights_sha256'][:12]}… · {seconds:.1f} s")
    if json is not None:
        from omnireid.files import atomic_output

        record = {**scores.json(), **details, "omnireid_version": __version__, "seconds": round(seconds, 3)}
        with atomic_output(json) as temporary:
            temporary.write_text(json_format.dumps(record, indent=2) + "\n", encoding="utf-8")


def _of_weights(
    embedder: Embedder,
    data: Path,
    layout: str,
    split: int | None,
    distance: Distance | None,
    protocol: Protocol | None,
    picture: Path | None,
    batch_size: int,
    skip_unreadable: bool,
) -> tuple[RankingScores, dict[str, Any]]:
    from omnireid.data.datasets import load_dataset
    from omnireid.evaluation.scoring import evaluate_embedder

    first = load_dataset(data, layout, split=split or 0)
    datasets = [first]
    if split is None:
        datasets += [load_dataset(data, layout, split=index) for index in range(1, first.split_count)]
    metadata = embedder.metadata
    print(f"{first.name}: {len(first.query):,} queries, {len(first.gallery):,} gallery crops, licence: {first.licence}")
    for note in first.notes:
        print(f"note: {note}")
    print(f"{metadata.architecture}: trained on {metadata.training_data}, licence: {metadata.licence}")
    evaluated = evaluate_embedder(
        embedder,
        datasets,
        distance=distance,
        protocol=protocol,
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
        progress=True,
    )
    for path, reason in evaluated.crops.skipped[:5]:
        print(f"left out {path}: {reason}")
    if picture is not None:
        from omnireid.evaluation.report import draw_ranked_crops

        (query, query_embeddings), (gallery, gallery_embeddings) = (
            evaluated.crops.pick(first.query),
            evaluated.crops.pick(first.gallery),
        )
        draw_ranked_crops(
            query,
            gallery,
            query_embeddings,
            gallery_embeddings,
            picture,
            distance=evaluated.scores.distance,
            protocol=evaluated.scores.protocol,
            title=f"{metadata.architecture} · trained on {metadata.training_data} · {first.name}",
        )
        print(f"picture: {picture}")
    details = {
        "dataset": first.name,
        "layout": first.layout,
        "model": metadata.architecture,
        "weights_sha256": embedder.weights_sha256,
        "weights_licence": metadata.licence,
        "training_data": metadata.training_data,
        "unreadable": [list(entry) for entry in evaluated.crops.skipped],
        "notes": list(first.notes),
    }
    return evaluated.scores, details


def _of_tables(
    query: Path, gallery: Path, distance: Distance | None, protocol: Protocol | None, picture: Path | None
) -> tuple[RankingScores, dict[str, Any]]:
    from omnireid.embedding.tables import read_embeddings
    from omnireid.errors import DataError, EmbeddingError, LabelsError
    from omnireid.evaluation.ranking import evaluate_ranking

    if picture is not None:
        raise DataError("A picture needs the crops: give --weights and --data.")
    left, right = read_embeddings(query), read_embeddings(gallery)
    if left.provenance.weights_sha256 != right.provenance.weights_sha256:
        raise EmbeddingError(
            f"{query} was made by weights {left.provenance.weights_sha256[:12]}… and {gallery} by "
            f"{right.provenance.weights_sha256[:12]}…: their embeddings cannot be compared. Embed both with the same "
            "weights."
        )
    if left.provenance.preprocessing != right.provenance.preprocessing:
        raise EmbeddingError(f"{query} and {gallery} were made with different preprocessing. Embed both the same way.")
    for path, table in ((query, left), (gallery, right)):
        if table.labels is None:
            raise LabelsError(
                f"{path} has no person ids, so there is nothing to score. Embed a data set's split (--split), "
                "a manifest with person_id, or crops with Market-1501-style names."
            )
    assert left.labels is not None
    assert right.labels is not None
    if protocol is None and left.labels.camera_ids is None and right.labels.camera_ids is None:
        print("note: the tables have no camera ids, so the protocol is no-cameras.")
        protocol = "no-cameras"
    scores = evaluate_ranking(
        left.embeddings,
        right.embeddings,
        left.labels,
        right.labels,
        distance or ("cosine" if left.provenance.distance == "cosine" else "euclidean"),
        protocol=protocol or "single-query",
    )
    details = {
        "dataset": f"{query.name} against {gallery.name}",
        "model": left.provenance.model,
        "weights_sha256": left.provenance.weights_sha256,
        "weights_licence": left.provenance.licence,
        "unreadable": [list(entry) for table in (left, right) for entry in table.provenance.skipped],
    }
    return scores, details
