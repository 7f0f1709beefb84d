"""``omnireid evaluate``: numbers for weights on a data set, or for stored embeddings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.commands.options import (
    JsonOption,
    OptionalWeights,
    SkipUnreadableOption,
    announce,
    check_json,
    leave_json,
    text_stream,
)
from omnireid.data.options import DataOptions
from omnireid.embedding.options import RuntimeOptions
from omnireid.retrieval.options import RankingOptions

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder
    from omnireid.evaluation.embedder_scores import EvaluatedSplits
    from omnireid.evaluation.evaluation import Evaluation
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
    every machine gives the same numbers, unless --precision says otherwise or the
    file is stored in int8.

    Example: omnireid evaluate --weights osnet_x0_25_market1501.pth --data Market-1501-v15.09.15 --json out.json

    Args:
        data: Folder or manifest of the data set to score on.
        tables: Stored embeddings to score instead of a data set.
        reading: How the data set is read.
        ranking: How the gallery is ranked.
        outputs: Files that are written besides the printed table.
        runtime: How the model is run.
    """
    from omnireid.data.datasets import load_splits
    from omnireid.data.listing import input_files
    from omnireid.errors import DataError
    from omnireid.files import check_output
    from omnireid.version import __version__

    started = time.perf_counter()
    say = partial(print, file=text_stream(outputs.json))
    inputs = list(input_files(name for name in (weights, data, tables.query, tables.gallery) if name is not None))
    check_json(outputs.json, inputs=inputs)
    if outputs.picture is not None:
        check_output(outputs.picture, suffix=".png", inputs=inputs)
    is_stored = tables.query is not None and tables.gallery is not None
    if data is not None and tables == StoredTables():
        datasets = load_splits(data, reading)
        if outputs.picture is not None:
            splits = (split for dataset in datasets for split in dataset.splits.values())
            check_output(outputs.picture, inputs=(path for split in splits for path in split.paths))
        evaluated, details = _evaluate_weights(weights, datasets, skip_unreadable, ranking, runtime, say)
    elif is_stored and weights is None and data is None:
        if skip_unreadable or reading != DataOptions():
            raise DataError(
                "--skip-unreadable, --split-index, --layout and --seed belong to --data, not to stored embeddings."
            )
        evaluated, details = _evaluate_tables(tables, ranking, say)
    else:
        raise DataError(
            "Give --data, with or without --weights, or --query and --gallery. See omnireid evaluate --help."
        )
    say(evaluated.scores.table())
    seconds = time.perf_counter() - started
    made_by = f"{details['model']} · weights {details['weights_sha256'][:12]}… · {details['precision']}"
    say(f"{details['dataset']} · {made_by} · {seconds:.1f} s")
    record = {**evaluated.json(), **details, "omnireid_version": __version__, "seconds": round(seconds, 3)}
    leave_json(outputs.json, record)
    if outputs.picture is not None:
        _draw_picture(outputs.picture, evaluated.splits[0], details)
        say(f"picture: {outputs.picture}")


def _evaluate_weights(
    weights: str | None,
    datasets: list[Dataset],
    skip_unreadable: bool,
    ranking: RankingOptions,
    runtime: RuntimeOptions,
    say: Callable[[str], None],
) -> tuple[EvaluatedSplits, dict[str, Any]]:
    """Embed and score a data set, or all its published splits where none was chosen."""
    from omnireid.embedding.embedder import load_embedder
    from omnireid.embedding.weights_file import WeightsFile
    from omnireid.evaluation.embedder_scores import evaluate_embedder
    from omnireid.weights.fetch import resolve_weights
    from omnireid.weights.shipped import DEFAULT_WEIGHTS

    file = resolve_weights(DEFAULT_WEIGHTS if weights is None else weights)
    weights_file = WeightsFile(file)
    if runtime.precision == "fp32" and weights_file.is_graph and weights_file.graph.metadata.precision == "int8":
        say(f"note: {file} is stored in int8 and has no float32 weights, so it is scored in int8.")
        runtime = replace(runtime, precision="int8")
    embedder = load_embedder(file, runtime)
    announce(embedder)
    _announce_scoring(datasets[0], embedder, say)
    evaluated = evaluate_embedder(
        embedder,
        datasets,
        ranking,
        skip_unreadable=skip_unreadable,
        progress=True,
    )
    for path, reason in evaluated.splits[0].crops.skipped[:5]:
        say(f"left out {path}: {reason}")
    return evaluated, {
        "dataset": datasets[0].name,
        "layout": datasets[0].layout,
        "model": embedder.metadata.architecture,
        "weights_sha256": embedder.weights_sha256,
        "weights_licence": embedder.metadata.licence,
        "runtime": embedder.runtime,
        "precision": embedder.precision,
        "training_data": embedder.metadata.training_data,
        "notes": list(datasets[0].notes),
    }


def _announce_scoring(dataset: Dataset, embedder: Embedder, say: Callable[[str], None]) -> None:
    """Print what is scored on what, with licences."""
    metadata = embedder.metadata
    counts = f"{len(dataset.query):,} queries, {len(dataset.gallery):,} gallery crops"
    splits = f" in the first of {dataset.split_count} splits" if dataset.split_count > 1 else ""
    say(f"{dataset.name}: {counts}{splits}, licence: {dataset.licence}")
    for note in dataset.notes:
        say(f"note: {note}")
    say(f"{metadata.architecture}: trained on {metadata.training_data}, licence: {metadata.licence}")


def _evaluate_tables(
    tables: StoredTables, ranking: RankingOptions, say: Callable[[str], None]
) -> tuple[EvaluatedSplits, dict[str, Any]]:
    """Score stored embeddings."""
    from omnireid.embedding.tables import read_embeddings
    from omnireid.evaluation import evaluation
    from omnireid.evaluation.embedder_scores import EvaluatedSplits

    assert tables.query is not None
    assert tables.gallery is not None
    query, gallery = read_embeddings(tables.query), read_embeddings(tables.gallery)
    evaluated = evaluation.evaluate(query, gallery, ranking, progress=True)
    if ranking.protocol is None and evaluated.scores.protocol == "no-cameras":
        say("note: the tables have no camera ids, so the protocol is no-cameras.")
    made = query.provenance
    return EvaluatedSplits(evaluated.scores, (evaluated,)), {
        "dataset": f"{tables.query.name} against {tables.gallery.name}",
        "model": made.model,
        "weights_sha256": made.weights_sha256,
        "weights_licence": made.licence,
        "runtime": made.runtime.rpartition(" ")[0] or made.runtime,
        "precision": made.precision,
        "notes": [],
    }


def _draw_picture(picture: Path, evaluation: Evaluation, details: dict[str, Any]) -> None:
    """Draw queries of the first split."""
    from omnireid.reports.ranked_crops import draw_ranked_crops

    trained = f" · trained on {details['training_data']}" if "training_data" in details else ""
    draw_ranked_crops(evaluation, picture, title=f"{details['model']}{trained} · {details['dataset']}")
