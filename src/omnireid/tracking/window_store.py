"""Finished windows of a recording on disk, so that a run that was stopped or killed goes on where it ended.

The detections and embeddings of finished windows are kept in ``.<output>.parts/``
beside the output. A later run of the same job follows the boxes again from these,
which is quick, and neither detects nor embeds anything twice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnireid.embedding.embedder import Embedder
from omnireid.files import atomic_output, make_folder, write_json
from omnireid.tracking.detections import FrameDetections
from omnireid.tracking.tracking_options import TrackingOptions
from omnireid.tracking.windows import EmbeddedCrop, SeenFrame, Window
from omnireid.version import __version__

FRAMES_A_PART = 500
"""Frames after which a part is written, at the end of a window. A kill costs at most this many."""

_SCHEMA = pa.schema(
    [
        ("frame", pa.int64()),
        ("time", pa.float64()),
        ("box", pa.list_(pa.float32(), 4)),
        ("score", pa.float32()),
        ("quality", pa.float32()),
        ("embedding", pa.list_(pa.float32())),
    ]
)


class WindowStore:
    """Finished windows of one job.

    Args:
        output: File of the job's result; the folder of parts lies beside it.
        job: Everything that the windows depend on, as plain values. Parts of another job are removed.

    Raises:
        OutputError: The folder cannot be made or written.
    """

    def __init__(self, output: Path, job: Mapping[str, Any]) -> None:
        self._folder = output.parent / f".{output.name}.parts"
        self._waiting: list[Window] = []
        record = {"job": hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()}
        stated = self._folder / "job.json"
        try:
            is_same = json.loads(stated.read_text(encoding="utf-8")) == record
        except (OSError, ValueError):
            is_same = False
        if not is_same:
            shutil.rmtree(self._folder, ignore_errors=True)
            make_folder(self._folder)
            write_json(stated, record)
        self._count = 0
        while self._part(self._count).is_file():
            self._count += 1

    def read(self) -> Iterator[SeenFrame]:
        """The frames of all finished windows, in their order."""
        for number in range(self._count):
            yield from _frames_of(pq.read_table(self._part(number)))

    def add(self, window: Window) -> None:
        """Keep a new window. It is on the disk as soon as a part is complete.

        Raises:
            OutputError: The part cannot be written.
        """
        self._waiting.append(window)
        if sum(len(one.frames) for one in self._waiting) >= FRAMES_A_PART:
            self.flush()

    def flush(self) -> None:
        """Write the windows that wait."""
        if self._waiting:
            with atomic_output(self._part(self._count)) as temporary:
                pq.write_table(_table_of(self._waiting), temporary)
            self._count += 1
            self._waiting = []

    def remove(self) -> None:
        """Remove everything, because the job is done."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:08d}.parquet"


def _table_of(windows: list[Window]) -> pa.Table:
    """One row a detection; a frame without any has one row without a box."""
    rows: list[dict[str, Any]] = []
    for window in windows:
        crops = {(crop.frame, crop.row): crop for crop in window.crops.values()}
        for frame in window.frames:
            number = frame.detections.frame
            if not len(frame.detections):
                rows.append({"frame": number, "time": frame.time})
            for row, (box, score) in enumerate(zip(frame.detections.boxes, frame.detections.scores, strict=True)):
                crop = crops.get((number, row))
                rows.append(
                    {
                        "frame": number,
                        "time": frame.time,
                        "box": box,
                        "score": score,
                        "quality": None if crop is None else crop.quality,
                        "embedding": None if crop is None else crop.embedding,
                    }
                )
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _frames_of(table: pa.Table) -> Iterator[SeenFrame]:
    numbers = table["frame"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], np.diff(numbers) > 0]))
    for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
        number = int(numbers[start])
        rows = [row for row in table.slice(start, end - start).to_pylist() if row["box"] is not None]
        boxes = np.array([row["box"] for row in rows], dtype=np.float32).reshape(-1, 4)
        scores = np.array([row["score"] for row in rows], dtype=np.float32)
        crops = {
            place: EmbeddedCrop(number, place, np.array(row["embedding"], dtype=np.float32), row["quality"])
            for place, row in enumerate(rows)
            if row["embedding"] is not None
        }
        yield SeenFrame(FrameDetections(number, boxes, scores), table["time"][int(start)].as_py(), None, crops)


def describe_job(
    source: str, people: Sequence[str | Path], embedder: Embedder, options: TrackingOptions, *more: Any
) -> dict[str, Any]:
    """Everything that the windows of a recording depend on. How tracklets are linked is not part of it.

    Args:
        source: The video file or folder of images.
        people: Files that say where people are: detections, or a detector.
        embedder: What embeds the crops.
        options: How people are tracked.
        more: Further options, as values whose text says everything.
    """
    files = [Path(source), *map(Path, people)]
    if files[0].is_dir():
        files[:1] = sorted(files[0].iterdir())
    return {
        "files": [[str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "weights_sha256": embedder.weights_sha256,
        "run": [embedder.runtime, embedder.precision],
        "options": [repr(value) for value in (options.motion, options.crops, *more)],
        "version": __version__,
    }
