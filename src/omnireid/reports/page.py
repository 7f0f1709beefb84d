"""A page of titled rows of pictures with captions, written as PNG or as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from omnireid.errors import OutputError
from omnireid.files import atomic_output
from omnireid.reports.heat_maps import PALE, PAPER, TEXT

PAGE_SUFFIXES = (".png", ".html")
_MARGIN = 24
_GAP = 12
_LINE = 17
_TITLE_LINE = 24
_LEAST_WIDTH = 860
_LEAST_CAPTION = 90

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1e1e1e; margin: 24px; max-width: 1100px; }
h1 { font-size: 21px } h2 { font-size: 18px; margin: 32px 0 4px }
p, figcaption { color: #555 } p { max-width: 52em; white-space: pre-line }
.row { display: flex; flex-wrap: wrap; gap: 12px; margin: 12px 0 }
figure { margin: 0 } figcaption { white-space: pre-line; font-size: 13px; overflow-wrap: anywhere }
"""


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with a caption.

    Attributes:
        image: The picture, drawn in its own size.
        caption: Lines of text below it.
    """

    image: Image.Image
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        text: What it shows and how to read it.
        rows: Rows of panels.
    """

    title: str
    text: str
    rows: Sequence[Sequence[Panel]] = ()


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
            temporary.write_text(_compose_html(title, sections), encoding="utf-8")


def _compose_html(title: str, sections: Sequence[Section]) -> str:
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>")
        for row in section.rows:
            figures = "".join(_compose_figure(panel) for panel in row)
            parts.append(f'<div class="row">{figures}</div>')
    return "\n".join([*parts, "</body></html>\n"])


def _compose_figure(panel: Panel) -> str:
    content = io.BytesIO()
    panel.image.save(content, format="PNG", optimize=True)
    data = base64.b64encode(content.getvalue()).decode()
    caption = escape(panel.caption, quote=True)
    return (
        f'<figure style="max-width:{max(panel.image.width, 100)}px"><img src="data:image/png;base64,{data}" '
        f'width="{panel.image.width}" height="{panel.image.height}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


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
