"""Tables of tracks: Parquet files with one row a box, which hold tracklets exactly.

Rows of one tracklet follow each other. Columns: ``camera``, ``track``, ``frame``, ``time``, ``left``, ``top``,
``right``, ``bottom``, ``score``, ``person`` (null before linking), ``quality`` and ``embedding``. The last two are null
where the crop was not embedded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnireid.errors import DataNotFoundError, OmnireidError, TrackingError, newer_format
from omnireid.files import atomic_output
from omnireid.parquet import read_parquet
from omnireid.tracking.tracklets import Tracklet
from omnireid.types import FloatArray

FORMAT_VERSION = 1
_KEY = b"omnireid tracks"
_ROWS_TOGETHER = 20_000
"""Rows of a growing table that are written together, as a row group of Parquet."""
_BOX = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Recording:
    """What is known of one camera's recording.

    Attributes:
        width: Width of a frame in pixels.
        height: Height of a frame in pixels.
        started: Date and time of the first frame, in ISO 8601 with a time zone; None where the clock is not known.

    Raises:
        TrackingError: `started` is no such date and time.
    """

    width: int
    height: int
    started: str | None = None

    def __post_init__(self) -> None:
        if self.started is None:
            return
        try:
            zone = datetime.fromisoformat(self.started).tzinfo
        except ValueError:
            zone = None
        if zone is None:
            raise TrackingError(
                "started must be a date and time with a time zone, such as 2026-03-01T10:00:00+01:00; got "
                f"{self.started!r}."
            )


@dataclass(frozen=True, eq=False)
class TrackTable:
    """The tracklets of one camera or several, and who they show.

    Attributes:
        tracklets: Tracklets; no two of a camera have one number.
        people: (camera, number) of a tracklet to the number of its person. A missing tracklet is not linked yet.
        recordings: What is known of the recording, by camera.
        weights_sha256: SHA-256 of the weights that made the embeddings; None where there are none.
        preprocessing: Fields of the preprocessing of these weights.

    Raises:
        TrackingError: Two tracklets have one camera and number, a person is given to no tracklet, embeddings differ in
            width, or there are embeddings without the SHA-256 of their weights.
    """

    tracklets: tuple[Tracklet, ...]
    people: Mapping[tuple[str, int], int] = field(default_factory=dict)
    recordings: Mapping[str, Recording] = field(default_factory=dict)
    weights_sha256: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keys = [(tracklet.camera, tracklet.number) for tracklet in self.tracklets]
        known = set(keys)
        if len(known) < len(keys):
            camera, number = next(key for key in keys if keys.count(key) > 1)
            raise TrackingError(f"Two tracklets of camera {camera} have the number {number}.")
        if strange := sorted(set(self.people) - known):
            raise TrackingError(f"There is no tracklet {strange[0][1]} of camera {strange[0][0]} to give a person to.")
        widths = {one.embeddings.shape[1] for one in self.tracklets if len(one.embeddings)}
        if len(widths) > 1:
            raise TrackingError(f"The embeddings of a table have one width; found {sorted(widths)}.")
        if widths and self.weights_sha256 is None:
            raise TrackingError("There are embeddings, but not the SHA-256 of the weights that made them.")


def write_track_table(path: Path, table: TrackTable) -> None:
    """Write a table of tracks as Parquet, atomically. The same table gives the same rows.

    Raises:
        OutputError: The file cannot be written.
    """
    with track_table_file(path, table) as append:
        for tracklet in table.tracklets:
            append(tracklet, table.people.get((tracklet.camera, tracklet.number)))


@contextmanager
def track_table_file(path: Path, header: TrackTable) -> Iterator[Callable[[Tracklet, int | None], None]]:
    """Open a table of tracks that grows, for recordings whose tracklets do not fit into memory together.

    Args:
        path: File to write. It appears when the body ends, and not at all when the body raises.
        header: What is known beforehand: recordings, weights and preprocessing. Its tracklets are not written.

    Yields:
        The function that appends a tracklet and the number of its person, None where that is not known.

    Raises:
        OutputError: The file cannot be written.
    """
    record = {
        "format_version": FORMAT_VERSION,
        "weights_sha256": header.weights_sha256,
        "preprocessing": dict(header.preprocessing),
        "recordings": {camera: asdict(recording) for camera, recording in header.recordings.items()},
    }
    schema = _SCHEMA.with_metadata({_KEY: json.dumps(record).encode()})
    waiting: list[pa.Table] = []

    def flush() -> None:
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
            waiting.clear()

    def append(tracklet: Tracklet, person: int | None) -> None:
        waiting.append(pa.table(_columns_of(tracklet, person), schema=schema))
        if sum(len(part) for part in waiting) >= _ROWS_TOGETHER:
            flush()

    with atomic_output(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        yield append
        flush()


def read_track_table(path: Path) -> TrackTable:
    """Read what `write_track_table` wrote.

    Raises:
        DataNotFoundError: There is no such file.
        TrackingError: It is no table of tracks, was written by a newer version, or its rows form no tracklets.
    """
    if not path.is_file():
        raise DataNotFoundError(f"There is no file {path}.")
    try:
        rows = read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise TrackingError(f"{path} cannot be read as a Parquet file: {error}.") from error
    text = (rows.schema.metadata or {}).get(_KEY)
    if text is None or not rows.schema.remove_metadata().equals(_SCHEMA):
        raise TrackingError(f"{path} is no table of tracks, which write_track_table writes.")
    tracklets, people = _tracklets_of(rows, path)
    try:
        record = json.loads(text)
        if (version := record["format_version"]) > FORMAT_VERSION:
            raise TrackingError(newer_format(path, version, FORMAT_VERSION))
        recordings = {camera: Recording(**values) for camera, values in record["recordings"].items()}
        return TrackTable(tracklets, people, recordings, record["weights_sha256"], record["preprocessing"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrackingError(f"The metadata of {path} is damaged ({error!r}). Get the file again.") from error


_SCHEMA = pa.schema(
    [
        ("camera", pa.string()),
        ("track", pa.int64()),
        ("frame", pa.int64()),
        ("time", pa.float64()),
        *((name, pa.float32()) for name in _BOX),
        ("score", pa.float32()),
        ("person", pa.int64()),
        ("quality", pa.float32()),
        ("embedding", pa.list_(pa.float32())),
    ]
)


def _columns_of(tracklet: Tracklet, person: int | None) -> dict[str, Any]:
    count = len(tracklet.frames)
    qualities: list[float | None] = [None] * count
    embeddings: list[FloatArray | None] = [None] * count
    for row, quality, embedding in zip(tracklet.embedded, tracklet.qualities, tracklet.embeddings, strict=True):
        qualities[row], embeddings[row] = quality, embedding
    return {
        "camera": [tracklet.camera] * count,
        "track": [tracklet.number] * count,
        "frame": tracklet.frames,
        "time": tracklet.times,
        **{name: tracklet.boxes[:, index].astype(np.float32) for index, name in enumerate(_BOX)},
        "score": tracklet.scores.astype(np.float32),
        "person": [person] * count,
        "quality": qualities,
        "embedding": embeddings,
    }


def _tracklets_of(rows: pa.Table, path: Path) -> tuple[tuple[Tracklet, ...], dict[tuple[str, int], int]]:
    """The tracklets of a table in the order of their first rows, and who they show."""
    keys = list(zip(rows["camera"].to_pylist(), rows["track"].to_pylist(), strict=True))
    edges = [row for row in range(len(keys) + 1) if row in (0, len(keys)) or keys[row] != keys[row - 1]]
    tracklets, people = [], {}
    for start, end in pairwise(edges):
        part = rows.slice(start, end - start)
        camera, number = keys[start]
        embeddings = part["embedding"].to_pylist()
        embedded = np.array([row for row, one in enumerate(embeddings) if one is not None], dtype=np.int64)
        found = np.array([one for one in embeddings if one is not None], dtype=np.float32)
        try:
            tracklet = Tracklet(
                camera,
                number,
                part["frame"].to_numpy(),
                part["time"].to_numpy(),
                np.stack([part[name].to_numpy() for name in _BOX], axis=1),
                part["score"].to_numpy(),
                embedded,
                found.reshape(len(embedded), -1) if len(embedded) else np.empty((0, 0), np.float32),
                part["quality"].to_numpy()[embedded].astype(np.float32),
            )
        except OmnireidError as error:
            raise TrackingError(f"{path} holds no tracklets from row {start} on: {error}") from error
        tracklets.append(tracklet)
        person = part["person"][0].as_py()
        if person is not None:
            people[camera, number] = person
    return tuple(tracklets), people
