"""The log of who searched, changed and removed what: entries are only ever appended.

The log of a local gallery is a file of lines first (`log_file`), which `optimize` and an erasure move to the table. At
an address, where files cannot be appended to, every entry goes to the table at once.
"""

from __future__ import annotations

import getpass
import json
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.errors import GalleryError, OutputError
from omnireid.gallery.database import Database
from omnireid.gallery.log_file import LogLines, append_lines, read_lines
from omnireid.gallery.schema import AUDIT, audit_schema

if TYPE_CHECKING:
    import pyarrow as pa

LOG_FILE = "audit.jsonl"


@dataclass(frozen=True)
class AuditEntry:
    """One action on a gallery.

    Attributes:
        time: When, in UTC.
        who: User and machine.
        action: What was done, such as ``search``, ``add`` or ``remove``.
        details: Counts, filters and numbers of sightings. Neither paths nor embeddings are logged.
    """

    time: datetime
    who: str
    action: str
    details: Mapping[str, Any]

    def json(self) -> dict[str, Any]:
        """The entry as plain values."""
        return {"time": self.time.isoformat(), "who": self.who, "action": self.action, "details": dict(self.details)}


def this_user() -> str:
    """The user and machine that act, such as ``anna@desk``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name, as in a container
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"


def acting_user(database: Database) -> str:
    """Who acts on a gallery: whom its opener named, else the user of this process."""
    return database.actor or this_user()


def log_action(database: Database, action: str, details: Mapping[str, Any]) -> None:
    """Append an entry about what whoever opened the gallery has just done."""
    log_entries(database, [AuditEntry(datetime.now(UTC), acting_user(database), action, dict(details))])


def log_entries(database: Database, entries: Sequence[AuditEntry]) -> None:
    """Append entries in one write. A search does not wait for its entry to reach the disk."""
    plain, file = [entry.json() for entry in entries], _log_file(database)
    flush = any(entry.action != "search" for entry in entries)
    with database.sole_writer("log"):
        if file is None:
            database.append(AUDIT, _rows_of(plain), flush=flush)
        else:
            append_lines(file, plain, lambda: int(database.table(AUDIT).count_rows()), flush=flush)


def read_audit(database: Database) -> list[AuditEntry]:
    """All entries, in the order in which they were written."""
    rows = audit_rows(database).to_pylist()
    return [AuditEntry(row["time"], row["who"], row["action"], json.loads(row["details"])) for row in rows]


def audit_rows(database: Database) -> pa.Table:
    """All entries as rows of the log's table, whether they are there already or still in the file.

    Raises:
        GalleryError: the table or the file is damaged.
    """
    import pyarrow as pa

    lines = _recent_lines(database)  # before the table, where they may be moved meanwhile
    rows = database.rows(AUDIT)
    return pa.concat_tables([rows, _rows_of(lines.not_in(len(rows)))])


def replace_audit_rows(database: Database, rows: pa.Table) -> None:
    """Write the log anew, as `audit_rows` gave it and with as many rows. The caller holds its lock."""
    database.rewrite(AUDIT, rows.to_reader())
    _remove_file(database)


def compact_audit(database: Database) -> None:
    """Move the lines of the file to the table, and join the table's small files. The caller holds the log's lock."""
    moved = _recent_lines(database).not_in(int(database.table(AUDIT).count_rows()))
    if moved:
        database.append(AUDIT, _rows_of(moved))
    _remove_file(database)
    database.compact(AUDIT)


def log_search(
    database: Database,
    *,
    queries: int,
    count: int,
    asked: Mapping[str, Any],
    found: int,
    first_found: Sequence[int],
    contents: Sequence[str] = (),
) -> None:
    """Log a search. One that cannot be logged, as on a read-only disk, is answered with a warning.

    Args:
        database: The gallery's database.
        queries: Number of queries.
        count: Number of sightings that were asked for.
        asked: The filter.
        found: Number of sightings that were found, over all queries.
        first_found: Number of the first sighting that each query found; the entry keeps twenty.
        contents: SHA-256 of the content of each query, where the caller names it.
    """
    details = {
        "queries": queries,
        "count": count,
        "filter": dict(asked),
        "found": found,
        "first_found": sorted(set(first_found))[:20],
    }
    if contents:
        details["contents_sha256"] = list(contents)
    try:
        log_action(database, "search", details)
    except OutputError as error:
        warnings.warn(f"This search is not in the gallery's log: {error}", stacklevel=4)


def _log_file(database: Database) -> Path | None:
    return None if database.folder is None else database.folder / LOG_FILE


def _recent_lines(database: Database) -> LogLines:
    file = _log_file(database)
    return LogLines() if file is None else read_lines(file)


def _remove_file(database: Database) -> None:
    if (file := _log_file(database)) is not None:
        file.unlink(missing_ok=True)


def _rows_of(entries: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    columns = {
        "time": [datetime.fromisoformat(entry["time"]) for entry in entries],
        "who": [entry["who"] for entry in entries],
        "action": [entry["action"] for entry in entries],
        "details": [json.dumps(entry["details"], sort_keys=True) for entry in entries],
    }
    return pa.table(columns, schema=audit_schema())


def now_after(entries: Sequence[AuditEntry], place: str) -> datetime:
    """The time, after a check that it is not before the last entry of the log.

    Raises:
        GalleryError: the clock went backwards, so nobody knows how old a sighting is.
    """
    now = datetime.now(UTC)
    last = max((entry.time for entry in entries), default=now)
    if last > now:
        raise GalleryError(
            f"The clock says {now.isoformat(timespec='seconds')}, but the log of {place} has an entry of "
            f"{last.isoformat(timespec='seconds')}: the clock went backwards. Set it right first."
        )
    return now
