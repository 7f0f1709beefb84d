"""``omnireid report``: an evaluation, a training run or a gallery as one file that people can read."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omnireid.commands.evaluate import StoredTables
from omnireid.commands.options import OptionalWeights, announce
from omnireid.data.options import DataOptions
from omnireid.embedding.options import RuntimeOptions
from omnireid.retrieval.options import RankingOptions

if TYPE_CHECKING:
    from omnireid.embedding.tables import EmbeddingTable
    from omnireid.evaluation.embedder_scores import EvaluatedSplits
    from omnireid.evaluation.verification import Verification
    from omnireid.reports.evaluation_report import ReportedEvaluation

_SUFFIXES = {"html": ".html", "md": ".md", "json": ".json"}


@dataclass(frozen=True)
class ReportOptions:
    """What is written.

    Attributes:
        output: The report to write.
        format: A page for people (html), or text (md) or numbers (json) for programs.
        calibration: Measure this calibration on the data and show it. By default one is fitted on half of the people
            and measured on the others.
        hide_crops: Show empty frames instead of crops, for a report that may be passed on.
    """

    output: Path
    format: Literal["html", "md", "json"] = "html"
    calibration: Path | None = None
    hide_crops: bool = False


@dataclass(frozen=True)
class ReportSource:
    """What is reported on, instead of weights and data.

    Attributes:
        gallery: A gallery, as its folder or an address such as s3://bucket/folder. With --query, the table of gallery
            embeddings instead.
        query: Table of query embeddings, to score stored embeddings; needs --gallery.
        run: Folder of a training run.
        evaluation: Scores that omnireid evaluate --json has written.
    """

    gallery: str | None = None
    query: Path | None = None
    run: Path | None = None
    evaluation: Path | None = None

    @property
    def tables(self) -> StoredTables:
        """The stored embeddings, where some are to be scored."""
        is_stored = self.query is not None and self.gallery is not None
        return StoredTables(self.query, Path(str(self.gallery))) if is_stored else StoredTables()


def report(
    *,
    options: ReportOptions,
    weights: OptionalWeights = None,
    data: Path | None = None,
    source: ReportSource = ReportSource(),
    reading: DataOptions = DataOptions(),
    ranking: RankingOptions = RankingOptions(),
    runtime: RuntimeOptions = RuntimeOptions(precision="fp32"),
) -> None:
    """Write a report of an evaluation, a training run or a gallery: one HTML file that needs nothing else, no network.

    It shows scores with intervals, the curve of ranks, distances, cameras, what a
    distance means, the worst and best queries, who is taken for whom, costs, and where
    everything came from. It holds crops of people unless --hide-crops is given: whoever
    gets the file gets their pictures.

    Example: omnireid report --weights osnet_x0_25_market1501.pth --data Market-1501-v15.09.15 --output report.html

    Example: omnireid report --run runs/first --output run.html

    Example: omnireid report --gallery people.gallery --output gallery.html

    Args:
        options: What is written.
        data: Data set to report on, as its folder or a manifest.
        source: What is reported on, instead of weights and data.
        reading: How the data set is read.
        ranking: How the gallery is ranked.
        runtime: How the model is run.
    """
    from omnireid.data.listing import input_files
    from omnireid.errors import DataError
    from omnireid.files import check_output

    tables = source.tables
    given = (data, source.query, tables.gallery, options.calibration, source.run, source.evaluation)
    inputs = input_files(name for name in (weights, *given) if name is not None)
    check_output(options.output, suffix=_SUFFIXES[options.format], inputs=inputs)
    is_stored = tables != StoredTables()
    gallery = None if is_stored else source.gallery
    chosen = [data, tables if is_stored else None, gallery, source.run, source.evaluation]
    if sum(one is not None for one in chosen) != 1 or (source.query is not None and not is_stored):
        raise DataError(
            "Give one of --data, with or without --weights; --query and --gallery, two tables of embeddings; --gallery "
            "alone; --run; and --evaluation. See omnireid report --help."
        )
    if weights is not None and data is None:
        raise DataError("--weights belongs to --data: what is reported on was made already.")
    if options.calibration is not None and data is None and not is_stored:
        raise DataError("--calibration belongs to --data, or to --query and --gallery.")
    if source.run is not None:
        _report_run(source.run, options)
    elif gallery is not None:
        _report_gallery(gallery, options)
    elif source.evaluation is not None:
        _report_scores(source.evaluation, options)
    else:
        _report_evaluation(weights, data, tables, options, reading, ranking, runtime)
    print(f"report: {options.output}")


def _report_gallery(place: str, options: ReportOptions) -> None:
    from omnireid.errors import OutputError
    from omnireid.files import check_output
    from omnireid.gallery.gallery import Gallery
    from omnireid.reports.gallery_report import read_gallery, report_gallery

    gallery = Gallery.open(place)
    folder = gallery.database.folder
    if folder is not None and options.output.absolute().is_relative_to(folder):
        raise OutputError(f"{options.output} would lie in the gallery {place}. Write the report somewhere else.")
    reported = read_gallery(gallery, _describe_machine(), hides_crops=options.hide_crops)
    check_output(options.output, inputs=[Path(path) for path in reported.sightings.table.column("path").to_pylist()])
    _write(report_gallery(reported), reported.json(), options)


def _report_scores(file: Path, options: ReportOptions) -> None:
    from omnireid.errors import DataError
    from omnireid.reports.score_report import read_scores, report_scores

    try:
        record = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{file} cannot be read as scores ({error}). Give a file that omnireid evaluate --json has written."
        ) from error
    scores = read_scores(record, str(file))
    title = f"{record.get('model', 'scores')} on {record.get('dataset', file.name)}"
    _write(report_scores(scores, record, title), {"kind": "omnireid report", "scores": record}, options)


def _report_run(run: Path, options: ReportOptions) -> None:
    from omnireid.errors import DataError
    from omnireid.reports.run_report import report_run
    from omnireid.training.journal import read_journal

    entries = read_journal(run)
    file = run / "run.json"
    try:
        record = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} cannot be read as a run's record ({error}). Name the folder of a run.") from error
    document = report_run(record, entries, f"Training run {run.resolve().name}")
    _write(document, {"kind": "omnireid report", "run": record, "journal": entries}, options)


def _report_evaluation(
    weights: str | None,
    data: Path | None,
    tables: StoredTables,
    options: ReportOptions,
    reading: DataOptions,
    ranking: RankingOptions,
    runtime: RuntimeOptions,
) -> None:
    from omnireid.files import check_output
    from omnireid.reports.evaluation_report import make_record, report_evaluation
    from omnireid.retrieval.calibration import read_calibration

    if options.calibration is not None:
        read_calibration(options.calibration)  # before the work, for its errors
    if data is not None:
        reported, paths = _score_weights(weights, data, options, reading, ranking, runtime)
    else:
        reported, paths = _score_tables(tables, options, ranking)
    check_output(options.output, inputs=paths)
    _write(report_evaluation(reported), make_record(reported), options)


def _score_weights(
    weights: str | None,
    data: Path,
    options: ReportOptions,
    reading: DataOptions,
    ranking: RankingOptions,
    runtime: RuntimeOptions,
) -> tuple[ReportedEvaluation, list[Path]]:
    """Embed and score a data set."""
    from omnireid.data.datasets import load_splits
    from omnireid.embedding.chunks import embed_crops
    from omnireid.embedding.embedder import load_embedder
    from omnireid.evaluation.embedder_scores import crops_to_embed, evaluate_table
    from omnireid.reports.evaluation_report import ReportedEvaluation
    from omnireid.weights.shipped import DEFAULT_WEIGHTS

    datasets = load_splits(data, reading)
    first = datasets[0]
    embedder = load_embedder(DEFAULT_WEIGHTS if weights is None else weights, runtime)
    announce(embedder)
    crops = crops_to_embed(datasets, ranking)
    started = time.perf_counter()
    embedded = embed_crops(embedder, crops, progress=True)
    embedding_s = time.perf_counter() - started
    evaluated = evaluate_table(embedded, datasets, ranking, progress=True)
    scoring_s = time.perf_counter() - started - embedding_s
    verification, note = _calibrate(
        embedded.pick(first.query), embedded.pick(first.gallery), evaluated, options, first.name
    )
    name = weights if weights is not None else DEFAULT_WEIGHTS
    facts = {
        "weights": name,
        **_describe_table(embedded),
        "trained on": embedder.metadata.training_data,
        "data set": f"{first.name}, {first.root}",
        "licence of the data": first.licence,
        **{f"note {number}": note for number, note in enumerate(first.notes, start=1)},
    }
    costs = {
        "embedding": f"{embedding_s:.1f} s for {len(crops):,} crops, {len(crops) / embedding_s:.0f} crops per second",
        "scoring": f"{scoring_s:.1f} s",
    }
    title = f"{Path(name).name} on {first.name}"
    reported = ReportedEvaluation(
        evaluated, title, facts | _describe_machine(), costs, verification, note, hides_crops=options.hide_crops
    )
    return reported, list(crops.paths)


def _score_tables(
    tables: StoredTables, options: ReportOptions, ranking: RankingOptions
) -> tuple[ReportedEvaluation, list[Path]]:
    """Score stored embeddings."""
    from omnireid.embedding.tables import read_embeddings
    from omnireid.evaluation import evaluation
    from omnireid.evaluation.embedder_scores import EvaluatedSplits
    from omnireid.reports.evaluation_report import ReportedEvaluation

    assert tables.query is not None
    assert tables.gallery is not None
    query, gallery = read_embeddings(tables.query), read_embeddings(tables.gallery)
    started = time.perf_counter()
    evaluated = evaluation.evaluate(query, gallery, ranking, progress=True)
    costs = {"scoring": f"{time.perf_counter() - started:.1f} s"}
    splits = EvaluatedSplits(evaluated.scores, (evaluated,))
    data = f"{tables.query.name} against {tables.gallery.name}"
    verification, note = _calibrate(query, gallery, splits, options, data)
    facts = {**_describe_table(query), "embeddings": data, **_describe_machine()}
    title = f"{query.provenance.model}: {data}"
    reported = ReportedEvaluation(splits, title, facts, costs, verification, note, hides_crops=options.hide_crops)
    return reported, [*query.paths, *gallery.paths]


def _calibrate(
    query: EmbeddingTable, gallery: EmbeddingTable, evaluated: EvaluatedSplits, options: ReportOptions, data: str
) -> tuple[Verification | None, str]:
    """A calibration with its figures; or None, and why there is none."""
    from omnireid.errors import CalibrationError, LabelsError, MissingDependencyError
    from omnireid.evaluation.options import CalibrationOptions
    from omnireid.evaluation.verification import calibrate, join_people, verify
    from omnireid.retrieval.calibration import read_calibration

    if options.calibration is not None:
        return verify(join_people(query, gallery), read_calibration(options.calibration)), ""
    try:
        chosen = CalibrationOptions(distance=evaluated.scores.distance)
        return calibrate(join_people(query, gallery), chosen, data=f"{data}, query and gallery"), ""
    except (CalibrationError, LabelsError, MissingDependencyError) as error:
        return None, f"There is no calibration: {error}"


def _describe_table(table: EmbeddingTable) -> dict[str, str]:
    made = table.provenance
    facts = {
        "architecture": made.model,
        "SHA-256 of the weights": made.weights_sha256,
        "licence of the weights": made.licence,
        "made for": f"{made.distance} distance",
        "runtime": made.runtime,
        "preprocessing": ", ".join(f"{name} {value}" for name, value in made.preprocessing.items()),
    }
    if made.skipped:
        facts["crops left out"] = f"{len(made.skipped):,} that cannot be read, such as {made.skipped[0][0]}"
    return facts


def _describe_machine() -> dict[str, str]:
    from datetime import UTC, datetime

    from omnireid.machine import describe

    machine, versions = describe().text().splitlines()
    return {
        "machine": machine,
        "versions": versions,
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _write(document: Any, record: dict[str, object], options: ReportOptions) -> None:
    from omnireid.files import atomic_output, write_json
    from omnireid.reports.document import render_html, render_markdown

    if options.format == "json":
        write_json(options.output, record)
        return
    text = render_html(document) if options.format == "html" else render_markdown(document)
    with atomic_output(options.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
