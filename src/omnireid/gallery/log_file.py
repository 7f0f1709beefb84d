"""The newest part of a local gallery's log: a file of lines, because a commit of LanceDB takes longer than a search.

The first line says how many entries the table of the log had when the file was begun, so every line has its place in
the log. Where the table has an entry at that place already, the line was copied there by a process that was killed
before it removed the file, and does not count again.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnireid.errors import GalleryError
from omnireid.files import output_errors


@dataclass(frozen=True)
class LogLines:
    """The entries of a log file.

    Attributes:
        before: Number of entries that the table had when the file was begun.
        entries: The entries as plain values, oldest first.
    """

    before: int = 0
    entries: tuple[Mapping[str, Any], ...] = ()

    def not_in(self, table_rows: int) -> tuple[Mapping[str, Any], ...]:
        """The entries that a table with so many rows does not have yet."""
        return self.entries[max(0, table_rows - self.before) :]


def append_lines(
    path: Path, entries: Sequence[Mapping[str, Any]], count_before: Callable[[], int], *, flush: bool
) -> None:
    """Append entries in one write. The caller holds the log's lock.

    Args:
        path: The file, which is begun where there is none.
        entries: The entries as plain values.
        count_before: Gives the number of entries in the table; called where the file is begun.
        flush: Bring the file to the disk. What is not flushed survives a kill, but not a power cut.

    Raises:
        DiskFullError: there is no room; the file is as it was.
        OutputError: the file cannot be written.
    """
    text = b"".join(map(_line, entries))
    with output_errors(path), path.open("a+b", buffering=0) as stream:
        size = _drop_torn_line(stream.fileno(), path)
        if not size:
            text = _line({"entries_before": count_before()}) + text
        try:
            if stream.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            stream.truncate(size)
            raise
        if flush:
            os.fsync(stream.fileno())


def read_lines(path: Path) -> LogLines:
    """Read the entries of a log file; none where there is no file. A last line that is not finished is no entry.

    Raises:
        GalleryError: a line is damaged; the message names it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return LogLines()
    records = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise GalleryError(
                f"Line {number} of the log {path} is damaged ({error}). Restore the file from a copy, or remove the "
                "line, whose entry is then lost."
            ) from error
    if not records:
        return LogLines()
    try:
        return LogLines(int(records[0]["entries_before"]), tuple(records[1:]))
    except (KeyError, TypeError, ValueError) as error:
        raise GalleryError(
            f"The log {path} does not begin with the number of entries before it. Restore the file from a copy."
        ) from error


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(values), sort_keys=True).encode() + b"\n"


def _drop_torn_line(handle: int, path: Path) -> int:
    """Cut off a last line that a power cut left unfinished. Returns the size of the file."""
    size = os.fstat(handle).st_size
    if not size:
        return 0
    os.lseek(handle, size - 1, os.SEEK_SET)
    if os.read(handle, 1) != b"\n":
        size = path.read_bytes().rfind(b"\n") + 1
        os.truncate(handle, size)
    return size
