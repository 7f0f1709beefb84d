"""Contact sheets, with a row for each person and a column for each camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from omnireid.errors import OutputError
from omnireid.files import atomic_output

_GAP = 4


def check_sheet_name(sheet: Path) -> None:
    """Check that `sheet` names a picture that can be written.

    Raises:
        OutputError: it has another suffix.
    """
    if sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise OutputError(f"A sheet is a .png or .jpg file; got {sheet}. Choose a name such as sheet.png.")


def write_sheet(rows: Sequence[Sequence[Path]], sheet: Path) -> None:
    """Write a sheet of crops, all of one size, in rows.

    Raises:
        OutputError: the sheet cannot be written.
    """
    check_sheet_name(sheet)
    with Image.open(rows[0][0]) as first:
        width, height = first.size
    step_x, step_y = width + _GAP, height + _GAP
    size = (step_x * max(len(row) for row in rows) + _GAP, step_y * len(rows) + _GAP)
    picture = Image.new("RGB", size, (255, 255, 255))
    for down, row in enumerate(rows):
        for across, path in enumerate(row):
            with Image.open(path) as crop:
                picture.paste(crop, (_GAP + across * step_x, _GAP + down * step_y))
    with atomic_output(sheet) as temporary:
        picture.save(temporary)
