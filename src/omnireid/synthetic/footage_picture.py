"""An animated picture of drawn footage: the views side by side, with a box in each person's colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from omnireid.errors import OutputError
from omnireid.files import atomic_output
from omnireid.synthetic.scene import SeenPerson
from omnireid.tracking.annotation import identity_colour
from omnireid.types import ByteArray

_SECONDS, _FRAMES_PER_SECOND = 7.0, 6.25
_WIDTH = 352
_GAP = 4
_LEAST_SEEN = 0.25


def check_picture_name(picture: Path) -> None:
    """Check that `picture` names an animation that can be written.

    Raises:
        OutputError: It has another suffix.
    """
    if picture.suffix.lower() != ".webp":
        raise OutputError(f"The picture is an animated .webp file; got {picture}. Choose a name such as footage.webp.")


@dataclass(frozen=True, eq=False)
class FootagePicture:
    """Frames that are kept for the picture.

    Attributes:
        first: First frame.
        step: Distance between the frames.
        count: Number of frames at most.
        views: The kept frames of each camera, in small and with their boxes.
    """

    first: int
    step: int
    count: int
    views: list[list[Image.Image]] = field(default_factory=list)

    def keep(self, camera_id: int, frame: int, pixels: ByteArray, seen: Sequence[SeenPerson]) -> None:
        """Keep a frame if it is one of the picture's. Cameras and frames must come in order."""
        place = frame - self.first
        if place < 0 or place % self.step or place // self.step >= self.count:
            return
        while len(self.views) < camera_id:
            self.views.append([])
        self.views[camera_id - 1].append(_mark(pixels, seen))

    def write(self, picture: Path) -> None:
        """Write the animation.

        Raises:
            OutputError: The file cannot be written.
        """
        pages = [_side_by_side(views) for views in zip(*self.views, strict=True)]
        with atomic_output(picture) as temporary:
            duration = round(1000 / _FRAMES_PER_SECOND)
            pages[0].save(
                temporary, save_all=True, append_images=pages[1:], duration=duration, loop=0, quality=60, method=4
            )


def choose_frames(crowd: Sequence[int], rate: float) -> FootagePicture:
    """Choose the seconds in which the cameras see most people.

    Args:
        crowd: Number of people in all views, frame by frame.
        rate: Frames a second.
    """
    length = min(round(_SECONDS * rate), len(crowd))
    sums = np.convolve(crowd, np.ones(length, dtype=np.int64), mode="valid")
    step = max(round(rate / _FRAMES_PER_SECOND), 1)
    return FootagePicture(int(np.argmax(sums)), step, max(length // step, 1))


def _mark(pixels: ByteArray, seen: Sequence[SeenPerson]) -> Image.Image:
    """The frame in small, with the box and number of everybody who is not mostly hidden."""
    scale = _WIDTH / pixels.shape[1]
    small = Image.fromarray(pixels).resize((_WIDTH, round(scale * pixels.shape[0])), Image.Resampling.LANCZOS)
    draw, font = ImageDraw.Draw(small), ImageFont.load_default(size=11)
    for person in seen:
        if person.visibility < _LEAST_SEEN:
            continue
        colour, text = identity_colour(person.person + 1), str(person.person + 1)
        left, top, right, bottom = (scale * edge for edge in person.box)
        draw.rectangle((left, top, right, bottom), outline=colour, width=2)
        wide = draw.textlength(text, font=font) + 5
        draw.rectangle((left, top - 13, left + wide, top), fill=colour)
        draw.text((left + 3, top - 13), text, fill=(20, 20, 20), font=font)
    return small


def _side_by_side(views: Sequence[Image.Image]) -> Image.Image:
    columns = math.ceil(math.sqrt(len(views)))
    rows = math.ceil(len(views) / columns)
    width, height = views[0].size
    size = (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    page = Image.new("RGB", size, (255, 255, 255))
    for place, view in enumerate(views):
        page.paste(view, (place % columns * (width + _GAP), place // columns * (height + _GAP)))
    return page
