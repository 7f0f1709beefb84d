"""Pictures of an evaluation: some queries, and what was found for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from omnireid.data.matches import find_matches
from omnireid.errors import DataError
from omnireid.evaluation.protocols import check_protocol
from omnireid.files import atomic_output
from omnireid.images.decode import open_rgb
from omnireid.retrieval.search import search
from omnireid.types import JUNK_PERSON_ID, Distance, Protocol, Split

CROP_WIDTH, CROP_HEIGHT = 80, 160
_FRAME = 5
_GAP = 10
_MARGIN = 24
_TITLE_HEIGHT = 64
_RANK_HEIGHT = 26
_SCORE_WIDTH = 150

# Blue and vermilion of Okabe and Ito's palette, which colour-blind people tell apart; the mark says it once more.
_RIGHT = (0, 114, 178)
_WRONG = (213, 94, 0)
_QUERY = (70, 70, 70)
_TEXT = (30, 30, 30)
_PALE = (120, 120, 120)
_PAPER = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class _Row:
    """One query, its nearest gallery crops that count, and how well they fit."""

    query: int
    found: list[int]
    is_right: list[bool]
    true_matches: int
    average_precision: float


def draw_ranked_crops(
    query: Split,
    gallery: Split,
    query_embeddings: npt.ArrayLike,
    gallery_embeddings: npt.ArrayLike,
    output: Path,
    *,
    distance: Distance = "euclidean",
    protocol: Protocol = "single-query",
    queries: int = 8,
    ranks: int = 10,
    seed: int = 0,
    title: str = "",
) -> None:
    """Draw queries drawn at random, each with its nearest gallery crops, as a PNG.

    A right crop has a blue solid frame and a tick, a wrong one an orange frame and
    a cross. Crops that the protocol skips are not shown. Of a multi-query or
    single-gallery-shot evaluation it shows the plain ranking of single queries.

    Args:
        query: Q crops; only those with a true match are drawn.
        gallery: G crops.
        query_embeddings: (Q, D).
        gallery_embeddings: (G, D).
        output: the PNG to write.
        distance: how embeddings are compared.
        protocol: which crops are skipped.
        queries: rows, at most.
        ranks: crops a row, at most.
        seed: of the draw of the queries.
        title: a line on top, to say what is shown.

    Raises:
        NoTrueMatchError: no query has a true match.
        ImageError: a crop cannot be decoded.
        OutputError: the picture cannot be written.
    """
    if queries < 1 or ranks < 1:
        raise DataError(f"A picture has at least one query and one rank; got {queries} and {ranks}.")
    use_cameras = check_protocol(protocol, query.labels, gallery.labels) != "no-cameras"
    counted = np.sort(find_matches(query.labels, gallery.labels, use_cameras=use_cameras).queries)
    chosen = np.sort(np.random.default_rng(seed).choice(counted, size=min(queries, len(counted)), replace=False))
    order = search(np.asarray(query_embeddings)[chosen], gallery_embeddings, len(gallery), distance).indices
    rows = [_rank(query, gallery, int(index), order[row], ranks, use_cameras) for row, index in enumerate(chosen)]
    picture = _draw(query, gallery, rows, title, f"protocol {protocol}, {distance} distance")
    with atomic_output(output) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def _rank(
    query: Split, gallery: Split, index: int, order: npt.NDArray[np.int64], ranks: int, use_cameras: bool
) -> _Row:
    """The ranking of one query, without the crops that the protocol skips."""
    is_own = gallery.person_ids[order] == query.person_ids[index]
    skipped = gallery.person_ids[order] == JUNK_PERSON_ID
    if use_cameras and gallery.camera_ids is not None and query.camera_ids is not None:
        skipped |= is_own & (gallery.camera_ids[order] == query.camera_ids[index])
    kept, right = order[~skipped], is_own[~skipped]
    places = np.flatnonzero(right) + 1
    precision = np.arange(1, len(places) + 1) / places
    return _Row(index, kept[:ranks].tolist(), right[:ranks].tolist(), len(places), float(precision.mean()))


def _draw(query: Split, gallery: Split, rows: list[_Row], title: str, subtitle: str) -> Image.Image:
    columns = max(len(row.found) for row in rows)
    cell_width, cell_height = CROP_WIDTH + 2 * _FRAME + _GAP, CROP_HEIGHT + 2 * _FRAME + _GAP
    left = _MARGIN + cell_width + 2 * _GAP
    top = _MARGIN + _TITLE_HEIGHT + _RANK_HEIGHT
    width = left + columns * cell_width + _SCORE_WIDTH + _MARGIN
    picture = Image.new("RGB", (width, top + len(rows) * cell_height + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(picture)
    small, large = ImageFont.load_default(size=15), ImageFont.load_default(size=21)
    pen.text((_MARGIN, _MARGIN), title, fill=_TEXT, font=large)
    legend = f"{subtitle} · blue, tick: the same person · orange, cross: somebody else"
    pen.text((_MARGIN, _MARGIN + 32), legend, fill=_PALE, font=small)
    middle = _FRAME + CROP_WIDTH // 2
    for label, x in [("query", _MARGIN), *((str(rank + 1), left + rank * cell_width) for rank in range(columns))]:
        pen.text((x + middle, top - 8), label, fill=_PALE, font=small, anchor="ms")
    for number, row in enumerate(rows):
        y = top + number * cell_height
        _paste(picture, query.paths[row.query], (_MARGIN, y), _QUERY)
        for rank, (crop, is_right) in enumerate(zip(row.found, row.is_right, strict=True)):
            x = left + rank * cell_width
            _paste(picture, gallery.paths[crop], (x, y), _RIGHT if is_right else _WRONG)
            _mark(pen, (x + CROP_WIDTH + _FRAME - 15, y + CROP_HEIGHT + _FRAME - 15), is_right)
        text = f"AP {100 * row.average_precision:.1f} %\n{row.true_matches} to find"
        pen.text((left + columns * cell_width + _GAP, y + _FRAME + CROP_HEIGHT // 2 - 18), text, fill=_TEXT, font=small)
    return picture


def _paste(picture: Image.Image, path: Path, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """A framed crop with its upper left corner at `corner`."""
    x, y = corner
    box = (x, y, x + CROP_WIDTH + 2 * _FRAME - 1, y + CROP_HEIGHT + 2 * _FRAME - 1)
    ImageDraw.Draw(picture).rectangle(box, fill=colour)
    crop = open_rgb(path).resize((CROP_WIDTH, CROP_HEIGHT), Image.Resampling.LANCZOS)
    picture.paste(crop, (x + _FRAME, y + _FRAME))


def _mark(pen: ImageDraw.ImageDraw, centre: tuple[int, int], is_right: bool) -> None:
    """A tick or a cross in a disc, so that the colour is not needed."""
    x, y = centre
    pen.ellipse((x - 11, y - 11, x + 11, y + 11), fill=_PAPER)
    if is_right:
        pen.line([(x - 6, y), (x - 2, y + 5), (x + 6, y - 5)], fill=_RIGHT, width=3, joint="curve")
    else:
        pen.line([(x - 5, y - 5), (x + 5, y + 5)], fill=_WRONG, width=3)
        pen.line([(x - 5, y + 5), (x + 5, y - 5)], fill=_WRONG, width=3)
