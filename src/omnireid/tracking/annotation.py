"""Drawing the boxes of people into the frames of a video, each person in a colour of their own."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from omnireid.types import ByteArray

UNDECIDED = (150, 150, 150)
"""Colour of a box whose person is not decided yet, red, green and blue."""


@dataclass(frozen=True)
class LabelledBox:
    """A box to draw.

    Attributes:
        box: Left, top, right, bottom in pixels of the frame.
        person: Number of the person; None while that is not decided.
    """

    box: Sequence[float]
    person: int | None


def identity_colour(person: int) -> tuple[int, int, int]:
    """A colour for a person: neighbouring numbers get colours far apart."""
    red, green, blue = colorsys.hsv_to_rgb(person * 0.618034 % 1, 0.75 + 0.25 * (person % 2), 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_people(pixels: ByteArray, boxes: Iterable[LabelledBox]) -> ByteArray:
    """A copy of a frame, (H, W, 3) uint8 BGR, with boxes and the numbers of their people."""
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    size = max(11, pixels.shape[0] // 40)
    font = ImageFont.load_default(size=size)
    for labelled in boxes:
        colour = UNDECIDED if labelled.person is None else identity_colour(labelled.person)
        as_bgr = colour[::-1]
        text = "?" if labelled.person is None else str(labelled.person)
        left, top, right, bottom = (float(edge) for edge in labelled.box)
        draw.rectangle((left, top, right, bottom), outline=as_bgr, width=max(2, size // 6))
        wide = draw.textlength(text, font=font) + size // 2
        draw.rectangle((left, top - 1.2 * size, left + wide, top), fill=as_bgr)
        draw.text((left + size // 4, top - 1.2 * size), text, fill=(20, 20, 20), font=font)
    return np.asarray(picture)
