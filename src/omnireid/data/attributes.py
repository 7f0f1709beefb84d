"""Attributes that people or crops have, such as a hat or black trousers: what they are, and how they meet crops.

An attribute is a yes-or-no column with a name. Names of the form ``upper=red``
and ``upper=black`` are the values of one task, ``upper``, of which a crop has at
most one as a rule; every other name is a task of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omnireid.data.folders import real_places
from omnireid.errors import DataError, list_briefly
from omnireid.types import BoolArray, Crops, IntArray

TRAIN, TEST = "train", "test"


@dataclass(frozen=True, eq=False)
class Attributes:
    """The attributes of M people, or of M crops.

    Attributes:
        name: Short name of the data, such as ``market1501``.
        names: Names of the K attributes.
        values: (M, K) booleans; row m holds the attributes of person or crop m.
        person_ids: (M,) ids of the people, where a row is a person; None where a row is a crop.
        crops: The M crops, where a row is a crop; None where a row is a person.
        splits: The split of each crop, where the data is split; empty where it is not, or where a row is a person.
        licence: Terms of use in one line.
        source: File that the attributes were read from.
        notes: Differences from published counts, in sentences.

    Raises:
        DataError: The arrays disagree in length, a name is empty or occurs twice, or a person or crop occurs twice.
    """

    name: str
    names: tuple[str, ...]
    values: BoolArray
    source: Path
    person_ids: IntArray | None = None
    crops: Crops | None = None
    splits: tuple[str, ...] = ()
    licence: str = "unknown"
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", check_values(self.values, self.names))
        if (self.person_ids is None) == (self.crops is None):
            raise DataError("Attributes belong to people or to crops: give person_ids or crops, and not both.")
        keys: Sequence[object] = self.crops.paths if self.crops is not None else np.asarray(self.person_ids).tolist()
        if len(keys) != len(self.values) or len(self.splits) not in (0, len(keys)):
            raise DataError(
                f"{self.source}: {len(self.values):,} rows of attributes for {len(keys):,} people or crops and "
                f"{len(self.splits):,} splits. Give one row for each."
            )
        if len(set(keys)) < len(keys):
            double = Counter(keys).most_common(1)[0][0]
            raise DataError(f"{self.source} has two rows for {double}. Keep one of them.")

    def crops_of(self, split: str) -> Crops:
        """The crops of a split that the file of attributes itself lists; all of them where it has no splits.

        Raises:
            DataError: The rows are people, so that crops must come from a data set; or there is no such split.
        """
        if self.crops is None:
            raise DataError(
                f"{self.source} gives the attributes of people, not of crops. Name the data set with the crops of "
                "these people (data, --data)."
            )
        if not self.splits:
            return self.crops
        if split not in self.splits:
            raise DataError(
                f"{self.source} has no split {split!r}. It has: {', '.join(dict.fromkeys(self.splits))}. Choose one "
                "of them (split, --split)."
            )
        return self.crops.select(np.array([one == split for one in self.splits]))

    def pick(self, crops: Crops) -> AttributedCrops:
        """Give each of `crops` its attributes, by person or by path; crops without any are left out.

        Raises:
            DataError: No crop has attributes, or the rows are people and it is not known who is on the crops.
        """
        rows = self._rows_of(crops)
        is_found = rows >= 0
        if not is_found.any():
            raise DataError(self._explain_none(crops))
        return AttributedCrops(crops.select(is_found), self.names, self.values[rows[is_found]], int((~is_found).sum()))

    def _rows_of(self, crops: Crops) -> IntArray:
        """(N,) row of each crop, -1 where it has none."""
        if self.crops is not None:
            row_of = {place: row for row, place in enumerate(real_places(self.crops.paths))}
            return np.array([row_of.get(place, -1) for place in real_places(crops.paths)], dtype=np.int64)
        if crops.person_ids is None:
            raise DataError(
                f"{self.source} gives the attributes of people, but it is not known who is on the crops. Name a data "
                "set, a manifest with person_id, or crops named like 0002_c1s1_000451_03.jpg."
            )
        row_of_person = {person: row for row, person in enumerate(np.asarray(self.person_ids).tolist())}
        return np.array([row_of_person.get(person, -1) for person in crops.person_ids.tolist()], dtype=np.int64)

    def _explain_none(self, crops: Crops) -> str:
        if self.crops is not None:
            example = f"such as {crops.paths[0]}; its own crops are such as {self.crops.paths[0]}"
        else:
            example = (
                f"whose people are {list_briefly(np.unique(np.asarray(crops.person_ids)).tolist())}; its own people "
                f"are {list_briefly(np.asarray(self.person_ids).tolist())}"
            )
        return (
            f"{self.source} has attributes of none of the {len(crops):,} crops, {example}. Do both belong to the same "
            "data set?"
        )


@dataclass(frozen=True, eq=False)
class AttributedCrops:
    """N crops with their attributes.

    Attributes:
        crops: The crops.
        names: Names of the K attributes.
        values: (N, K) booleans.
        without: Number of crops that were left out because nothing is known of their attributes.
    """

    crops: Crops
    names: tuple[str, ...]
    values: BoolArray
    without: int = 0

    def __len__(self) -> int:
        return len(self.crops)


def check_values(values: BoolArray, names: Sequence[str]) -> BoolArray:
    """(M, K) values as booleans that cannot be written to, after a check of their names.

    Raises:
        DataError: The shapes disagree, there is no attribute, or a name is empty or occurs twice.
    """
    double = sorted({name for name in names if list(names).count(name) > 1})
    if double or not all(name.strip() for name in names):
        what = f"{double[0]!r} occurs twice" if double else "one is empty"
        raise DataError(f"The names of attributes must differ and must not be empty; {what}.")
    array = np.array(values, dtype=bool)
    if array.ndim != 2 or array.shape[1] != len(names) or not names:
        raise DataError(
            f"Attributes must be an (M, K) table with a name for each column; got shape {array.shape} and "
            f"{len(names)} names."
        )
    array.setflags(write=False)
    return array


def tasks_of(names: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
    """The positions of each task's columns: those with one word before ``=`` are one task, any other is its own."""
    tasks: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        tasks.setdefault(name.partition("=")[0] if "=" in name else name, []).append(index)
    return {task: tuple(columns) for task, columns in tasks.items()}
