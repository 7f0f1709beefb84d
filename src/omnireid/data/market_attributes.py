"""The attributes of Market-1501's people: ``market_attribute.mat``.

Source: Lin et al., "Improving Person Re-identification by Attribute and Identity Learning", Pattern Recognition 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from omnireid.data.attributes import Attributes
from omnireid.data.matlab import read_mat
from omnireid.errors import DataError
from omnireid.types import BoolArray

VARIABLE = "market_attribute"
_LICENCE = "cite Lin et al. 2019; about the people of Market-1501, which is for research only"
_AGES = ("young", "teenager", "adult", "old")

_UPPER_COLOURS = ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")
_LOWER_COLOURS = ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")

_YES_IS_TWO: Mapping[str, str] = MappingProxyType(
    {
        "gender": "female",
        "hair": "long_hair",
        "up": "short_sleeves",
        "down": "short_lower_body",
        "clothes": "trousers",
        "hat": "hat",
        "backpack": "backpack",
        "bag": "bag",
        "handbag": "handbag",
        **{f"up{colour}": f"upper={colour}" for colour in _UPPER_COLOURS},
        **{f"down{colour}": f"lower={colour}" for colour in _LOWER_COLOURS},
    }
)
"""The file's 26 columns of 1 and 2, and the attribute that 2 stands for. Its 27th column, ``age``, is 1 to 4."""

NAMES = (*_YES_IS_TWO.values(), *(f"age={age}" for age in _AGES))
"""The 30 yes-or-no attributes that the 27 columns become; they are 12 tasks, as the field reports them."""


def read_market_attributes(file: Path) -> Attributes:
    """Read the attributes of all people of Market-1501. Both halves are read; their columns are in different orders.

    Raises:
        MissingDependencyError: scipy is not installed.
        DataError: The file is no readable MATLAB file, lacks a column, or has a value that no column may have.
    """
    table = read_mat(file, VARIABLE)[VARIABLE]
    people: list[int] = []
    rows = []
    for half in ("train", "test"):
        try:
            record = table[half][0, 0]
            ids = [int(str(cell.item())) for cell in record["image_index"][0, 0].ravel()]
            columns = {name: record[name][0, 0].ravel() for name in ("age", *_YES_IS_TWO)}
        except (ValueError, IndexError, TypeError, KeyError) as error:
            raise DataError(
                f"{file} is not the file of Market-1501's attributes: its half {half!r} cannot be read ({error}). "
                "Get it again from its authors."
            ) from error
        people += ids
        rows.append(_as_booleans(file, half, ids, columns))
    return Attributes(
        name="market1501",
        names=NAMES,
        values=np.concatenate(rows),
        source=file,
        person_ids=np.array(people, dtype=np.int64),
        licence=_LICENCE,
    )


def _as_booleans(file: Path, half: str, ids: list[int], columns: Mapping[str, Any]) -> BoolArray:
    """(people, 30) booleans of one half."""
    for name, values in columns.items():
        allowed = range(1, 5) if name == "age" else range(1, 3)
        wrong = np.flatnonzero(~np.isin(values, allowed))
        if len(values) != len(ids) or len(wrong):
            found = f"{values[wrong[0]]} for person {ids[wrong[0]]}" if len(wrong) else f"{len(values)} values"
            raise DataError(
                f"{file}, half {half!r}, column {name!r}: there must be one value from {allowed[0]} to {allowed[-1]} "
                f"for each of {len(ids)} people; found {found}. Get the file again from its authors."
            )
    ages = [columns["age"] == number for number in range(1, len(_AGES) + 1)]
    return np.stack([*(columns[name] == 2 for name in _YES_IS_TWO), *ages], axis=1)
