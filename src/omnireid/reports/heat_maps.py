"""Numbers as colours: maps over a crop, and tables of cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from omnireid.types import AnyArray, ByteArray

# From dark to light, in the order of matplotlib's viridis, which colour-blind people and grey printers can follow.
_SEQUENCE = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64)
# Blue and vermilion of Okabe and Ito's palette.
FOR = (0, 114, 178)
AGAINST = (213, 94, 0)
TEXT = (30, 30, 30)
PALE = (120, 120, 120)
PAPER = (255, 255, 255)


def colour_sequence(values: npt.ArrayLike) -> ByteArray:
    """Colours from dark violet (0) over green to yellow (1): values (...) to RGB (..., 3) uint8."""
    position = np.clip(np.asarray(values, dtype=np.float64), 0, 1) * (len(_SEQUENCE) - 1)
    below = np.minimum(position.astype(np.int64), len(_SEQUENCE) - 2)
    part = (position - below)[..., np.newaxis]
    colours: ByteArray = np.rint((1 - part) * _SEQUENCE[below] + part * _SEQUENCE[below + 1]).astype(np.uint8)
    return colours


def overlay_activation(crop: Image.Image, places: AnyArray, largest: float) -> Image.Image:
    """Lay a map of values from 0 to `largest` over a crop in grey.

    Args:
        crop: The crop, in the size of the picture.
        places: (H, W) values; enlarged smoothly.
        largest: The value that becomes yellow.
    """
    strength = _enlarge(places / largest if largest > 0 else np.zeros_like(places), crop.size)
    grey = np.asarray(crop.convert("L").convert("RGB"), dtype=np.float64)
    mixed = 0.45 * grey + 0.55 * colour_sequence(strength)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def overlay_signed(crop: Image.Image, places: AnyArray, largest: float) -> Image.Image:
    """Lay a map of signed values over a pale grey crop: blue above 0, orange below, and clear at 0.

    Args:
        crop: The crop, in the size of the picture.
        places: (H, W) values; enlarged smoothly.
        largest: The absolute value that gets the full colour.
    """
    strength = _enlarge(places / largest if largest > 0 else np.zeros_like(places), crop.size)
    grey = 80 + 0.62 * np.asarray(crop.convert("L").convert("RGB"), dtype=np.float64)
    colour = np.where(strength[..., np.newaxis] > 0, np.array(FOR), np.array(AGAINST))
    opacity = 0.85 * np.clip(np.abs(strength), 0, 1)[..., np.newaxis]
    return Image.fromarray(np.rint((1 - opacity) * grey + opacity * colour).astype(np.uint8))


def draw_gates(weights: AnyArray, width: int, row_height: int) -> Image.Image:
    """Draw the (T, C) gate weights of a block as T rows of C cells, dark for 0 and yellow for 1."""
    cells = Image.fromarray(colour_sequence(weights))
    return cells.resize((width, row_height * len(weights)), Image.Resampling.NEAREST)


def draw_table(cells: AnyArray, texts: list[list[str]], rows: list[str], columns: list[str]) -> Image.Image:
    """Draw a table whose cells are coloured.

    Args:
        cells: (R, S) values between 0 and 1 for the colours.
        texts: R lists of S texts, written in the cells.
        rows: R names.
        columns: S names.
    """
    font = ImageFont.load_default(size=14)
    left = 16 + max(int(font.getlength(name)) for name in rows)
    width, height, top = 118, 26, 24
    picture = Image.new("RGB", (left + width * len(columns), top + height * len(rows)), PAPER)
    pen = ImageDraw.Draw(picture)
    for column, name in enumerate(columns):
        pen.text((left + width * column + width // 2, top - 6), name, fill=PALE, font=font, anchor="ms")
    for row, name in enumerate(rows):
        y = top + height * row
        pen.text((left - 10, y + height // 2), name, fill=TEXT, font=font, anchor="rm")
        for column, text in enumerate(texts[row]):
            x = left + width * column
            colour = colour_sequence(cells[row, column])
            pen.rectangle((x, y, x + width - 2, y + height - 2), fill=tuple(colour.tolist()))
            dark = colour @ np.array([0.3, 0.59, 0.11]) < 128
            pen.text((x + width // 2, y + height // 2), text, fill=PAPER if dark else TEXT, font=font, anchor="mm")
    return picture


def _enlarge(places: AnyArray, size: tuple[int, int]) -> AnyArray:
    """A map in the size of a picture, (width, height), bilinear between the centres of the places."""
    image = Image.fromarray(np.ascontiguousarray(places, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)
