"""A document as one HTML file that needs nothing else, or as Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING

from omnireid.reports.parts import Block, Chart, Document, Section, Strip, Table

if TYPE_CHECKING:
    from jinja2 import Template
    from PIL import Image

_MARKS = {"query": "query", "right": "✓", "wrong": "✗", "plain": ""}


def render_html(document: Document) -> str:
    """The document as HTML. It loads nothing: pictures and style are in it, and it has no script."""
    template, style = _load_template()
    return template.render(document=document, style=style)


def render_markdown(document: Document) -> str:
    """The document as Markdown, with every chart as its table of values and no picture."""
    return "\n".join(_markdown_lines(document)).rstrip() + "\n"


@cache
def _load_template() -> tuple[Template, object]:
    """The template, and the style as text that is not escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = files("omnireid.reports").joinpath("templates")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "base64": lambda content: base64.b64encode(content).decode(),
        "png": _encode_png,
        "drawing": Markup,  # charts escape their own texts
        "groups": lambda blocks: [
            (kind, list(same)) for kind, same in groupby(blocks, key=lambda one: type(one).__name__)
        ],
    }
    style = folder.joinpath("document.css").read_text(encoding="utf-8")
    template = environment.from_string(folder.joinpath("document.html.j2").read_text(encoding="utf-8"))
    return template, Markup(style)


def _encode_png(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, format="PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def _markdown_lines(document: Document) -> Iterator[str]:
    yield from (f"# {_escape(document.title)}", "")
    if document.subtitle:
        yield from (_escape(document.subtitle), "")
    for warning in document.warnings:
        yield from (f"> **Warning:** {_escape(warning)}", "")
    if document.tiles:
        rows = tuple((tile.label, tile.value, tile.note) for tile in document.tiles)
        yield from _table_lines(Table(("figure", "value", ""), rows))
    for section in document.sections:
        yield from _section_lines(section)


def _section_lines(section: Section) -> Iterator[str]:
    yield from (f"## {_escape(section.title)}", "")
    if section.text:
        yield from (_escape(section.text), "")
    for block in section.blocks:
        yield from _block_lines(block)


def _block_lines(block: Block) -> Iterator[str]:
    if isinstance(block, Chart):
        yield from (f"### {_escape(block.title)}", "")
        yield from _table_lines(block.values)
    elif isinstance(block, Strip):
        yield from (f"### {_escape(block.title)}", "")
        yield from (f"- {_MARKS[crop.mark]} {_escape(crop.caption)}" for crop in block.crops)
        yield ""
    else:
        yield from _table_lines(block)


def _table_lines(table: Table) -> Iterator[str]:
    yield _row_line(table.columns)
    yield _row_line(["---"] + ["---:"] * (len(table.columns) - 1))
    yield from (_row_line(row) for row in table.rows)
    yield ""


def _row_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell if set(cell) <= set('-:') else _escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in text)
    return " ".join(escaped.split())
