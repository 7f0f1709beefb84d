"""What a page or report is made of: values without any layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image

Mark = Literal["query", "right", "wrong", "plain"]


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with a caption.

    Attributes:
        image: The picture, drawn in its own size.
        caption: Lines of text below it.
    """

    image: Image.Image
    caption: str = ""


@dataclass(frozen=True)
class Tile:
    """A figure that stands at the top of a report.

    Attributes:
        label: What it is.
        value: The figure as text.
        note: A line below it, such as its interval.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        columns: The header; the first column names the rows.
        rows: Rows of as many texts.
        shades: For each cell after a row's name how deep it is coloured, from 0 to 1, or None for an empty one; no
            shades at all for a plain table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shades: tuple[tuple[float | None, ...], ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart, and its values for those who cannot see it.

    Attributes:
        title: Its heading.
        svg: The drawing as an SVG element.
        values: The same as a table.
    """

    title: str
    svg: str
    values: Table


@dataclass(frozen=True)
class CropImage:
    """A crop in a strip.

    Attributes:
        image: A JPEG file; None where the crop is not shown.
        caption: A line below it.
        mark: Whether it is the query, a right answer or a wrong one; ``plain`` where nobody knows.
    """

    image: bytes | None
    caption: str
    mark: Mark


@dataclass(frozen=True)
class Strip:
    """A query and what was found for it, nearest first.

    Attributes:
        title: A line above the strip.
        crops: The query, and then the crops that were found.
    """

    title: str
    crops: tuple[CropImage, ...]


Block: TypeAlias = Table | Chart | Strip


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        text: What it shows and how to read it.
        rows: Rows of panels.
        blocks: Tables, charts and strips. They are shown in HTML and Markdown only.
    """

    title: str
    text: str
    rows: Sequence[Sequence[Panel]] = ()
    blocks: Sequence[Block] = ()


@dataclass(frozen=True, eq=False)
class Document:
    """A page or report before it is written.

    Attributes:
        title: Its heading.
        subtitle: A line below it.
        warnings: Reasons not to believe the figures.
        tiles: The main figures.
        sections: The parts.
    """

    title: str
    sections: Sequence[Section]
    subtitle: str = ""
    warnings: Sequence[str] = ()
    tiles: Sequence[Tile] = ()
