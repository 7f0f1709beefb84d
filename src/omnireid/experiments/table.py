"""What an experiment is: a frozen list of rows, each a change to one recipe. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from omnireid.errors import SettingError
from omnireid.synthetic.pedestrian import Cue
from omnireid.training.recipes import Recipe

PLAIN_NETWORK = re.compile(r"osnet_(x[0-9]+_[0-9]+)")
"""Name of a plain OSNet; its group is the width, which the networks of the rows have in common."""


@dataclass(frozen=True)
class Published:
    """What a paper reports for a row. It was measured elsewhere, with another recipe and mostly at another scale.

    Attributes:
        rank1: Rank-1 in percent.
        mean_average_precision: mAP in percent.
        multiply_adds: Multiply-adds of one image, in millions, at the row's own input size; None where not stated.
        note: What the paper leaves open, such as the width of a network; empty if nothing.
    """

    rank1: float
    mean_average_precision: float
    multiply_adds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table: a network, and what its recipe changes.

    Attributes:
        name: Name of the row and of its folder: small letters, digits, dots and hyphens.
        network: Name of its network. ``{width}`` stands for the width of the recipe's network, such as ``x0_25``.
        change: Fields of the recipe that this row sets otherwise, by name.
        published: What the source of the table reports for it; None if it reports nothing.
        against: Name of the row that this one is compared with; None for the first row of the table.
        cue: Draw people who differ in this cue, and learn from them instead of the given data.
        starts_from_weights: Start from the given weights instead of random ones.
        is_trained: Whether the row is trained and scored. Otherwise the table has its cost alone.

    Raises:
        SettingError: The name could not be a folder.
    """

    name: str
    network: str = "osnet_{width}"
    change: Mapping[str, Any] = field(default_factory=dict)
    published: Published | None = None
    against: str | None = None
    cue: Cue | None = None
    starts_from_weights: bool = False
    is_trained: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.name):
            raise SettingError(f"{self.name!r} cannot name a row: use small letters, digits, dots and hyphens.")

    def recipe_from(self, base: Recipe, seed: int) -> Recipe:
        """The recipe of this row: `base` with the row's network and change, and a seed.

        Raises:
            SettingError: The network of `base` is no plain OSNet, whose width the rows could share.
        """
        found = PLAIN_NETWORK.fullmatch(base.model)
        if found is None:
            raise SettingError(
                f"--model {base.model} is no plain OSNet. The rows of a table take its width from --model: name "
                "osnet_x0_25, osnet_x0_5, osnet_x0_75 or osnet_x1_0."
            )
        return replace(base, **{"model": self.network.format(width=found[1]), "seed": seed, **self.change})


@dataclass(frozen=True)
class ExperimentTable:
    """A question, and the rows that answer it.

    Attributes:
        name: Name on the command line.
        version: Number of this list of rows. It changes whenever a row comes to mean something else, so that a folder
            begun with another list is not continued.
        question: What the table is meant to show, in one sentence.
        rows: The rows in their order; the first is the one the others are compared with.
        source: Where the published values come from; empty if there are none.
        published_for: What was trained and scored for the published values.
        needs_other_data: Whether the rows must also be scored on further data sets.
        compares_costs: Whether the table is about accuracy at a cost: the time of a crop is then measured for every
            row, and mAP is drawn against cost.

    Raises:
        SettingError: Two rows have one name, a row is compared with one that does not exist, or published values
            have no source.
    """

    name: str
    version: int
    question: str
    rows: tuple[Row, ...]
    source: str = ""
    published_for: str = ""
    needs_other_data: bool = False
    compares_costs: bool = False

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise SettingError(f"The table {self.name} has two rows of one name: {', '.join(names)}.")
        unknown = {row.against for row in self.rows} - {None, *names}
        if unknown:
            raise SettingError(f"The table {self.name} compares with {unknown}, which are no rows of it.")
        if any(row.published for row in self.rows) and not (self.source and self.published_for):
            raise SettingError(f"The published values of the table {self.name} need a source.")

    @property
    def draws_people(self) -> bool:
        """Whether the table draws the people that it learns from."""
        return any(row.cue is not None for row in self.rows)

    @property
    def starts_from_weights(self) -> bool:
        """Whether a row starts from given weights."""
        return any(row.starts_from_weights for row in self.rows)

    def reference_of(self, row: Row) -> Row:
        """The row that `row` is compared with; itself, if it is what others are compared with."""
        name = row.against or self.rows[0].name
        return next(other for other in self.rows if other.name == name)

    def select(self, names: Sequence[str]) -> tuple[Row, ...]:
        """The rows of these names, in the order of the table; all of them if no name is given.

        Raises:
            SettingError: There is no row of that name, or a name is given twice.
        """
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f" Did you mean {close[0]}?" if close else ""
                raise SettingError(f"The table {self.name} has no row {name!r}.{hint} Its rows: {', '.join(known)}.")
        if len(set(names)) < len(names):
            raise SettingError(f"--rows names a row twice: {' '.join(names)}.")
        return tuple(row for row in self.rows if not names or row.name in names)
