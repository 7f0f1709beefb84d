"""``omnireid gallery``: sightings that last. Each function is one subcommand."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.commands.gallery_people import open_gallery
from omnireid.commands.options import (
    GalleryOption,
    JsonOption,
    OptionalWeights,
    SkipUnreadableOption,
    WeightsOption,
    announce,
    check_json,
    leave_json,
    text_stream,
)
from omnireid.embedding.options import RuntimeOptions
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.options import AddOptions, ErasureOptions, PersonQuery

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder
    from omnireid.embedding.tables import EmbeddingTable
    from omnireid.gallery.erasure import ErasureReceipt
    from omnireid.types import Crops

ReceiptOption = Annotated[
    Path | None, tyro.conf.arg(help="Write the signed receipt, which says what was erased, to this JSON file.")
]
_CROPS = "Folders, image files, quoted globs, one manifest (.csv, .parquet), or one table made by omnireid embed."
CropsPositional = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CROPS", help=_CROPS)]


@dataclass(frozen=True)
class SearchOptions:
    """What is found for each query.

    Attributes:
        count: Number of sightings to find for each query.
        not_same_camera: Leave out sightings by the query's own camera, which a manifest or Market-1501-style name
            must say.
        prior: With a calibration, the probability that a sighting shows the query's person, before anybody looked. By
            default a half, shared among the people of the gallery.
        timezone: Zone of queries' times that state none, such as Europe/Berlin. Times are read where the gallery's
            calibration has curves by the time between two crops.
        exact: Compare every sighting, also where optimize chose an index, which may miss a near one.
    """

    count: int = 20
    not_same_camera: bool = False
    prior: float | None = None
    timezone: str | None = None
    exact: bool = False


@dataclass(frozen=True)
class SearchOutputs:
    """Files that are written besides the printed list.

    Attributes:
        picture: Draw the queries, each with the sightings found for it, in this PNG file.
    """

    json: JsonOption = None
    picture: Path | None = None


def add(
    crops: CropsPositional,
    *,
    gallery: GalleryOption,
    weights: OptionalWeights = None,
    adding: AddOptions = AddOptions(),
    skip_unreadable: SkipUnreadableOption = False,
    json: JsonOption = None,
    runtime: RuntimeOptions = RuntimeOptions(),
) -> None:
    """Add crops to a gallery, and make it where there is none yet.

    Every crop becomes one sighting, with what a manifest says of it: person_id, camera_id, time, track, box_xyxy and
    columns of your own. A crop that is there already, with the same content, camera and time, is not added again, so
    the same command goes on after a kill. A gallery belongs to one model: without --weights, its own.

    Example: omnireid gallery add crops/ --gallery people.gallery

    Args:
        adding: How crops are added.
        runtime: How the model is run.
    """
    from omnireid.gallery.gallery import Gallery

    check_json(json)
    source = _read_source(crops)
    embedder = _load_embedder(gallery, weights, runtime, needed=not _is_table(source))
    opened = Gallery.open(gallery, embedder, float_type=adding.float_type)
    summary = opened.add(
        source,
        timezone=adding.timezone,
        skip_unreadable=skip_unreadable,
        keep_all=adding.keep_all,
        progress=True,
    )
    say = text_stream(json)
    print(f"{gallery}: {summary.added:,} sightings added, {summary.found:,} were there already", file=say)
    if summary.left_out:
        print(f"{len(summary.left_out):,} crops were left out:", file=say)
        for path, reason in summary.left_out:
            print(f"  {path}: {reason}", file=say)
    leave_json(json, summary.json())


def search(
    queries: CropsPositional = (),
    *,
    gallery: GalleryOption,
    weights: OptionalWeights = None,
    query: PersonQuery = PersonQuery(),
    asked: SearchOptions = SearchOptions(),
    which: SightingFilter = SightingFilter(),
    outputs: SearchOutputs = SearchOutputs(),
    runtime: RuntimeOptions = RuntimeOptions(),
) -> None:
    """Find the sightings nearest to each query, or to a person of the gallery, nearest first.

    Example: omnireid gallery search query.jpg --gallery people.gallery --count 20 --picture found.png --json -

    Args:
        query: Whom to search for, besides crops.
        asked: What is found for each query.
        which: Which sightings count.
        outputs: Files that are written.
        runtime: How the model is run.
    """
    from omnireid.errors import SettingError
    from omnireid.files import check_output
    from omnireid.gallery.gallery import Gallery

    check_json(outputs.json)
    if outputs.picture is not None:
        check_output(outputs.picture, suffix=".png", inputs=queries)
    if (query.person is None) == (not queries):
        raise SettingError("Give crops to search for, or --person with somebody of the gallery; one of both.")
    if query.person is not None:
        found = Gallery.open(gallery).search_person(query.person, asked.count, which, method=query.method)
    else:
        source = _read_source(queries)
        embedder = _load_embedder(gallery, weights, runtime, needed=not _is_table(source))
        opened = Gallery.open(gallery, embedder)
        found = opened.search(
            source,
            asked.count,
            which,
            not_same_camera=asked.not_same_camera,
            prior=asked.prior,
            timezone=asked.timezone,
            exact=asked.exact,
        )
    print(found.table(), file=text_stream(outputs.json))
    leave_json(outputs.json, found.json())
    if outputs.picture is not None:
        from omnireid.reports.gallery_matches import draw_gallery_matches

        draw_gallery_matches(found, outputs.picture, title=gallery)


def remove(
    *,
    gallery: GalleryOption,
    erasing: ErasureOptions = ErasureOptions(),
    receipt: ReceiptOption = None,
    json: JsonOption = None,
) -> None:
    """Erase sightings: rows, old versions, and their names in the log; then search every file for them.

    What is left is written anew, which needs as much free space as the gallery takes. The pictures themselves are not
    touched. Example: omnireid gallery remove --gallery people.gallery --person anna --block --receipt receipt.json

    Args:
        erasing: Which sightings are erased.
    """
    _check_receipt(receipt, json)
    _leave_receipt(open_gallery(gallery).remove(erasing), receipt, json)


def retain(
    *,
    gallery: GalleryOption,
    days: int,
    receipt: ReceiptOption = None,
    json: JsonOption = None,
) -> None:
    """Erase sightings older than a number of days, as remove --before does. Sightings without a time stay.

    Example: omnireid gallery retain --gallery people.gallery --days 30

    Args:
        days: Sightings younger than this many days stay.
    """
    _check_receipt(receipt, json)
    _leave_receipt(open_gallery(gallery).retain(days), receipt, json)


def optimize(*, gallery: GalleryOption, json: JsonOption = None) -> None:
    """Join small files, delete old versions, and make an index where it is faster than comparing every sighting.

    Its recall is measured against the exact answer and printed; an index that finds too little is not used.

    Example: omnireid gallery optimize --gallery people.gallery
    """
    check_json(json)
    report = open_gallery(gallery).optimize()
    print(report.table(), file=text_stream(json))
    leave_json(json, report.json())


def calibrate(
    calibration: Annotated[
        Path, tyro.conf.Positional, tyro.conf.arg(metavar="CALIBRATION", help="File made by omnireid calibrate.")
    ],
    *,
    gallery: GalleryOption,
) -> None:
    """Keep a calibration with the gallery, so that a search prints probabilities and verdicts.

    It must be for the gallery's own weights.

    Example: omnireid gallery calibrate calibration.json --gallery people.gallery
    """
    from omnireid.retrieval.calibration import read_calibration

    kept = read_calibration(calibration)
    open_gallery(gallery).set_calibration(kept)
    new, same = kept.thresholds
    print(f"{gallery}: calibrated on {kept.data}; same from {same:.2f}, new below {new:.2f}, ask between")


def reindex(
    *,
    gallery: GalleryOption,
    weights: WeightsOption,
    skip_unreadable: SkipUnreadableOption = False,
    json: JsonOption = None,
    runtime: RuntimeOptions = RuntimeOptions(),
) -> None:
    """Embed every sighting again from its picture, with other weights, to which the gallery then belongs.

    With --skip-unreadable, sightings whose pictures are gone are dropped. A stopped command goes on when it is run
    again. Example: omnireid gallery reindex --gallery people.gallery --weights osnet_x1_0_msmt17.pth

    Args:
        runtime: How the model is run.
    """
    check_json(json)
    embedder = load_gallery_embedder(gallery, weights, runtime)
    _, summary = open_gallery(gallery).reindex(embedder, skip_unreadable=skip_unreadable, progress=True)
    say = text_stream(json)
    print(f"{gallery}: {summary.embedded:,} sightings embedded with {embedder.metadata.architecture}", file=say)
    for path, reason in summary.left_out:
        print(f"  dropped {path}: {reason}", file=say)
    leave_json(json, summary.json())


def info(*, gallery: GalleryOption, json: JsonOption = None) -> None:
    """Show what a gallery is: its model, its size, its cameras and times.

    Example: omnireid gallery info --gallery people.gallery
    """
    check_json(json)
    shown = open_gallery(gallery).info()
    print(shown.table(), file=text_stream(json))
    leave_json(json, shown.json())


def check(*, gallery: GalleryOption, json: JsonOption = None) -> None:
    """Read everything in a gallery, and list what is wrong. The exit code is 2 where something is.

    Example: omnireid gallery check --gallery people.gallery
    """
    from omnireid.errors import GalleryError

    check_json(json)
    report = open_gallery(gallery).check()
    say = text_stream(json)
    leave_json(json, report.json())
    for problem in report.problems:
        print(problem, file=say)
    if report.problems:
        raise GalleryError(f"{gallery} has {len(report.problems):,} problems, listed above.")
    print(f"{gallery}: {report.sightings:,} sightings, sound", file=say)


def _check_receipt(receipt: Path | None, json: Path | None) -> None:
    from omnireid.files import check_output

    check_json(json)
    if receipt is not None:
        check_output(receipt, suffix=".json")


def _leave_receipt(erased: ErasureReceipt, receipt: Path | None, json: Path | None) -> None:
    from omnireid.files import write_json

    if receipt is not None:
        write_json(receipt, erased.json())
    leave_json(json, erased.json())
    print(
        f"{erased.gallery}: {erased.sightings:,} sightings erased, nothing left of {erased.people:,} people; "
        f"{erased.bytes:,} bytes in {erased.files:,} files searched, found {erased.found}",
        file=text_stream(json),
    )


def _read_source(names: tuple[str, ...]) -> Crops | EmbeddingTable:
    """The crops that are named, or the table of embeddings."""
    from omnireid.data.folders import given_path
    from omnireid.data.listing import list_crops
    from omnireid.embedding.tables import is_embedding_table, read_embeddings

    if len(names) == 1 and is_embedding_table(given_path(names[0])):
        return read_embeddings(names[0])
    return list_crops(names)


def _is_table(source: Crops | EmbeddingTable) -> bool:
    from omnireid.embedding.tables import EmbeddingTable

    return isinstance(source, EmbeddingTable)


def _load_embedder(gallery: str, weights: str | None, runtime: RuntimeOptions, *, needed: bool) -> Embedder | None:
    """The model of `load_gallery_embedder`; None where none is needed."""
    return load_gallery_embedder(gallery, weights, runtime) if needed or weights is not None else None


def load_gallery_embedder(gallery: str, weights: str | None, runtime: RuntimeOptions) -> Embedder:
    """The model: the one that was named, else the gallery's own, else the default."""
    from omnireid.embedding.embedder import load_embedder
    from omnireid.embedding.weights_file import find_shipped_by_content
    from omnireid.errors import WeightsNotFoundError
    from omnireid.gallery.gallery import Gallery
    from omnireid.weights.shipped import DEFAULT_WEIGHTS

    if weights is not None:
        embedder = load_embedder(weights, runtime)
    else:
        model = Gallery.open(gallery).model
        weights = DEFAULT_WEIGHTS if model is None else model.weights
        if not weights and model is not None and (shipped := find_shipped_by_content(model.weights_sha256)) is not None:
            weights = str(shipped.path)  # a gallery that was filled with embeddings does not know where its weights are
        try:
            embedder = load_embedder(weights, runtime)
        except WeightsNotFoundError:
            raise WeightsNotFoundError(
                f"The weights of the gallery {gallery} are not where they were ({weights or 'nobody said where'}). "
                f"Name them with --weights, or embed its pictures with others: omnireid gallery reindex"
            ) from None
    announce(embedder)
    sys.stderr.flush()
    return embedder
