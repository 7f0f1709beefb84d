"""The only file that talks to LanceDB: tables opened, read, appended to and rewritten, under one lock for writers."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from omnireid.errors import DiskFullError, GalleryError, OutputError, OutputInUseError, first_line, require
from omnireid.files import cache_folder, sole_writer

if TYPE_CHECKING:
    import pyarrow as pa

_NO_SPACE = ("No space left on device", "os error 28", "Disk quota exceeded", "File too large", "os error 27")
_NO_PERMISSION = ("Permission denied", "os error 13", "Read-only file system", "os error 30", "AccessDenied")
_WRITTEN_FOLDERS = ("data", "_deletions", "_indices", "_transactions", "_versions")
# Zero would do the same, with a warning about readers of older versions; readers here open the newest one again.
_AT_ONCE = timedelta(milliseconds=1)
_METADATA_CACHE_BYTES = 8 * 2**20
"""LanceDB keeps something of every version that it opened, 1 GiB if it may: tens of kilobytes for each write, which
nobody asks for again. The newest versions alone take a few megabytes where 200 writes have not been joined yet."""
_LOG_POLL_S = 0.001
"""Seconds between two tries for the lock of the log, which is held for less than that as a rule."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Database:
    """A LanceDB database at a place.

    Every method raises a `GalleryError` after a fork, because LanceDB's threads do not live on in the new process.

    Attributes:
        uri: A local folder, or an address such as ``s3://bucket/folder``.
        storage_options: What LanceDB needs to open an address, such as a region or an endpoint.
        process: The process that opened it.
        actor: Who acts, for the log, decisions and receipts; None is the user of this process.
    """

    uri: str
    storage_options: dict[str, str] = field(default_factory=dict, repr=False)
    process: int = field(default_factory=os.getpid)
    actor: str | None = None
    _open: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for an address."""
        return None if "://" in self.uri else Path(self.uri)

    @property
    def name(self) -> str:
        """The last part of its place."""
        return self.uri.rstrip("/\\").replace("\\", "/").rsplit("/", maxsplit=1)[-1]

    def check_process(self) -> None:
        """Refuse to go on in a fork.

        Raises:
            GalleryError: this process is a fork of the one that opened the database.
        """
        if os.getpid() != self.process:
            raise GalleryError(
                f"The gallery {self.uri} was opened before this process was forked, and LanceDB does not survive that. "
                'Start processes with multiprocessing.get_context("spawn"), or open the gallery in each of them.'
            )

    def table_names(self) -> tuple[str, ...]:
        """Names of the tables; none where there is no such folder."""
        self.check_process()
        if self.folder is not None and not self.folder.is_dir():
            return ()
        with self.reading():
            return tuple(self._connection().list_tables().tables)

    def table(self, name: str) -> Any:
        """A handle on the newest version of a table. Its rows stay those of this version.

        Raises:
            GalleryError: there is no such table, or its files are damaged.
        """
        with self.reading():
            return self._connection().open_table(name)

    def remember(self, what: str, name: str, read: Callable[[], _T], *, is_large: bool = False) -> _T:
        """What `read` gives, kept under the name `what`, and read again only after somebody wrote to the table `name`.

        A listing of the table's versions shows that in microseconds, for other processes too, and also where another
        gallery has taken the place. At an address asking for the version takes as long as reading a little, so only
        what is large is kept there.
        """
        versions = None if self.folder is None and not is_large else self.state(name)
        kept = self._open.get(f"remembered {what}")
        if versions is not None and kept is not None and kept[0] == versions:
            value: _T = kept[1]
            return value
        value = read()
        self._open[f"remembered {what}"] = versions, value
        return value

    def keep(self, what: str, name: str, value: object, handle: Any) -> None:
        """Let `remember` give this value from now on: what its `read` would give after a write of this process.

        The caller wrote to the table `name` with `handle` and still holds the lock, so nobody else has written since;
        at an address another machine may have, so there the version of the handle counts.
        """
        written = int(handle.version) if self.folder is None else self.state(name)
        self._open[f"remembered {what}"] = written, value

    def state(self, name: str) -> Hashable:
        """What changes whenever somebody writes to a table: its versions; None where there is no such local table.

        Take it before reading, so that what is written meanwhile is seen as a change.
        """
        self.check_process()
        if self.folder is None:
            return int(self.table(name).version)
        place = self.folder / f"{name}.lance" / "_versions"
        try:
            status = place.stat()
            return status.st_ino, status.st_mtime_ns, frozenset(path.name for path in place.iterdir())
        except OSError:
            return None

    def lock(self, name: str) -> threading.Lock:
        """A lock for the threads of this process, to read a table once for all of them."""
        made: threading.Lock = self._open.setdefault(f"lock {name}", threading.Lock())
        return made

    def rows(self, name: str, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Read the rows of a table's newest version that fit a filter, in the order in which they were written."""
        return self.read(self.table(name), columns, where)

    def read(self, table: Any, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Read the rows of a table that was opened before."""
        self.check_process()
        query = table.search()
        if where is not None:
            query = query.where(where)
        if columns is not None:
            query = query.select(list(columns))
        return self.fetch(query)

    def only_appended(self, table: Any, version: int) -> bool:
        """Whether rows were only appended to a table, which was opened, since another version of it.

        False where it is not known: older versions are deleted now and then, and at an address it takes longer to look
        at them than to read numbers and names of all rows.
        """
        if self.folder is None or version >= table.version:
            return False
        with self.reading():
            known = {one["version"]: one["metadata"] for one in table.list_versions()}
        if not known.keys() >= {*range(version, table.version + 1)}:
            return False
        counts = [
            (int(known[one].get("total_rows", 0)), int(known[one].get("total_deletion_file_rows", -1)))
            for one in range(version, table.version + 1)
        ]
        # An update marks the old rows as deleted and adds new ones, or replaces a file by one with as many rows.
        return all(rows > before and deleted == marked for (before, marked), (rows, deleted) in pairwise(counts))

    def read_behind(self, table: Any, count: int) -> pa.Table:
        """Read the rows of a table, which was opened before, behind the first `count` that were written."""
        return self.fetch(table.search().offset(count).limit(max(1, table.count_rows() - count)))

    def batches(self, table: Any) -> Iterator[pa.RecordBatch]:
        """Read all rows of a table that was opened before, a part at a time, so that no copy of all is made."""
        with self.reading():
            yield from table.search().to_batches()

    def fetch(self, query: Any) -> pa.Table:
        """Run a query of LanceDB's."""
        with self.reading():
            return query.to_arrow()

    def compact(self, name: str) -> None:
        """Join a table's small files, and delete all older versions."""
        handle = self.table(name)
        with self.writing(name):
            handle.optimize(cleanup_older_than=_AT_ONCE, delete_unverified=True)
            self._remove_leftovers(name)

    def create(self, name: str, schema: pa.Schema) -> Any:
        """Create an empty table, in the place of one that has the name."""
        mode = "overwrite" if name in self.table_names() else "create"
        with self.writing(name):
            return self._connection().create_table(name, schema=schema, mode=mode)

    def append(self, name: str, rows: pa.Table, *, flush: bool = True) -> Any:
        """Append rows, and return the handle of the table. With `flush`, they are on the disk when this returns."""
        with self.writing(name, flush=flush):
            handle = self.table(name)
            handle.add(rows)
        return handle

    def rewrite(self, name: str, rows: pa.RecordBatchReader) -> None:
        """Replace the rows of a table in one step, and delete every file of its older versions.

        LanceDB's own deletion marks rows and leaves their bytes, and its compaction keeps a file in which only a few
        rows are deleted. The text of a deletion's condition stays in the transaction. Only a new table is clean.
        """
        with self.writing(name):
            table = self._connection().create_table(name, data=rows, schema=rows.schema, mode="overwrite")
            table.optimize(cleanup_older_than=_AT_ONCE, delete_unverified=True)
            self._remove_leftovers(name)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn errors of LanceDB or of the storage in the body into typed ones."""
        self.check_process()
        with self._errors("read"):
            yield

    @contextmanager
    def writing(self, name: str, *, flush: bool = True) -> Iterator[None]:
        """Turn LanceDB's errors of the body into typed ones, and bring the new files of a local table to the disk."""
        self.check_process()
        with self._errors("write"):
            yield
            if flush and self.folder is not None:
                self._bring_to_disk(self.folder / f"{name}.lance")

    @contextmanager
    def sole_writer(self, what: Literal["gallery", "log"] = "gallery") -> Iterator[None]:
        """Hold the lock of writers, waiting for another one. The system releases it when a process dies.

        The log has a lock of its own, which is held for milliseconds, so that a search never waits for an `add`. A
        local gallery's lock is a file in its folder. Writers of an address wait for each other on one machine only.
        """
        self.check_process()
        if self.folder is not None:
            locked = self.folder / what
        else:
            locked = cache_folder() / "galleries" / hashlib.sha256(self.uri.encode()).hexdigest()[:16] / what
        with ExitStack() as stack:
            try:
                stack.enter_context(sole_writer(locked))
            except OutputInUseError:
                if what == "gallery":
                    warnings.warn(f"Waiting for another process that writes the gallery {self.uri}.", stacklevel=3)
                poll_s = 0.05 if what == "gallery" else _LOG_POLL_S
                stack.enter_context(sole_writer(locked, wait=True, poll_s=poll_s))
            yield

    def _connection(self) -> Any:
        if "connection" not in self._open:
            require("lancedb", "gallery", "A gallery")
            import lancedb

            session = lancedb.Session(metadata_cache_size_bytes=_METADATA_CACHE_BYTES)
            options = self.storage_options or None
            self._open["connection"] = lancedb.connect(self.uri, storage_options=options, session=session)
        return self._open["connection"]

    def _remove_leftovers(self, name: str) -> None:
        """Remove half-written files of a writer that was killed, which LanceDB leaves. The caller holds the lock."""
        if self.folder is not None:
            for path in (self.folder / f"{name}.lance").rglob(".tmp*"):
                path.unlink(missing_ok=True)

    def _bring_to_disk(self, table: Path) -> None:
        """Flush files that this process has not flushed yet, so that an acknowledged row survives a power cut."""
        before: set[str] = self._open.get(f"flushed {table.name}", set())
        flushed: set[str] = set()  # without files that are gone, so that it does not grow for ever
        for part in _WRITTEN_FOLDERS:
            for place, _, names in os.walk(table / part):
                there = {os.path.join(place, name) for name in names}  # noqa: PTH118
                fresh = there - before
                flushed |= there & before
                flushed.update(path for path in fresh if _flush(path))
                if fresh and os.name == "posix":
                    _flush(place)
        self._open[f"flushed {table.name}"] = flushed

    @contextmanager
    def _errors(self, purpose: str) -> Iterator[None]:
        """Turn what LanceDB raises into a typed error; its own classes say little, but its messages are clear."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, ValueError) and "was not found" not in str(error) and purpose == "write":
                raise
            raise self.translate(error) from error

    def translate(self, error: Exception) -> GalleryError | OutputError:
        """The typed error for one of LanceDB's."""
        text = str(error)
        if any(sign in text for sign in _NO_SPACE):
            return DiskFullError(
                f"No space left on the disk while writing the gallery {self.uri}. What was acknowledged before is "
                "untouched. Free some space and run the same command again."
            )
        if any(sign in text for sign in _NO_PERMISSION):
            return OutputError(
                f"No permission to write the gallery {self.uri} ({first_line(error)}). Change the folder's permissions."
            )
        return GalleryError(
            f"The gallery {self.uri} is damaged or incomplete, or no gallery: {first_line(error)}. Restore the folder "
            "from a copy, or make it again from the crops."
        )


def _flush(path: str) -> bool:
    """Flush a file; False where it is gone already."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return True
