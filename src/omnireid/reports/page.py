"""A page of titled rows of pictures with captions, written as PNG or as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from omnireid.errors import OutputError
from omnireid.files import atomic_output
from omnireid.reports.document import render_html
from omnireid.reports.heat_maps import PALE, PAPER, TEXT
from omnireid.reports.parts import Document, Section

PAGE_SUFFIXES = (".png", ".html")
_MARGIN = 24
_GAP = 12
_LINE = 17
_TITLE_LINE = 24
_LEAST_WIDTH = 860
_LEAST_CAPTION = 90


def check_page_name(output: Path) -> None:
    """Check that the name of a page says how it is written.

    Raises:
        OutputError: It ends neither in .png nor in .html.
    """
    if output.suffix.lower() not in PAGE_SUFFIXES:
        raise OutputError(
            f"A page's name ends in {' or '.join(PAGE_SUFFIXES)}; got {output}. Try {output.with_suffix('.html')}."
        )


def write_page(output: Path, title: str, sections: Sequence[Section]) -> None:
    """Write a page, as PNG or HTML by the suffix of its name.

    Raises:
        OutputError: The name has another suffix, or the file cannot be written.
    """
    check_page_name(output)
    with atomic_output(output) as temporary:
        if output.suffix.lower() == ".png":
            _compose_picture(title, sections).save(temporary, format="PNG", optimize=True)
        else:
            temporary.write_text(render_html(Document(title, sections)), encoding="utf-8")


def _compose_picture(title: str, sections: Sequence[Section]) -> Image.Image:
    """Lay everything out once to learn the height, then draw."""
    rows = [row for section in sections for row in section.rows]
    width = 2 * _MARGIN + max([_LEAST_WIDTH, *(sum(panel.image.width + _GAP for panel in row) - _GAP for row in rows)])
    ruler = Image.new("RGB", (1, 1))
    height = _lay_out(ImageDraw.Draw(ruler), None, width, title, sections)
    picture = Image.new("RGB", (width, height), PAPER)
    _lay_out(ImageDraw.Draw(picture), picture, width, title, sections)
    return picture


def _lay_out(
    pen: ImageDraw.ImageDraw, picture: Image.Image | None, width: int, title: str, sections: Sequence[Section]
) -> int:
    """Draw the page, or only measure it where there is no picture; returns its height."""
    large, medium, small = (ImageFont.load_default(size=size) for size in (20, 17, 13))
    pen.text((_MARGIN, _MARGIN), title, fill=TEXT, font=large)
    y = _MARGIN + _TITLE_LINE
    for section in sections:
        y += 2 * _GAP
        pen.text((_MARGIN, y), section.title, fill=TEXT, font=medium)
        y += _TITLE_LINE
        for line in _wrap(section.text, width - 2 * _MARGIN, small):
            pen.text((_MARGIN, y), line, fill=PALE, font=small)
            y += _LINE
        for row in section.rows:
            y += _GAP
            x, lowest = _MARGIN, y
            for panel in row:
                if picture is not None:
                    picture.paste(panel.image, (x, y))
                below = y + panel.image.height + 3
                for line in _wrap(panel.caption, max(panel.image.width, _LEAST_CAPTION), small):
                    pen.text((x, below), line, fill=TEXT, font=small)
                    below += _LINE
                lowest = max(lowest, below)
                x += panel.image.width + _GAP
            y = lowest
    return y + _MARGIN


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break a text into lines of at most `width` pixels: between words, and inside a word that is longer."""
    lines = []
    for part in text.splitlines():
        line = ""
        for word in part.split(" "):
            candidate = f"{line} {word}" if line else word
            if font.getlength(candidate) > width and line:
                lines.append(line)
                candidate = word
            while font.getlength(candidate) > width and len(candidate) > 1:
                fits = next(
                    n for n in range(len(candidate) - 1, 0, -1) if n == 1 or font.getlength(candidate[:n]) <= width
                )
                lines.append(candidate[:fits])
                candidate = candidate[fits:]
            line = candidate
        lines.append(line)
    return lines
