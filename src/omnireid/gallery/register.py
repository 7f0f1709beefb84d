"""What a writer has to know of every sighting: number, key, label and name, in memory until somebody else writes.

A write changes a few rows. Without this it would read the whole table before, which grows slower with every write
until the small files are joined. Each takes about 150 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.gallery.database import Database
from omnireid.gallery.schema import SIGHTINGS, read_facts

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("sighting", "key", "given_person", "person")
_MOST_PARTS = 64
"""Parts of the table in memory, one for each write, before they are joined."""


@dataclass(frozen=True, eq=False)
class Register:
    """Number, key, label and name of N sightings, in no certain order.

    Attributes:
        table: The columns ``sighting``, ``key``, ``given_person`` and ``person``.
    """

    table: pa.Table

    @property
    def numbers(self) -> list[int]:
        """Number of each sighting."""
        numbers: list[int] = self.table.column("sighting").to_pylist()
        return numbers

    @property
    def labels(self) -> list[str | None]:
        """The label that came with each sighting."""
        labels: list[str | None] = self.table.column("given_person").to_pylist()
        return labels

    @property
    def names(self) -> list[str | None]:
        """The name that is written for each sighting."""
        names: list[str | None] = self.table.column("person").to_pylist()
        return names

    @property
    def highest(self) -> int:
        """The highest number; 0 where there is no sighting."""
        return int(np.max(self.table.column("sighting").to_numpy(), initial=0))

    def numbers_of(self, keys: Sequence[str]) -> dict[str, int]:
        """Those of the keys that are there, with the number of the sighting."""
        import pyarrow as pa
        import pyarrow.compute as pc

        there = self.table.filter(pc.is_in(self.table.column("key"), value_set=pa.array(keys, pa.string())))
        return dict(zip(there.column("key").to_pylist(), there.column("sighting").to_pylist(), strict=True))

    def with_rows(self, rows: pa.Table) -> Register:
        """With the sightings that were added."""
        import pyarrow as pa

        table = pa.concat_tables([self.table, rows.select(_COLUMNS).cast(self.table.schema)])
        return Register(table.combine_chunks() if table.column("key").num_chunks > _MOST_PARTS else table)

    def with_names(self, names: Sequence[str | None]) -> Register:
        """With other names, one for each sighting."""
        import pyarrow as pa

        column = pa.array(names, pa.string())
        return Register(self.table.set_column(self.table.column_names.index("person"), "person", column))


def read_register(database: Database) -> Register:
    """The sightings of the newest version. Reads only where somebody else has written since."""
    return database.remember(
        _name(database), SIGHTINGS, lambda: Register(database.rows(SIGHTINGS, _COLUMNS)), is_large=True
    )


def keep_register(database: Database, register: Register, handle: Any) -> None:
    """Take over what was written. The caller wrote it with `handle`, and holds the lock."""
    database.keep(_name(database), SIGHTINGS, register, handle)


def _name(database: Database) -> str:
    """Another gallery in the same place has another salt."""
    facts = read_facts(database)
    return f"register {None if facts is None else facts.salt}"
