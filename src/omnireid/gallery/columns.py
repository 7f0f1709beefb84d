"""From labelled crops to the columns of sightings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from omnireid.data.market_names import DISTRACTOR_PERSON_ID, market_ids
from omnireid.embedding.tables import arrow_columns
from omnireid.errors import DataError, EmbeddingError
from omnireid.gallery.schema import GalleryFacts, check_column_name
from omnireid.gallery.times import parse_time
from omnireid.types import JUNK_PERSON_ID, NAME_COLUMNS, AnyArray, Crops

if TYPE_CHECKING:
    import pyarrow as pa

_MEANT = ("time", "track", "box_xyxy", "split", *NAME_COLUMNS)
"""Columns of crops with a meaning of their own here."""


def describe_crops(crops: Crops, zone: ZoneInfo | None) -> pa.Table:
    """The columns of N crops that do not depend on their pixels: path, camera, time, track, box, person, the user's.

    Person -1 is junk, and person 0 in a Market-style name a distractor: both are nobody.

    Args:
        crops: The crops. The columns ``time``, ``track`` and ``box_xyxy`` have a meaning; ``split`` is left out.
        zone: Zone of times that state none.

    Raises:
        DataError: a time or box cannot be read, or a column's name or type cannot be stored.
    """
    import pyarrow as pa

    further = {name: values for name, values in arrow_columns(crops).items() if name not in _MEANT}
    for name, values in further.items():
        check_column_name(name)
        _check_type(name, values.type)
    persons = _persons(crops)
    return pa.table(
        {
            "path": pa.array([str(path) for path in crops.paths], pa.string()),
            "camera": pa.array(cameras_of(crops), pa.string()),
            "time": pa.array(_times(crops, zone), pa.timestamp("us", tz="UTC")),
            "track": pa.array([_text(value) for value in _values(crops, "track")], pa.string()),
            "box_xyxy": pa.array(_boxes(crops), pa.list_(pa.float32(), 4)),
            "person": pa.array(persons, pa.string()),
            "given_person": pa.array(persons, pa.string()),
            **{name: _widest(values) for name, values in further.items()},
        }
    )


def cameras_of(crops: Crops) -> list[str | None]:
    """The camera of each crop as text; None where it is not known."""
    if "camera_name" in crops.columns:
        return [_text(name) for name in _values(crops, "camera_name")]
    return [None] * len(crops) if crops.camera_ids is None else [str(camera) for camera in crops.camera_ids.tolist()]


def embedding_column(embeddings: AnyArray, facts: GalleryFacts, paths: Sequence[object]) -> pa.Array:
    """(N, D) embeddings as Arrow, in the type that the gallery stores.

    Raises:
        EmbeddingError: a value is too large for float16; the message names the crop.
    """
    import pyarrow as pa

    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(embeddings, dtype=facts.float_type)
    finite = np.isfinite(stored).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise EmbeddingError(
            f"The embedding of {paths[row]} has the value {np.abs(embeddings[row]).max():.3g}, which float16 cannot "
            "hold. Make the gallery with float_type=float32 (--float-type float32)."
        )
    return pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), facts.model.width)


def sighting_key(content_sha256: str, camera: str | None, time: datetime | None) -> str:
    """The hash by which a crop that is added again is known: its content, seen by this camera at this time."""
    seen = [content_sha256, camera or "", "" if time is None else time.isoformat()]
    return hashlib.sha256("\0".join(seen).encode()).hexdigest()


def _values(crops: Crops, name: str) -> list[Any]:
    values = crops.columns.get(name)
    if values is None:
        return [None] * len(crops)
    return values.to_pylist() if hasattr(values, "to_pylist") else list(values)


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _persons(crops: Crops) -> list[str | None]:
    if crops.person_ids is None:
        return [None] * len(crops)
    ids = crops.person_ids.tolist()
    names = _values(crops, "person_name") if "person_name" in crops.columns else [str(number) for number in ids]
    persons: list[str | None] = []
    for number, name, path in zip(ids, names, crops.paths, strict=True):
        is_distractor = number == DISTRACTOR_PERSON_ID and (market_ids(path.name) or (None,))[0] == number
        persons.append(None if name == str(JUNK_PERSON_ID) or is_distractor else _text(name))
    return persons


def _times(crops: Crops, zone: ZoneInfo | None) -> list[datetime | None]:
    pairs = zip(crops.paths, _values(crops, "time"), strict=True)
    return [parse_time(value, str(path), zone) for path, value in pairs]


def _boxes(crops: Crops) -> list[list[float] | None]:
    boxes: list[list[float] | None] = []
    for path, value in zip(crops.paths, _values(crops, "box_xyxy"), strict=True):
        if value is None or value == "":
            boxes.append(None)
            continue
        try:
            box = [float(edge) for edge in (value.replace(",", " ").split() if isinstance(value, str) else value)]
        except (TypeError, ValueError):
            box = []
        if len(box) != 4 or not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
            raise DataError(
                f"{path}: the box {value!r} is none. A box is four numbers, left, top, right and bottom, such as "
                "'10 20 58 148'."
            )
        boxes.append(box)
    return boxes


def _check_type(name: str, kind: pa.DataType) -> None:
    import pyarrow.types as kinds

    plain = (kinds.is_string, kinds.is_large_string, kinds.is_integer, kinds.is_floating, kinds.is_boolean)
    is_time = kinds.is_timestamp(kind) and kind.tz is not None
    if not (is_time or kinds.is_null(kind) or any(is_kind(kind) for is_kind in plain)):
        raise DataError(
            f"A gallery cannot store the column {name!r} of type {kind}. It stores text, whole and real numbers, true "
            "and false, and times with a zone. Convert the column, or leave it out."
        )


def _widest(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The values in the one type that a gallery has for their kind, so that later ones fit."""
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = values.type
    if kinds.is_boolean(kind):
        return values
    if kinds.is_integer(kind):
        return values.cast(pa.int64())
    if kinds.is_floating(kind):
        return values.cast(pa.float64())
    return values.cast(pa.timestamp("us", tz="UTC") if kinds.is_timestamp(kind) else pa.string())
