"""MOTChallenge's text files: detections, results, ground truth and ``seqinfo.ini``.

A line is ``frame, identity, left, top, width, height, confidence`` and then either ``class, visibility`` (ground truth
since MOT16) or ``x, y, z`` (MOT15, detections and results). Frames count from 1 in these files and from 0 in
`MotTable`; this module is the only one that converts.

Source: Leal-Taixé et al., "MOTChallenge 2015: Towards a Benchmark for Multi-Target Tracking", arXiv:1504.01942;
Milan et al., "MOT16: A Benchmark for Multi-Object Tracking", arXiv:1603.00831.
"""

from __future__ import annotations

import configparser
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from omnireid.errors import DataNotFoundError, TrackingError
from omnireid.files import atomic_output
from omnireid.tracking.detections import FrameDetections
from omnireid.types import BoolArray, DoubleArray, FloatArray, IntArray

NO_IDENTITY = -1
"""What stands in the place of an identity in a file of detections."""
PERSON_CLASS = 1
"""MOT16's class of people on foot. Files without a class hold nothing else."""

_COLUMNS = ("frame", "identity", "left", "top", "width", "height", "confidence")
_OUTSIDE_SHARE = 0.1  # people at the edge of a frame have centres outside it, but never one box in ten


@dataclass(frozen=True, eq=False)
class MotTable:
    """The N boxes of one file, in the order of frames.

    Attributes:
        frames: (N,) numbers of the frames, counted from 0, never falling.
        identities: (N,) identities; `NO_IDENTITY` in detections.
        boxes: (N, 4) float64 left, top, right, bottom in pixels of the frame; right and bottom are excluded.
        confidences: (N,) the seventh column as it is in the file. In ground truth, 0 marks a box that is not scored.
        classes: (N,) class of each box; `PERSON_CLASS` where the file has no such column.
        visibilities: (N,) visible fraction of each box in [0, 1]; 1 where the file has no such column.
        notes: What a reader of the file should know, such as that its lines had to be sorted.
    """

    frames: IntArray
    identities: IntArray
    boxes: DoubleArray
    confidences: DoubleArray
    classes: IntArray
    visibilities: DoubleArray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, rows: IntArray | BoolArray) -> MotTable:
        """The given rows, which must be in the order of frames."""
        return MotTable(
            self.frames[rows],
            self.identities[rows],
            self.boxes[rows],
            self.confidences[rows],
            self.classes[rows],
            self.visibilities[rows],
            self.notes,
        )

    def detections(self) -> dict[int, FrameDetections]:
        """The boxes of each frame that has any, with their `scores`; the keys rise."""
        scores, _ = scale_confidences(self.confidences)
        frames, starts, counts = np.unique(self.frames, return_index=True, return_counts=True)
        return {
            int(frame): FrameDetections(int(frame), self.boxes[rows].astype(np.float32), scores[rows])
            for frame, rows in zip(frames, map(slice, starts, starts + counts), strict=True)
        }


@dataclass(frozen=True)
class SequenceInfo:
    """What ``seqinfo.ini`` says of a sequence; None for what it leaves out.

    Attributes:
        name: Name of the sequence.
        frames: Number of its frames.
        frame_rate: Frames a second.
        width: Width of a frame in pixels.
        height: Height of a frame in pixels.
    """

    name: str
    frames: int
    frame_rate: float | None = None
    width: int | None = None
    height: int | None = None


def scale_confidences(confidences: DoubleArray) -> tuple[FloatArray, str | None]:
    """Bring a file's confidences to [0, 1], and say how where they were not.

    Confidences within [0, 1] stay as they are. A file in which all are -1 states none, and each box counts as certain.
    Any other range is scaled linearly, so that the lowest confidence of the file becomes 0 and the highest 1.
    """
    if not len(confidences) or (confidences.min() >= 0 and confidences.max() <= 1):
        return confidences.astype(np.float32), None
    low, high = float(confidences.min()), float(confidences.max())
    if low == high:
        note = f"All confidences are {low:g}; each box counts as certain."
        return np.ones(len(confidences), dtype=np.float32), note
    scaled = ((confidences - low) / (high - low)).astype(np.float32)
    return scaled, f"Confidences from {low:g} to {high:g} were scaled to the range from 0 to 1."


def read_detections(path: Path) -> MotTable:
    """Read ``det.txt``. Identities in it are ignored, and a file without a line is one without a person.

    Raises:
        DataNotFoundError: There is no such file.
        TrackingError: A line cannot be read; the message has its number.
    """
    table, _ = _read_table(path)
    note = scale_confidences(table.confidences)[1]
    notes = table.notes if note is None else (*table.notes, f"{path}: {note}")
    return replace(table, identities=np.full(len(table), NO_IDENTITY, dtype=np.int64), notes=notes)


def read_tracks(path: Path) -> MotTable:
    """Read results or ground truth, in which every box has an identity.

    Raises:
        DataNotFoundError: There is no such file.
        TrackingError: A line cannot be read, has no identity, or repeats an identity within its frame; the message has
            its number.
    """
    table, lines = _read_table(path)
    nobody = np.flatnonzero(table.identities < 0)
    if len(nobody):
        raise TrackingError(
            f"{path}, line {lines[nobody[0]]}: the identity is {table.identities[nobody[0]]}, so this is a file of "
            "detections. Tracks have identities from 0 or 1."
        )
    first_seen: dict[tuple[int, int], int] = {}
    for frame, identity, line in zip(table.frames.tolist(), table.identities.tolist(), lines, strict=True):
        earlier = first_seen.setdefault((frame, identity), line)
        if earlier != line:
            raise TrackingError(
                f"{path}, line {line}: identity {identity} has two boxes in frame {frame + 1}; the other is in line "
                f"{earlier}. Keep one of them."
            )
    return table


def write_results(path: Path, table: MotTable) -> None:
    """Write tracks or detections in ten columns, as MOT15 wants results. World positions are -1.

    Raises:
        OutputError: The file cannot be written.
    """
    with results_file(path) as append:
        append(table)


@contextmanager
def results_file(path: Path) -> Iterator[Callable[[MotTable], None]]:
    """Open a file of tracks that grows, and yield the function that appends boxes; see `write_results`.

    The boxes of a frame must come together, and frames in the order of time. The file appears when the body ends.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_output(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        yield lambda table: stream.writelines(
            _lines(table, [f"{value:.6g},-1,-1,-1" for value in table.confidences.tolist()])
        )


def write_ground_truth(path: Path, table: MotTable) -> None:
    """Write ground truth in MOT16's nine columns: with class and visibility.

    Raises:
        OutputError: The file cannot be written.
    """
    columns = (table.confidences.tolist(), table.classes.tolist(), table.visibilities.tolist())
    endings = [f"{flag:.0f},{kind},{seen:.3f}" for flag, kind, seen in zip(*columns, strict=True)]
    with atomic_output(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(_lines(table, endings))


def check_image_size(table: MotTable, width: int, height: int, path: Path) -> None:
    """Check that boxes can belong to frames of the given size.

    Args:
        table: Boxes of a file.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        path: The file, for the message.

    Raises:
        TrackingError: More than one box in ten has its centre outside the frame.
    """
    centres = (table.boxes[:, :2] + table.boxes[:, 2:]) / 2
    outside = ((centres < 0) | (centres >= (width, height))).any(axis=1)
    if len(table) and outside.mean() > _OUTSIDE_SHARE:
        right, bottom = table.boxes[:, 2:].max(axis=0)
        raise TrackingError(
            f"{outside.mean():.0%} of the boxes in {path} lie outside the frame of {width} x {height} pixels; they "
            f"reach to {right:.0f} x {bottom:.0f}. They were made for another image size: scale them, or give the "
            "video that they belong to."
        )


def read_sequence_info(path: Path) -> SequenceInfo:
    """Read ``seqinfo.ini``.

    Raises:
        DataNotFoundError: There is no such file.
        TrackingError: It has no section ``[Sequence]`` with a positive ``seqLength``, or a value is no number.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_read_text(path))
        section = parser["Sequence"]
    except configparser.Error as error:
        raise TrackingError(f"{path} is no seqinfo.ini: {str(error).splitlines()[0]}.") from error
    except KeyError:
        raise TrackingError(f"{path} has no section [Sequence], so it is no seqinfo.ini.") from None

    def positive(key: str) -> float | None:
        text = section.get(key)
        value = None if text is None else _as_number(text)
        if text is not None and (value is None or value <= 0):
            raise TrackingError(f"{path}: {key} must be a number above 0; found {text!r}.")
        return value

    def whole(key: str) -> int | None:
        value = positive(key)
        if value is not None and value != int(value):
            raise TrackingError(f"{path}: {key} must be a whole number; found {value:g}.")
        return None if value is None else int(value)

    frames = whole("seqLength")
    if frames is None:
        raise TrackingError(f"{path} does not state seqLength, the number of frames.")
    name = section.get("name") or path.parent.name
    return SequenceInfo(name, frames, positive("frameRate"), whole("imWidth"), whole("imHeight"))


def write_sequence_info(path: Path, info: SequenceInfo) -> None:
    """Write ``seqinfo.ini``.

    Raises:
        OutputError: The file cannot be written.
    """
    rate = None if info.frame_rate is None else f"{info.frame_rate:g}"
    values = {"frameRate": rate, "seqLength": info.frames, "imWidth": info.width, "imHeight": info.height}
    lines = [f"{key}={value}" for key, value in values.items() if value is not None]
    with atomic_output(path) as temporary:
        temporary.write_text("\n".join(["[Sequence]", f"name={info.name}", *lines, ""]), encoding="utf-8")


def _lines(table: MotTable, endings: list[str]) -> Iterator[str]:
    """The rows by frame and identity, each with its ending from the seventh column on."""
    lefts, tops = table.boxes[:, 0], table.boxes[:, 1]
    widths, heights = np.maximum(table.boxes[:, 2:] - table.boxes[:, :2], 0.01).T  # 0.00 would be no box
    for row in np.lexsort((table.identities, table.frames)).tolist():
        box = f"{lefts[row]:.2f},{tops[row]:.2f},{widths[row]:.2f},{heights[row]:.2f}"
        yield f"{table.frames[row] + 1},{table.identities[row]},{box},{endings[row]}\n"


def _read_table(path: Path) -> tuple[MotTable, list[int]]:
    """The boxes of a file in the order of frames, and the line number of each."""
    rows: list[tuple[float, ...]] = []
    lines: list[int] = []
    for line, text in enumerate(_read_text(path).splitlines(), start=1):
        if text.strip():
            rows.append(_parse_line(text, f"{path}, line {line}"))
            lines.append(line)
    values = np.array(rows, dtype=np.float64).reshape(-1, 9)
    order = np.argsort(values[:, 0], kind="stable")
    notes = () if (np.diff(values[:, 0]) >= 0).all() else (f"{path}: The lines were not in the order of frames.",)
    values = values[order]
    boxes = np.concatenate([values[:, 2:4], values[:, 2:4] + values[:, 4:6]], axis=1)
    whole = values.astype(np.int64)
    table = MotTable(whole[:, 0], whole[:, 1], boxes, values[:, 6], whole[:, 7], values[:, 8], notes)
    return table, [lines[row] for row in order.tolist()]


def _parse_line(text: str, where: str) -> tuple[float, ...]:
    """Frame from 0, identity, left, top, width, height, confidence, class and visibility."""
    words = text.split(",") if "," in text else text.split()
    if len(words) < len(_COLUMNS) - 1:
        raise TrackingError(
            f"{where}: a line needs at least frame, identity, left, top, width and height; found {text.strip()!r}."
        )
    numbers = [_as_number(word) for word in words]
    for place, number in enumerate(numbers):
        if number is None:
            name = _COLUMNS[place] if place < len(_COLUMNS) else f"column {place + 1}"
            raise TrackingError(f"{where}: {name} must be a finite number; found {words[place].strip()!r}.")
    known = [number for number in numbers if number is not None]
    frame, identity, _, _, width, height = known[:6]
    if frame != int(frame) or frame < 1:
        raise TrackingError(f"{where}: frames are whole numbers from 1; found {frame:g}.")
    if identity != int(identity):
        raise TrackingError(f"{where}: an identity is a whole number; found {identity:g}.")
    if width <= 0 or height <= 0:
        raise TrackingError(f"{where}: a box needs a width and height above 0; found {width:g} x {height:g}.")
    confidence = known[6] if len(known) > 6 else 1.0
    has_class = len(known) in (8, 9)
    kind = known[7] if has_class else float(PERSON_CLASS)
    visibility = known[8] if len(known) == 9 else 1.0
    return (frame - 1, *known[1:6], confidence, kind, min(max(visibility, 0.0), 1.0))


def _as_number(word: str) -> float | None:
    """The finite number that a word is, or None."""
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataNotFoundError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TrackingError(f"Cannot read {path} as text: {error}.") from error
