"""``omnireid evaluate``: numbers for weights on a data set, or for stored embeddings."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

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
    from omnireid.evaluation.evaluated_datasets import EvaluatedDataset, EvaluatedDatasets
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


SeveralData = Annotated[tuple[Path, ...], tyro.conf.UseAppendAction]


def evaluate(
    *,
    weights: OptionalWeights = None,
    data: SeveralData = (),
    tables: StoredTables = StoredTables(),
    reading: DataOptions = DataOptions(),
    skip_unreadable: SkipUnreadableOption = False,
    ranking: RankingOptions = RankingOptions(),
    outputs: EvaluationOutputs = EvaluationOutputs(),
    runtime: RuntimeOptions = RuntimeOptions(precision="fp32"),
) -> None:
    """Score weights on data sets, or stored embeddings: CMC, mAP and mINP with 95 % intervals.

    Data sets that are published with several splits (VIPeR, GRID, CUHK03 classic)
    are scored on all of them and averaged. Weights are scored in float32, so that
    every machine gives the same numbers, unless --precision says otherwise or the
    file is stored in int8.

    Several --data give one table: a row for each data set, and their mean. Each keeps
    the protocol it is published with; one without cameras is scored with one crop a
    person to find. If one of them fails, such as by an unreadable crop, the others are
    scored and written all the same, without a mean, and the exit code is 2.

    Example: omnireid evaluate --weights osnet_x0_25_market1501.pth --data Market-1501-v15.09.15 --json out.json

    Example: omnireid evaluate --data Market-1501-v15.09.15 --data VIPeR --data MY_CROPS

    Args:
        data: Folder or manifest of a data set to score on. Give it several times for one table of several data sets.
        tables: Stored embeddings to score instead of a data set.
        reading: How the data sets are read.
        ranking: How the gallery is ranked.
        outputs: Files that are written besides the printed table.
        runtime: How the model is run.
    """
    from omnireid.data.datasets import load_splits
    from omnireid.data.listing import input_files
    from omnireid.errors import DataError
    from omnireid.files import check_output

    started = time.perf_counter()
    say = partial(print, file=text_stream(outputs.json))
    inputs = list(input_files(name for name in (weights, *data, tables.query, tables.gallery) if name is not None))
    check_json(outputs.json, inputs=inputs)
    if outputs.picture is not None:
        check_output(outputs.picture, suffix=".png", inputs=inputs)
    is_stored = tables.query is not None and tables.gallery is not None
    if len(data) > 1 and tables == StoredTables():
        _refuse_single_outputs(reading, outputs)
        groups = [load_splits(root, reading) for root in data]
        _evaluate_several(weights, groups, skip_unreadable, ranking, runtime, outputs.json, started)
        return
    if data and tables == StoredTables():
        datasets = load_splits(data[0], reading)
        if outputs.picture is not None:
            splits = (split for dataset in datasets for split in dataset.splits.values())
            check_output(outputs.picture, inputs=(path for split in splits for path in split.paths))
        evaluated, details = _evaluate_weights(weights, datasets, skip_unreadable, ranking, runtime, say)
    elif is_stored and weights is None and not data:
        if skip_unreadable or reading != DataOptions():
            raise DataError(
                "--skip-unreadable, --split-index, --layout and --seed belong to --data, not to stored embeddings."
            )
        evaluated, details = _evaluate_tables(tables, ranking, say)
    else:
        raise DataError(
            "Give --data, with or without --weights, or --query and --gallery. See omnireid evaluate --help."
        )
    _leave(evaluated, details, details["dataset"], outputs.json, started)
    if outputs.picture is not None:
        _draw_picture(outputs.picture, evaluated.splits[0], details)
        say(f"picture: {outputs.picture}")


def _leave(
    evaluated: EvaluatedSplits | EvaluatedDatasets,
    details: dict[str, Any],
    scored: str,
    json: Path | None,
    started: float,
) -> None:
    """Print the table and what made it, and write the JSON.

    Args:
        evaluated: The scores.
        details: Further values of the JSON: which weights, in which runtime.
        scored: The data, for the last line.
        json: File of the JSON, where one was asked for.
        started: When the command started.
    """
    from omnireid.version import __version__

    seconds = time.perf_counter() - started
    made_by = f"{details['model']} · weights {details['weights_sha256'][:12]}… · {details['precision']}"
    stream = text_stream(json)
    print(evaluated.table(), file=stream)
    print(f"{scored} · {made_by} · {seconds:.1f} s", file=stream)
    leave_json(json, {**evaluated.json(), **details, "omnireid_version": __version__, "seconds": round(seconds, 3)})


def _load_for_scoring(weights: str | None, runtime: RuntimeOptions, say: Callable[[str], None]) -> Embedder:
    """Load the weights, those of int8 in int8, and say what runs them."""
    from omnireid.embedding.embedder import load_embedder
    from omnireid.embedding.weights_file import WeightsFile
    from omnireid.weights.fetch import resolve_weights
    from omnireid.weights.shipped import DEFAULT_WEIGHTS

    file = resolve_weights(DEFAULT_WEIGHTS if weights is None else weights)
    weights_file = WeightsFile(file)
    if runtime.precision == "fp32" and weights_file.is_graph and weights_file.graph.metadata.precision == "int8":
        say(f"note: {file} is stored in int8 and has no float32 weights, so it is scored in int8.")
        runtime = replace(runtime, precision="int8")
    embedder = load_embedder(file, runtime)
    announce(embedder)
    return embedder


def _describe_weights(embedder: Embedder) -> dict[str, Any]:
    """What the JSON says of the weights and of what ran them."""
    return {
        "model": embedder.metadata.architecture,
        "weights_sha256": embedder.weights_sha256,
        "weights_licence": embedder.metadata.licence,
        "runtime": embedder.runtime,
        "precision": embedder.precision,
        "training_data": embedder.metadata.training_data,
    }


def _evaluate_weights(
    weights: str | None,
    datasets: list[Dataset],
    skip_unreadable: bool,
    ranking: RankingOptions,
    runtime: RuntimeOptions,
    say: Callable[[str], None],
) -> tuple[EvaluatedSplits, dict[str, Any]]:
    """Embed and score a data set, or all its published splits where none was chosen."""
    from omnireid.data.collection import name_apart
    from omnireid.evaluation.embedder_scores import evaluate_embedder

    embedder = _load_for_scoring(weights, runtime, say)
    (name,) = name_apart(datasets[:1])
    _announce_data(name, datasets[0], say)
    _announce_weights(embedder, say)
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
        "dataset": name,
        "layout": datasets[0].layout,
        **_describe_weights(embedder),
        "notes": list(datasets[0].notes),
    }


def _refuse_single_outputs(reading: DataOptions, outputs: EvaluationOutputs) -> None:
    """Refuse flags that have a meaning for one data set only."""
    from omnireid.errors import DataError

    for flag, given in (("--picture", outputs.picture), ("--split-index", reading.split_index)):
        if given is not None:
            raise DataError(f"{flag} belongs to one data set, and several --data were given. Score that one alone.")


def _evaluate_several(
    weights: str | None,
    groups: list[list[Dataset]],
    skip_unreadable: bool,
    ranking: RankingOptions,
    runtime: RuntimeOptions,
    json: Path | None,
    started: float,
) -> None:
    """Embed and score several data sets, and print one table.

    Raises:
        OmnireidError: some of them could not be scored; table and JSON of the others are written before.
    """
    from omnireid.data.collection import name_apart
    from omnireid.errors import OmnireidError
    from omnireid.evaluation.evaluated_datasets import evaluate_datasets

    say = partial(print, file=text_stream(json))
    embedder = _load_for_scoring(weights, runtime, say)
    first = [datasets[0] for datasets in groups]
    for name, dataset in zip(name_apart(first), first, strict=True):
        _announce_data(name, dataset, say)
    _announce_weights(embedder, say)
    evaluated = evaluate_datasets(
        embedder, groups, ranking, skip_unreadable=skip_unreadable, progress=True, on_result=_announce_result
    )
    _leave(evaluated, _describe_weights(embedder), f"{len(groups)} data sets", json, started)
    if evaluated.failed:
        names = ", ".join(one.name for one in evaluated.failed)
        raise OmnireidError(
            f"{len(evaluated.failed)} of {len(groups)} data sets could not be scored: {names}. The lines below the "
            "table say why. The scores of the others stand; run the command again for the mean."
        )


def _announce_result(one: EvaluatedDataset) -> None:
    """Print the scores of a data set, or why it has none, as soon as it is known: a later one may stop the command."""
    said = f"not scored: {one.error}"
    if one.evaluated is not None:
        scores = one.evaluated.scores
        said = f"rank-1 {100 * scores.rank1:.2f}, mAP {100 * scores.mean_average_precision:.2f}"
    print(f"{one.name}: {said}", file=sys.stderr)


def _announce_data(name: str, dataset: Dataset, say: Callable[[str], None]) -> None:
    """Print what is scored, with its licence."""
    counts = f"{len(dataset.query):,} queries, {len(dataset.gallery):,} gallery crops"
    splits = f" in the first of {dataset.split_count} splits" if dataset.split_count > 1 else ""
    say(f"{name}: {counts}{splits}, licence: {dataset.licence}")
    for note in dataset.notes:
        say(f"note: {note}")


def _announce_weights(embedder: Embedder, say: Callable[[str], None]) -> None:
    """Print what the weights were trained on, and their licence."""
    metadata = embedder.metadata
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
