"""Pictures of questions: the two crops of each, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from omnireid.files import atomic_output, check_output
from omnireid.gallery.questions import Question
from omnireid.reports.gallery_matches import CELL_HEIGHT, CELL_WIDTH, draw_cell

_MARGIN = 16
_TITLE_HEIGHT = 24
_FRAME = (0, 114, 178)
_TEXT = (30, 30, 30)
_PAPER = (255, 255, 255)


def draw_questions(questions: Sequence[Question], output: Path) -> None:
    """Draw the two crops of each question side by side, one question under the other, as a PNG.

    A picture that is gone or cannot be read leaves an empty frame.

    Args:
        questions: One question at least.
        output: The PNG to write. It never replaces one of the crops.

    Raises:
        OutputError: the picture cannot be written.
    """
    paths = [sighting.path for question in questions for sighting in (question.one, question.other)]
    check_output(output, suffix=".png", inputs=paths)
    height = _TITLE_HEIGHT + CELL_HEIGHT
    picture = Image.new("RGB", (2 * _MARGIN + 2 * CELL_WIDTH, 2 * _MARGIN + len(questions) * height), _PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=15)
    for number, question in enumerate(questions):
        y = _MARGIN + number * height
        pen.text((_MARGIN, y), f"{number + 1}: {100 * question.probability:.1f} %", fill=_TEXT, font=font)
        for place, seen in enumerate((question.one, question.other)):
            camera = "" if seen.camera is None else f"camera {seen.camera}"
            texts = (f"sighting {seen.number}", seen.person or "", camera)
            draw_cell(picture, seen.path, (_MARGIN + place * CELL_WIDTH, y + _TITLE_HEIGHT), texts, _FRAME)
    with atomic_output(output) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
