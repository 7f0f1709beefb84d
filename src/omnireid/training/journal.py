"""The run's journal: one JSON object per line, appended during training, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, get_args

from omnireid.errors import DataNotFoundError, OutputError, TrainingError
from omnireid.files import atomic_output, make_folder, output_errors

LOG_NAME = "log.jsonl"
TENSORBOARD_NAME = "tensorboard"

Kind = Literal["step", "epoch", "evaluation", "event"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Entry = dict[str, Any]
"""One line of the journal: kind, step, epoch, seconds, images, and further values."""


class _Scalars(Protocol):
    """The methods of TensorBoard's writer that are used here."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, walltime: float) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Journal:
    """Writes ``log.jsonl`` and ``tensorboard/`` in a run's folder, from one process: rank 0 of a distributed run.

    Each line is handed to the system as it is written, so that a killed process loses none. TensorBoard's files are
    derived from the log and rebuilt when a run is resumed. Without TensorBoard only the log is written, and one line
    on standard error says how to get it.

    A run that resumes from the checkpoint of step s opens its journal with ``resume_at=s``. Entries of later steps are
    dropped, since those steps will be done again. Apart from its times, the log is then that of a run that was never
    interrupted, provided that everything about step s is logged before the checkpoint of step s is written.

    Args:
        folder: The run's folder; it is made if it is missing.
        resume_at: The last step to keep, -1 for none; None for a new run.

    Raises:
        OutputError: The folder cannot be written, or a new run finds the log of another one there.
        DiskFullError: No space is left.
        TrainingError: The log to be continued is damaged.

    >>> with Journal(Path("run")) as journal:  # doctest: +SKIP
    ...     journal.write("step", step=1, epoch=0.1, seconds=2.0, images=64, loss=6.6, learning_rate=0.065)
    """

    def __init__(self, folder: Path, *, resume_at: int | None = None) -> None:
        self.path = make_folder(folder) / LOG_NAME
        kept = _kept_entries(self.path, resume_at)
        if kept is not None:
            with atomic_output(self.path) as temporary:
                temporary.write_bytes(b"".join(map(_line, kept)))
        with output_errors(self.path):
            self._stream = self.path.open("ab", buffering=0)
        try:
            self._scalars = _open_tensorboard(folder / TENSORBOARD_NAME, kept or ())
        except BaseException:
            self._stream.close()
            raise

    def write(
        self,
        kind: Kind,
        *,
        step: int,
        epoch: float,
        seconds: float,
        images: int,
        **values: Any,
    ) -> None:
        """Append one entry.

        JSON has no NaN and no infinity, so such a value is written as null. TensorBoard gets it unchanged.

        Args:
            kind: ``step`` (means since the last one), ``epoch``, ``evaluation`` or ``event``.
            step: optimiser steps done so far.
            epoch: epochs done so far, with a fraction.
            seconds: time the run has taken so far, over all its parts where it was resumed.
            images: training images seen so far.
            values: numbers, texts or what else JSON can hold. `omnireid.training.curves` draws ``loss``, what ends in
                ``_loss``, ``learning_rate``, ``images_per_second``, and the scores ``rank1``,
                ``mean_average_precision``, ``top1`` and ``top5`` (fractions).

        Raises:
            DiskFullError: no space is left; the lines before this one are whole.
            OutputError: the log cannot be written.
            TrainingError: no such kind.
        """
        if kind not in KINDS:
            raise TrainingError(f"No kind of journal entry {kind!r}. Known: {', '.join(KINDS)}.")
        entry: Entry = {"kind": kind, "step": step, "epoch": epoch, "seconds": seconds, "images": images, **values}
        entry = {name: _plain(value) for name, value in entry.items()}
        with output_errors(self.path):
            self._append(_line(entry))
        if self._scalars is not None:
            with output_errors(self.path.parent / TENSORBOARD_NAME):
                _add_scalars(self._scalars, entry, time.time())
                if kind != "step":  # other kinds are rare, and people wait for them
                    self._scalars.flush()

    def close(self) -> None:
        """Finish both files. Closing twice is harmless."""
        self._stream.close()
        scalars, self._scalars = self._scalars, None
        if scalars is not None:
            with output_errors(self.path.parent / TENSORBOARD_NAME):
                scalars.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        """Write a whole line, or remove the part of it that was written."""
        start = self._stream.seek(0, 2)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError:
            with suppress(OSError):
                self._stream.truncate(start)
            raise


def read_journal(path: Path) -> list[Entry]:
    """Read a run's log.

    A last line that was cut off, by a kill or a full disk, is left out.

    Args:
        path: The log, or the run's folder.

    Returns:
        The entries in the order they were written; a number that was not finite is None.

    Raises:
        DataNotFoundError: There is no log.
        TrainingError: The log cannot be read, or a line before the last is damaged; the message says which.
    """
    if path.is_dir():
        path = path / LOG_NAME
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise DataNotFoundError(f"There is no journal {path}. Name the folder of a run, or its {LOG_NAME}.") from error
    except OSError as error:
        raise TrainingError(f"The journal {path} cannot be read: {error.strerror or error}.") from error
    while lines and not lines[-1].strip():
        lines.pop()
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        entry, reason = _parse(line)
        if entry is not None:
            entries.append(entry)
        elif number < len(lines):
            raise TrainingError(
                f"Line {number} of {len(lines)} of the journal {path} is damaged: {reason}. Remove that line to read "
                "the rest, or take the file from a backup."
            )
    return entries


def _parse(line: bytes) -> tuple[Entry | None, str]:
    """Read a line: the entry, or None and what is wrong with it."""
    try:
        value = json.loads(line)
    except ValueError as error:  # JSON's and UTF-8's errors both derive from it
        return None, f"it is not JSON ({error})"
    if not isinstance(value, dict):
        return None, "it is no JSON object"
    if value.get("kind") not in KINDS:
        return None, f"its kind is {value.get('kind')!r}, not one of {', '.join(KINDS)}"
    numbers = ("step", "epoch", "seconds", "images")
    wrong = [name for name in numbers if not isinstance(value.get(name), (int, float))]
    return (None, f"it has no number for {wrong[0]}") if wrong else (value, "")


def _kept_entries(path: Path, resume_at: int | None) -> list[Entry] | None:
    """The entries to keep; None if there is no log."""
    try:
        entries = read_journal(path)
    except DataNotFoundError:
        return None
    if resume_at is None:
        if entries:
            raise OutputError(
                f"{path} holds the log of another run, up to step {entries[-1]['step']}. Resume that run, or choose "
                "another folder."
            )
        return entries
    return [entry for entry in entries if entry["step"] <= resume_at]


def _line(entry: Entry) -> bytes:
    """The entry as one line of JSON."""
    return (json.dumps(_finite(entry), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """The value, with numbers that are not finite replaced by None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value


def _plain(value: Any) -> Any:
    """Turn a number of NumPy or torch into Python's own."""
    return value.item() if hasattr(value, "item") else value


def _open_tensorboard(folder: Path, entries: Iterable[Entry]) -> _Scalars | None:
    """Open TensorBoard's writer with the entries so far in it; None if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print(
            "TensorBoard is not installed, so the run gets no tensorboard folder; its log is complete without. "
            "Install it with: pip install 'omnireid[train]'",
            file=sys.stderr,
        )
        return None
    with output_errors(folder):
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        # purge_step=0 tells a running TensorBoard to drop what it has read from the files just removed.
        scalars: _Scalars = SummaryWriter(str(folder), purge_step=0, flush_secs=10)
        now, known = time.time(), list(entries)
        for entry in known:
            _add_scalars(scalars, entry, now - known[-1]["seconds"] + entry["seconds"])
        scalars.flush()
    return scalars


def _add_scalars(scalars: _Scalars, entry: Entry, walltime: float) -> None:
    for name, value in entry.items():
        if name not in ("kind", "step") and isinstance(value, (int, float)):
            scalars.add_scalar(f"{entry['kind']}/{name}", float(value), int(entry["step"]), walltime)
