"""Pictures of a search in a gallery: the queries, each with the sightings found for it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from omnireid.errors import ImageError
from omnireid.files import atomic_output, check_output
from omnireid.gallery.found import GalleryMatches
from omnireid.reports.ranked_crops import CROP_HEIGHT, CROP_WIDTH, FRAME, paste_crop

_GAP = 14
_MARGIN = 24
_TITLE_HEIGHT = 44
_TEXT_HEIGHT = 56
CELL_WIDTH, CELL_HEIGHT = CROP_WIDTH + 2 * FRAME + _GAP, CROP_HEIGHT + 2 * FRAME + _TEXT_HEIGHT
"""Pixels that a framed crop with its lines of text takes."""
_QUERY = (70, 70, 70)
_FOUND = (0, 114, 178)
_TEXT = (30, 30, 30)
_PALE = (120, 120, 120)
_PAPER = (255, 255, 255)


def draw_gallery_matches(
    found: GalleryMatches, output: Path, *, queries: int = 8, ranks: int = 10, title: str = ""
) -> None:
    """Draw the first queries, each with the first sightings found for it, as a PNG.

    Under a sighting stand its distance, its person and its camera. A picture that is gone or cannot be read leaves an
    empty frame.

    Args:
        found: What was found.
        output: The PNG to write. It never replaces one of the crops.
        queries: Number of rows, at most.
        ranks: Number of sightings in a row, at most.
        title: First line of the picture.

    Raises:
        OutputError: the picture cannot be written.
    """
    rows = [found[number][:ranks] for number in range(min(queries, len(found)))]
    paths = [match.sighting.path for row in rows for match in row]
    check_output(output, suffix=".png", inputs=[*found.queries, *paths])
    columns = 1 + max((len(row) for row in rows), default=0)
    size = (2 * _MARGIN + columns * CELL_WIDTH, 2 * _MARGIN + _TITLE_HEIGHT + len(rows) * CELL_HEIGHT)
    picture = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_MARGIN, _MARGIN), title, fill=_TEXT, font=ImageFont.load_default(size=21))
    for number, row in enumerate(rows):
        y = _MARGIN + _TITLE_HEIGHT + number * CELL_HEIGHT
        draw_cell(picture, found.queries[number], (_MARGIN, y), ("query",), _QUERY)
        for match in row:
            seen = match.sighting
            camera = "" if seen.camera is None else f"camera {seen.camera}"
            texts = (f"{match.rank}: {match.distance:.3f}", seen.person or "", camera)
            draw_cell(picture, seen.path, (_MARGIN + match.rank * CELL_WIDTH, y), texts, _FOUND)
    with atomic_output(output) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def draw_cell(
    picture: Image.Image, path: str, corner: tuple[int, int], texts: tuple[str, ...], colour: tuple[int, int, int]
) -> None:
    """Draw a framed crop with lines of text under it."""
    x, y = corner
    pen = ImageDraw.Draw(picture)
    small = ImageFont.load_default(size=13)
    try:
        paste_crop(picture, Path(path), corner, colour)
    except ImageError:
        pen.rectangle((x, y, x + CROP_WIDTH + 2 * FRAME - 1, y + CROP_HEIGHT + 2 * FRAME - 1), outline=_PALE)
        pen.text((x + FRAME, y + CROP_HEIGHT // 2), "no picture", fill=_PALE, font=small)
    for line, text in enumerate(texts):
        pen.text((x, y + CROP_HEIGHT + 2 * FRAME + 2 + 16 * line), text[:14], fill=_TEXT, font=small)
