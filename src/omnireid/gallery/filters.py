"""Which sightings a search, a listing or a removal is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.errors import DataError, FilterError
from omnireid.gallery.conditions import Comparison, Condition, Junction, Kind, Negation, parse_condition, to_sql
from omnireid.gallery.times import parse_time

if TYPE_CHECKING:
    import pyarrow as pa

_NOT_FILTERED = ("embedding", "box_xyxy", "key", "given_person")


@dataclass(frozen=True, kw_only=True)
class SightingFilter:
    """Which sightings count. Every field given must fit; a filter without any fits all sightings.

    Attributes:
        cameras: Only sightings by these cameras.
        not_cameras: No sightings by these cameras. Those whose camera is not known stay.
        since: Only sightings at this time or later, in ISO 8601 with a zone. Those without a time are left out.
        until: Only sightings before this time.
        persons: Only sightings of these people.
        paths: Only sightings of these files.
        where: Only sightings that fit this condition on the columns, such as "bag = 'red' and age >= 30".

    Raises:
        FilterError: a list holds something that is no text, or a time is none.
    """

    cameras: tuple[str, ...] = ()
    not_cameras: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    persons: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    where: str | None = None

    def __post_init__(self) -> None:
        for name in ("cameras", "not_cameras", "persons", "paths"):
            values = getattr(self, name)
            if isinstance(values, str):
                raise FilterError(f"{name} must be a list of names, not the text {values!r}.")
            object.__setattr__(self, name, tuple(str(value) for value in values))
        for name in ("since", "until"):
            value = getattr(self, name)
            if isinstance(value, datetime):
                object.__setattr__(self, name, value.isoformat())
            _time(getattr(self, name), name)

    def sql(self, schema: pa.Schema) -> str | None:
        """The filter as the database takes it; None where every sighting fits.

        Args:
            schema: Columns of the gallery.

        Raises:
            FilterError: `where` is no condition on these columns.
        """
        condition = self.condition(schema)
        return None if condition is None else to_sql(condition)

    def condition(self, schema: pa.Schema, *, not_camera: str | None = None) -> Condition | None:
        """The filter as one condition; None where every sighting fits.

        Args:
            schema: Columns of the gallery.
            not_camera: One more camera whose sightings are left out.

        Raises:
            FilterError: `where` is no condition on these columns.
        """
        left_out = self.not_cameras if not_camera is None else (*self.not_cameras, not_camera)
        parts: list[Condition] = []
        if self.cameras:
            parts.append(Comparison("camera", "in", self.cameras))
        if left_out:
            others = Negation(Comparison("camera", "in", left_out))
            parts.append(Junction("or", (Comparison("camera", "none"), others)))
        if (since := _time(self.since, "since")) is not None:
            parts.append(Comparison("time", ">=", (since,)))
        if (until := _time(self.until, "until")) is not None:
            parts.append(Comparison("time", "<", (until,)))
        if self.persons:
            parts.append(Comparison("person", "in", self.persons))
        if self.paths:
            absolute = (str(Path(path).absolute()) for path in self.paths)
            parts.append(Comparison("path", "in", tuple(dict.fromkeys((*self.paths, *absolute)))))
        if self.where is not None:
            parts.append(parse_condition(self.where, filter_columns(schema)))
        return Junction("and", tuple(parts)) if parts else None

    def json(self) -> dict[str, Any]:
        """The fields that were given."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items() if v}


def filter_columns(schema: pa.Schema) -> Mapping[str, Kind]:
    """The columns that ``where`` may name, and what their values are."""
    import pyarrow.types as kinds

    columns: dict[str, Kind] = {}
    for column in schema:
        if column.name in _NOT_FILTERED:
            continue
        if kinds.is_boolean(column.type):
            columns[column.name] = "true or false"
        elif kinds.is_timestamp(column.type):
            columns[column.name] = "times"
        elif kinds.is_integer(column.type):
            columns[column.name] = "whole numbers"
        elif kinds.is_floating(column.type):
            columns[column.name] = "numbers"
        else:
            columns[column.name] = "text"
    return columns


def _time(value: str | None, name: str) -> datetime | None:
    try:
        return parse_time(value, name)
    except DataError as error:
        raise FilterError(str(error)) from error
