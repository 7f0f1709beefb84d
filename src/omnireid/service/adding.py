"""Crops that people send, added to the gallery: several in one write, each with an answer of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.errors import DataError, ImageError, OmnireidError
from omnireid.gallery.columns import sighting_key
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.ingest import ExaminedCrops
from omnireid.gallery.register import read_register
from omnireid.gallery.schema import SIGHTINGS
from omnireid.images.quality import Quality
from omnireid.service.crop_files import CropFiles
from omnireid.service.descriptions import describe_rows
from omnireid.service.uploads import Upload
from omnireid.types import JUNK_PERSON_ID, Crops, FloatArray

_STORED_AT_ONCE = 8
"""Pictures that are brought to the disk side by side, because each waits for it."""


@dataclass(frozen=True, eq=False)
class NewSighting:
    """A crop that is to be added.

    Attributes:
        upload: The picture.
        embedding: Its (D,) embedding.
        quality: What was measured of it.
        who: Who adds it.
        camera: The camera that saw it.
        time: When, with a zone.
        person: Who it is.
        track: The track it belongs to.
        box_xyxy: Left, top, right and bottom in its frame, as text.
        columns: Columns of the user's own.
        keep_all: Add it even if it is of low quality.
    """

    upload: Upload
    embedding: FloatArray = field(repr=False)
    quality: Quality
    who: str
    camera: str | None = None
    time: datetime | None = None
    person: str | None = None
    track: str | None = None
    box_xyxy: str | None = None
    columns: Mapping[str, str | bool | int | float] = field(default_factory=dict)
    keep_all: bool = False

    @property
    def group(self) -> tuple[str, bool, bool]:
        """The values that all crops of one call must share."""
        return self.who, self.keep_all, self.camera is None

    @property
    def key(self) -> str:
        """The key by which the gallery knows it."""
        return sighting_key(self.upload.sha256, self.camera, self.time)


@dataclass(frozen=True)
class Added:
    """What became of a crop.

    Attributes:
        sighting: Its sighting, as an answer shows it.
        is_new: Whether it was not there before.
    """

    sighting: Mapping[str, Any]
    is_new: bool


def add_together(gallery: Gallery, crops: CropFiles, new: Sequence[NewSighting]) -> Sequence[Added | OmnireidError]:
    """Add crops of one group. They are on the disk afterwards, except those with an error."""
    try:
        return _add(gallery, crops, new)
    except OmnireidError as error:
        if len(new) == 1:
            _delete_unused(gallery, crops, new)
            return [error]
    # What one of them has wrong is not the others' fault.
    return [add_together(gallery, crops, [one])[0] for one in new]


def _add(gallery: Gallery, crops: CropFiles, new: Sequence[NewSighting]) -> list[Added | OmnireidError]:
    before = _numbers(gallery, new)
    with ThreadPoolExecutor(min(len(new), _STORED_AT_ONCE), thread_name_prefix="store") as threads:
        paths = list(threads.map(crops.store, [one.upload for one in new]))
    contents, embeddings = [one.upload.sha256 for one in new], np.stack([one.embedding for one in new])
    examined = ExaminedCrops(_as_crops(new, paths), contents, embeddings, [one.quality for one in new])
    summary = gallery.acting_as(new[0].who).add_examined(examined, keep_all=new[0].keep_all)
    reasons = dict(summary.left_out)
    numbers = _numbers(gallery, new)
    sightings = _sightings(gallery, crops, set(numbers.values()))
    results: list[Added | OmnireidError] = []
    for one, path in zip(new, paths, strict=True):
        number = numbers.get(one.key)
        if number is None:
            results.append(ImageError(f"The crop was not added: {reasons[str(path)].rstrip('.')}."))
        else:
            results.append(Added(sightings[number], one.key not in before))
    _delete_unused(gallery, crops, [one for one, result in zip(new, results, strict=True) if _is_error(result)])
    return results


def _is_error(result: object) -> bool:
    return isinstance(result, OmnireidError)


def _as_crops(new: Sequence[NewSighting], paths: Sequence[Path]) -> Crops:
    """The crops with a column for everything that is known of at least one of them."""
    names = [one.person or str(JUNK_PERSON_ID) for one in new]
    columns: dict[str, Any] = {"person_name": names}
    if new[0].camera is not None:
        columns["camera_name"] = [one.camera for one in new]
    for field_name in ("time", "track", "box_xyxy"):
        values = [getattr(one, field_name) for one in new]
        if any(value is not None for value in values):
            columns[field_name] = values
    for column in dict.fromkeys(name for one in new for name in one.columns):
        if column in columns or column in ("time", "track", "box_xyxy", "camera_name", "split"):
            raise DataError(f"columns: {column!r} has a meaning of its own. Give it as a field, or rename the column.")
        columns[column] = [one.columns.get(column) for one in new]
    return Crops(tuple(paths), np.arange(1, len(new) + 1), None, columns)


def _numbers(gallery: Gallery, new: Sequence[NewSighting]) -> dict[str, int]:
    """The numbers of those crops that the gallery has already, by their keys."""
    return read_register(gallery.database).numbers_of([one.key for one in new])


def _sightings(gallery: Gallery, crops: CropFiles, numbers: Collection[int]) -> dict[int, dict[str, Any]]:
    """The sightings of these numbers as answers show them, read once for all of them."""
    if not numbers:
        return {}
    rows = gallery.database.rows(SIGHTINGS, None, f"sighting IN ({', '.join(map(str, numbers))})")
    return {record["sighting"]: record for record in describe_rows(rows, crops)}


def _delete_unused(gallery: Gallery, crops: CropFiles, new: Sequence[NewSighting]) -> None:
    """Delete the kept pictures of crops that no sighting has."""
    if not new or crops.keep is None:
        return
    contents = {one.upload.sha256: one.upload for one in new}
    listed = ", ".join(f"'{content}'" for content in contents)
    rows = gallery.database.rows(SIGHTINGS, ["content_sha256"], f"content_sha256 IN ({listed})")
    unused = set(contents) - set(rows.column("content_sha256").to_pylist())
    crops.delete(str(crops.path_of(contents[content])) for content in unused)
