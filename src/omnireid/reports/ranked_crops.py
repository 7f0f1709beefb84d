"""Pictures of an evaluation: some queries, and what was found for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from omnireid.evaluation.evaluation import EvaluatedCrops, Evaluation
from omnireid.files import atomic_output, check_output
from omnireid.images.decode import open_rgb
from omnireid.types import check_whole_number

CROP_WIDTH, CROP_HEIGHT = 80, 160
FRAME = 5
_GAP = 10
_MARGIN = 24
_TITLE_HEIGHT = 64
_RANK_HEIGHT = 26
_SCORE_WIDTH = 150

# Blue and vermilion of Okabe and Ito's palette, which colour-blind people can tell apart; the mark says it again.
_RIGHT = (0, 114, 178)
_WRONG = (213, 94, 0)
_QUERY = (70, 70, 70)
_TEXT = (30, 30, 30)
_PALE = (120, 120, 120)
_PAPER = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class _Row:
    """One query with the first crops of its ranking."""

    query: int
    found: list[int]
    is_right: list[bool]
    true_matches: int
    average_precision: float


def draw_ranked_crops(
    evaluation: Evaluation, output: Path, *, queries: int = 8, ranks: int = 10, seed: int = 0, title: str = ""
) -> None:
    """Draw random queries, each with the first crops of its ranking, as a PNG.

    A right crop has a solid blue frame and a tick, a wrong one an orange frame and a
    cross. The ranking is the one that was scored: expanded and re-ranked where that
    was asked for, and without the crops that the protocol skips.

    Args:
        evaluation: Queries, gallery and rankings. Only counted queries are drawn.
        output: The PNG to write. It never replaces one of the crops.
        queries: Number of rows, at most.
        ranks: Number of crops in a row, at most; an evaluation keeps 50 by default.
        seed: Seed for the draw of the queries.
        title: First line of the picture.

    Raises:
        SettingError: a number is below 1.
        ImageError: a crop cannot be decoded.
        OutputError: the picture cannot be written.
    """
    check_whole_number(queries, "queries", least=1)
    check_whole_number(ranks, "ranks", least=1)
    check_output(output, suffix=".png", inputs=[*evaluation.crops.query.paths, *evaluation.crops.gallery.paths])
    counted = np.flatnonzero(evaluation.query_scores.is_counted)
    chosen = np.sort(np.random.default_rng(seed).choice(counted, size=min(queries, len(counted)), replace=False))
    rows = [_make_row(evaluation, int(query), ranks) for query in chosen]
    picture = _draw_rows(evaluation.crops, rows, title, _describe_ranking(evaluation))
    with atomic_output(output) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def _make_row(evaluation: Evaluation, query: int, ranks: int) -> _Row:
    found = evaluation.ranked.indices[query, :ranks]
    is_ranked = found >= 0
    scores = evaluation.query_scores
    return _Row(
        query=query,
        found=found[is_ranked].tolist(),
        is_right=evaluation.is_true_match[query, :ranks][is_ranked].tolist(),
        true_matches=int(scores.true_matches[query]),
        average_precision=float(scores.average_precision[query]),
    )


def _describe_ranking(evaluation: Evaluation) -> str:
    """Protocol, distance, and what else changed the order."""
    scores = evaluation.scores
    parts = [f"protocol {scores.protocol}", f"{scores.distance} distance"]
    parts += ["expanded queries"] if scores.expansion is not None else []
    parts += ["re-ranked"] if scores.reranking is not None else []
    return ", ".join(parts)


def _draw_rows(crops: EvaluatedCrops, rows: list[_Row], title: str, subtitle: str) -> Image.Image:
    columns = max(len(row.found) for row in rows)
    cell_width, cell_height = CROP_WIDTH + 2 * FRAME + _GAP, CROP_HEIGHT + 2 * FRAME + _GAP
    left = _MARGIN + cell_width + 2 * _GAP
    top = _MARGIN + _TITLE_HEIGHT + _RANK_HEIGHT
    width = left + columns * cell_width + _SCORE_WIDTH + _MARGIN
    picture = Image.new("RGB", (width, top + len(rows) * cell_height + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(picture)
    small, large = ImageFont.load_default(size=15), ImageFont.load_default(size=21)
    pen.text((_MARGIN, _MARGIN), title, fill=_TEXT, font=large)
    legend = f"{subtitle} · blue, tick: the same person · orange, cross: somebody else"
    pen.text((_MARGIN, _MARGIN + 32), legend, fill=_PALE, font=small)
    middle = FRAME + CROP_WIDTH // 2
    for label, x in [("query", _MARGIN), *((str(rank + 1), left + rank * cell_width) for rank in range(columns))]:
        pen.text((x + middle, top - 8), label, fill=_PALE, font=small, anchor="ms")
    for number, row in enumerate(rows):
        y = top + number * cell_height
        paste_crop(picture, crops.query.paths[row.query], (_MARGIN, y), _QUERY)
        for rank, (crop, is_right) in enumerate(zip(row.found, row.is_right, strict=True)):
            x = left + rank * cell_width
            paste_crop(picture, crops.gallery.paths[crop], (x, y), _RIGHT if is_right else _WRONG)
            _draw_mark(pen, (x + CROP_WIDTH + FRAME - 15, y + CROP_HEIGHT + FRAME - 15), is_right)
        text = f"AP {100 * row.average_precision:.1f} %\n{row.true_matches} to find"
        pen.text((left + columns * cell_width + _GAP, y + FRAME + CROP_HEIGHT // 2 - 18), text, fill=_TEXT, font=small)
    return picture


def paste_crop(picture: Image.Image, path: Path, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Paste a framed crop with its upper left corner at `corner`."""
    x, y = corner
    box = (x, y, x + CROP_WIDTH + 2 * FRAME - 1, y + CROP_HEIGHT + 2 * FRAME - 1)
    ImageDraw.Draw(picture).rectangle(box, fill=colour)
    crop = open_rgb(path).resize((CROP_WIDTH, CROP_HEIGHT), Image.Resampling.LANCZOS)
    picture.paste(crop, (x + FRAME, y + FRAME))


def _draw_mark(pen: ImageDraw.ImageDraw, centre: tuple[int, int], is_right: bool) -> None:
    """Draw a tick or a cross in a disc, so that the colour is not needed."""
    x, y = centre
    pen.ellipse((x - 11, y - 11, x + 11, y + 11), fill=_PAPER)
    if is_right:
        pen.line([(x - 6, y), (x - 2, y + 5), (x + 6, y - 5)], fill=_RIGHT, width=3, joint="curve")
    else:
        pen.line([(x - 5, y - 5), (x + 5, y + 5)], fill=_WRONG, width=3)
        pen.line([(x - 5, y + 5), (x + 5, y - 5)], fill=_WRONG, width=3)
