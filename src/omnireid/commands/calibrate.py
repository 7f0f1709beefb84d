"""``omnireid calibrate``: what a distance between two crops means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.commands.options import JsonOption, WeightsOption, announce, check_json, leave_json, text_stream
from omnireid.data.options import DataOptions
from omnireid.embedding.options import RuntimeOptions
from omnireid.evaluation.options import CalibrationOptions
from omnireid.weights.shipped import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from omnireid.embedding.tables import EmbeddingTable
    from omnireid.evaluation.verification import Verification
    from omnireid.types import Dataset


@dataclass(frozen=True)
class CalibrationSource:
    """Where pairs of crops come from, of which it is known whether they show one person.

    Attributes:
        data: Folder or manifest of a data set with labelled people. Of several published splits the first is taken.
        tracks: Tables of tracks, which need no labels: crops of one track are one person, and boxes of one frame are
            different people. A table of omnireid link also says what pairs from two cameras mean.
    """

    data: Path | None = None
    tracks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class StartingCalibration:
    """A calibration of other data to begin with.

    Attributes:
        adapt: Begin with this calibration, and only stretch and shift it to fit this data.
        pairs: Number of labelled pairs it is adapted with, half of them of one person. 0 only measures it here.
    """

    adapt: Path | None = None
    pairs: int = 200


@dataclass(frozen=True)
class CalibrationOutputs:
    """Files that are written besides the calibration.

    Attributes:
        picture: Draw distances, error rates and reliability in this PNG file, which takes omnireid[train].
    """

    json: JsonOption = None
    picture: Path | None = None


def calibrate(
    *,
    source: CalibrationSource,
    weights: WeightsOption = DEFAULT_WEIGHTS,
    output: Path | None = None,
    calibration: CalibrationOptions = CalibrationOptions(),
    start: StartingCalibration = StartingCalibration(),
    outputs: CalibrationOutputs = CalibrationOutputs(),
    reading: DataOptions = DataOptions(),
    runtime: RuntimeOptions = RuntimeOptions(precision="fp32"),
) -> None:
    """Learn which probability a distance stands for, from crops of known people.

    The people of query and gallery are split: curves are fitted on some and measured
    on the others. They should be people, and best of all cameras, like those the
    calibration will be used for; on other cameras it can be far off, and --adapt with
    some hundred labelled pairs sets most of that right. docs/calibration.md explains
    what a probability means.

    Example: omnireid calibrate --data Market-1501-v15.09.15 --frame-rate 25 --output calibration.json

    Example: omnireid calibrate --data MY_CROPS --adapt calibration.json --pairs 200 --output mine.json

    Example: omnireid calibrate --tracks people.parquet --output mine.json

    Args:
        source: Where pairs come from.
        output: The calibration to write, a .json file. Without it the figures are only printed.
        calibration: How it is fitted, and what mistakes cost.
        start: A calibration of other data to begin with.
        outputs: Files that are written besides the calibration.
        reading: How the data set is read.
        runtime: How the model is run.
    """
    from omnireid.data.listing import input_files
    from omnireid.errors import SettingError, require
    from omnireid.files import check_output
    from omnireid.plots import require_plots

    data = source.data
    if (data is None) == (not source.tracks):
        raise SettingError("Say where the pairs come from: give either --data or --tracks.")
    if source.tracks and start != StartingCalibration():
        raise SettingError("--adapt and --pairs need labels; with --tracks there are none.")
    starting = [] if start.adapt is None else [start.adapt]
    inputs = [*input_files([weights, *([] if data is None else [data])]), *source.tracks, *starting]
    if output is not None:
        check_output(output, suffix=".json", inputs=inputs)
    check_json(outputs.json, inputs=[*inputs, *([output] if output is not None else [])])
    if outputs.picture is not None:
        check_output(outputs.picture, suffix=".png", inputs=inputs)
        require_plots()
    if start.adapt is None and start != StartingCalibration():
        raise SettingError("--pairs belongs to --adapt: name the calibration to begin with.")
    if start.pairs < 0:
        raise SettingError(f"--pairs must be 0 or a positive number; got {start.pairs}.")
    if start.adapt is not None and start.pairs == 0 and output is not None:
        raise SettingError(
            "--pairs 0 only measures the calibration of --adapt, so there is none to write: drop --output."
        )
    require("scipy", "gallery", "Fitting a calibration")
    if data is None:
        _leave(None, _calibrate_tracks(source.tracks, calibration, seed=reading.seed), output, outputs)
        return
    table, dataset = _embed(str(weights), data, reading, runtime, json=outputs.json)
    before, found = _find_calibration(table, dataset, calibration, start, seed=reading.seed)
    _leave(before, found, output, outputs)


def _calibrate_tracks(tracks: tuple[Path, ...], options: CalibrationOptions, *, seed: int) -> Verification:
    from omnireid.errors import SettingError
    from omnireid.evaluation.track_calibration import calibrate_tracks
    from omnireid.tracking.camera_tables import join_tables
    from omnireid.tracking.track_table import read_track_table

    tables = {str(path): read_track_table(path) for path in tracks}
    if len(tables) < len(tracks):
        raise SettingError("A table of tracks is named twice in --tracks. Name each once.")
    table = join_tables(tables)
    if len(tables) > 1:
        table = replace(table, people={})  # numbers of people count within each table only
    return calibrate_tracks(table, options, data=", ".join(path.name for path in tracks), seed=seed)


def _embed(
    weights: str, data: Path, reading: DataOptions, runtime: RuntimeOptions, *, json: Path | None
) -> tuple[EmbeddingTable, Dataset]:
    """Embed the people of query and gallery."""
    from omnireid.data.datasets import load_dataset
    from omnireid.embedding.chunks import embed_crops
    from omnireid.embedding.embedder import load_embedder
    from omnireid.evaluation.verification import people_to_calibrate

    say = partial(print, file=text_stream(json))
    dataset = load_dataset(data, reading.layout, split=reading.split_index or 0, seed=reading.seed)
    crops = people_to_calibrate(dataset)
    embedder = load_embedder(weights, runtime)
    announce(embedder)
    say(f"{dataset.name}: {len(crops):,} crops of people who are searched for, licence: {dataset.licence}")
    if dataset.split_count > 1:
        say(f"split {dataset.split_index} of {dataset.split_count}")
    return embed_crops(embedder, crops, progress=True), dataset


def _find_calibration(
    table: EmbeddingTable, dataset: Dataset, options: CalibrationOptions, start: StartingCalibration, *, seed: int
) -> tuple[Verification | None, Verification]:
    """Fit, adapt or only measure a calibration; with --adapt also how it was before."""
    from omnireid.evaluation.verification import adapt, calibrate, verify
    from omnireid.retrieval.calibration import read_calibration

    data = f"{dataset.name}, query and gallery"
    if start.adapt is None:
        return None, calibrate(table, options, data=data, seed=seed)
    begin = read_calibration(start.adapt)
    if start.pairs == 0:
        return None, verify(table, begin, frame_rate=options.frame_rate, seed=seed)
    return adapt(table, begin, start.pairs, options, data=data, seed=seed)


def _leave(before: Verification | None, found: Verification, output: Path | None, outputs: CalibrationOutputs) -> None:
    """Print the figures and write the files."""
    from omnireid.retrieval.calibration import write_calibration
    from omnireid.version import __version__

    say = partial(print, file=text_stream(outputs.json))
    if before is not None:
        say(f"before:\n{before.table()}\n\nadapted:")
    say(found.table())
    if outputs.picture is not None:
        from omnireid.reports.calibration_figure import draw_calibration

        draw_calibration(found, outputs.picture)
        say(f"picture: {outputs.picture}")
    if output is not None:
        write_calibration(found.calibration, output)
        say(f"calibration: {output}")
    record: dict[str, Any] = {**found.json(), "omnireid_version": __version__}
    if before is not None:
        record["before"] = before.json()
    leave_json(outputs.json, record)
