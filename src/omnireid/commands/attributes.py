"""``omnireid attributes``: what people wear and carry, from their embeddings. Each function is one subcommand."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import tyro

from omnireid.attributes.options import FittingOptions
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from omnireid.attributes.head import AttributedEmbeddings, AttributeHead
    from omnireid.data.attributes import Attributes
    from omnireid.embedding.embedder import Embedder

HeadOption = Annotated[
    Path | None,
    tyro.conf.arg(help="File of a head. By default the one that ships with omnireid for its default weights."),
]


@dataclass(frozen=True)
class AttributeSource:
    """Crops, or their stored embeddings, and their attributes.

    Attributes:
        data: Data set with the crops. Not needed where the attributes list their own crops, as PA-100K's do.
        attributes: Market-1501's market_attribute.mat, PA-100K's folder or annotation.mat, or a CSV or Parquet file of
            your own. By default attributes.csv in the folder of --data, as omnireid synthesize writes it.
        embeddings: Table made by omnireid embed, instead of embedding the crops of --data.
        split: Split whose crops are used, such as train, query or test. By default train to train and test to
            evaluate; test is the gallery of a re-identification data set. With --embeddings it names a split of the
            file of attributes, where that has splits; otherwise all crops of the table are used.
    """

    data: Path | None = None
    attributes: Path | None = None
    embeddings: Path | None = None
    split: str | None = None
    skip_unreadable: SkipUnreadableOption = False


def train(
    *,
    output: Path,
    source: AttributeSource = AttributeSource(),
    weights: OptionalWeights = None,
    fitting: FittingOptions = FittingOptions(),
    reading: DataOptions = DataOptions(),
    runtime: RuntimeOptions = RuntimeOptions(precision="fp32"),
) -> None:
    """Train a head on embeddings with known attributes, in seconds.

    The head is a linear map from embeddings to attributes. It belongs to the weights whose embeddings it was trained
    on, and is refused with any others.

    Example: omnireid attributes train --data people --output head.safetensors

    Args:
        output: File of the head to write. Its name ends in .safetensors.
        source: What the head learns from.
        fitting: How the head is trained.
        reading: How the data set is read.
        runtime: How the model is run.
    """
    from omnireid.attributes.fitting import fit_attribute_head
    from omnireid.attributes.head_file import write_attribute_head
    from omnireid.files import check_output

    check_output(output, suffix=".safetensors", inputs=_inputs(source, weights))
    data = _gather(source, weights, reading, runtime, default_split="train")
    started = time.perf_counter()
    head = fit_attribute_head(data, fitting)
    write_attribute_head(head, output)
    record = head.record
    people = f"{record.people:,} people" if record.people else "people not known"
    seconds = time.perf_counter() - started
    print(f"{output}: {len(head.names)} attributes from {record.crops:,} crops ({people}) in {seconds:.1f} s")
    print(f"for embeddings of {record.model} with weights {record.weights_sha256[:12]}…; licence: {record.licence}")


def evaluate(
    *,
    head: HeadOption = None,
    source: AttributeSource = AttributeSource(),
    weights: OptionalWeights = None,
    json: JsonOption = None,
    reading: DataOptions = DataOptions(),
    runtime: RuntimeOptions = RuntimeOptions(precision="fp32"),
) -> None:
    """Score a head on crops with known attributes, beside the majority baseline, with intervals over people.

    Example: omnireid attributes evaluate --data people --head head.safetensors --json scores.json

    Args:
        source: What the head is scored on.
        reading: How the data set is read.
        runtime: How the model is run.
    """
    from omnireid.attributes.evaluation import evaluate_attribute_head
    from omnireid.attributes.head_file import read_attribute_head

    check_json(json, inputs=[*_inputs(source, weights), *([] if head is None else [head])])
    loaded = read_attribute_head(head)
    data = _gather(source, weights, reading, runtime, default_split="test", head=loaded)
    scores = evaluate_attribute_head(loaded, data)
    made = data.table.provenance
    say = partial(print, file=text_stream(json))
    say(scores.table())
    say(f"{data.data} · {made.model} · weights {made.weights_sha256[:12]}… · {made.runtime}")
    leave_json(
        json,
        {
            **scores.json(),
            "data": data.data,
            "head": loaded.record.json(),
            "model": made.model,
            "weights_sha256": made.weights_sha256,
            "runtime": made.runtime,
        },
    )


def predict(
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = (),
    *,
    output: Path,
    head: HeadOption = None,
    embeddings: Path | None = None,
    weights: OptionalWeights = None,
    skip_unreadable: SkipUnreadableOption = False,
    runtime: RuntimeOptions = RuntimeOptions(precision="fp32"),
) -> None:
    """Write the attributes of crops: a column for each, with scores from 0 to 1. Above 0.5 it is predicted.

    Example: omnireid attributes predict crops/ --output crops.csv

    Args:
        images: Folders, image files, quoted globs or one manifest; nothing with --embeddings.
        output: File to write: a .parquet with the embeddings too, or a .csv without them.
        embeddings: Table made by omnireid embed, to read attributes off instead of embedding crops. For very many crops
            make one first: that can be resumed.
        runtime: How the model is run.
    """
    from omnireid.attributes.head_file import read_attribute_head
    from omnireid.attributes.prediction import check_predictions, predict_attributes, write_predictions
    from omnireid.data.listing import input_files, list_crops
    from omnireid.embedding.chunks import embed_crops
    from omnireid.embedding.tables import read_embeddings
    from omnireid.errors import DataError

    if bool(images) == (embeddings is not None):
        raise DataError("Give either crops or --embeddings, a table made by omnireid embed.")
    named = [name for name in (*images, embeddings, weights, head) if name is not None]
    check_predictions(output, inputs=input_files(named))
    loaded = read_attribute_head(head)
    if embeddings is not None:
        table = read_embeddings(embeddings)
    else:
        crops = list_crops(images)
        embedder = _load(weights, runtime, loaded)
        table = embed_crops(embedder, crops, skip_unreadable=skip_unreadable, progress=True)
    write_predictions(predict_attributes(loaded, table), loaded.names, output)
    print(f"{output}: {len(loaded.names)} attributes of {len(table):,} crops")
    if embeddings is None:
        _tell_unreadable(table.provenance.skipped, sys.stdout)
    print(f"licence of the head: {loaded.record.licence}")


def _inputs(source: AttributeSource, weights: str | None) -> Iterator[Path]:
    """The files that are read, which no output may replace."""
    from omnireid.data.listing import input_files

    named = (source.data, source.attributes, source.embeddings, weights)
    return input_files(name for name in named if name is not None)


def _load(weights: str | None, runtime: RuntimeOptions, head: AttributeHead | None) -> Embedder:
    """Load weights, after a look whether the head fits them."""
    from omnireid.attributes.head import check_weights
    from omnireid.embedding.embedder import load_embedder
    from omnireid.weights.shipped import DEFAULT_WEIGHTS

    embedder = load_embedder(DEFAULT_WEIGHTS if weights is None else weights, runtime)
    announce(embedder)
    if head is not None:
        check_weights(head, embedder.weights_sha256, embedder.metadata.architecture, "these embeddings")
    return embedder


def _gather(
    source: AttributeSource,
    weights: str | None,
    reading: DataOptions,
    runtime: RuntimeOptions,
    *,
    default_split: str,
    head: AttributeHead | None = None,
) -> AttributedEmbeddings:
    """Read the attributes, and read or compute the embeddings of their crops."""
    from omnireid.attributes.embedded import embed_attributed
    from omnireid.attributes.head import find_shared_names
    from omnireid.data.attribute_sources import load_attributed_crops, read_attributes
    from omnireid.errors import DataError

    place = source.attributes or source.data
    if place is None:
        raise DataError("Give --attributes, --data, or both. See omnireid attributes train --help.")
    known = read_attributes(place)
    for note in known.notes:
        print(f"note: {note}", file=sys.stderr)
    if head is not None:
        find_shared_names(head, known.names, known.name)  # before long work
    if source.embeddings is not None:
        return _attach_stored(source, source.embeddings, weights, known, source.split or default_split)
    has_own_crops = source.data is None or (source.attributes is None and known.crops is not None)
    crops = load_attributed_crops(known, source.split or default_split, None if has_own_crops else source.data, reading)
    embedder = _load(weights, runtime, head)
    data = embed_attributed(embedder, crops, known, skip_unreadable=source.skip_unreadable, progress=True)
    skipped = data.table.provenance.skipped
    _tell_unreadable(skipped, sys.stderr)
    _tell_without(len(crops) - len(data) - len(skipped), len(crops))
    return data


def _attach_stored(
    source: AttributeSource, embeddings: Path, weights: str | None, known: Attributes, split: str
) -> AttributedEmbeddings:
    """Read a table of embeddings, and give the crops of a split their attributes."""
    from omnireid.attributes.embedded import attach_attributes
    from omnireid.data.attribute_sources import select_split
    from omnireid.embedding.tables import read_embeddings
    from omnireid.errors import DataError

    refused: dict[str, Any] = {
        "--data": source.data if source.attributes else None,
        "--split": None if known.splits else source.split,
        "--weights": weights,
        "--skip-unreadable": source.skip_unreadable or None,
    }
    given = [flag for flag, value in refused.items() if value is not None]
    if given:
        raise DataError(f"{given[0]} has no effect on stored embeddings. Leave it out.")
    table, chosen = read_embeddings(embeddings), select_split(known, split)
    try:
        data = attach_attributes(table, chosen)
    except DataError as error:
        if not known.splits:
            raise
        raise DataError(f"{error} Only crops of the split {split} were asked for (--split).") from error
    _tell_without(len(table) - len(data), len(table), f" in the split {split}" if known.splits else "")
    return data


def _tell_unreadable(skipped: Sequence[tuple[str, str]], stream: TextIO) -> None:
    """Name the first crops that could not be read, and say how many there are."""
    for path, reason in skipped[:5]:
        print(f"left out {path}: {reason}", file=stream)
    if len(skipped) > 5:
        print(f"left out {len(skipped):,} crops in all, which cannot be read", file=stream)


def _tell_without(without: int, count: int, where: str = "") -> None:
    """Say how many of `count` crops were left out because nothing is known of their attributes."""
    if without:
        print(f"note: {without:,} of {count:,} crops have no attributes{where}.", file=sys.stderr)
