"""The log of who searched, changed and removed what: rows are only ever appended."""

from __future__ import annotations

import getpass
import json
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from omnireid.errors import GalleryError, OutputError
from omnireid.gallery.database import Database
from omnireid.gallery.schema import AUDIT, audit_schema


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


def log_action(database: Database, action: str, details: Mapping[str, Any], who: str | None = None) -> None:
    """Append an entry. A search does not wait for its entry to reach the disk."""
    import pyarrow as pa

    row = {
        "time": [datetime.now(UTC)],
        "who": [who or this_user()],
        "action": [action],
        "details": [json.dumps(dict(details), sort_keys=True)],
    }
    with database.sole_writer("log"):
        database.append(AUDIT, pa.table(row, schema=audit_schema()), flush=action != "search")


def read_audit(database: Database) -> list[AuditEntry]:
    """All entries, in the order in which they were written."""
    rows = database.rows(AUDIT).to_pylist()
    return [AuditEntry(row["time"], row["who"], row["action"], json.loads(row["details"])) for row in rows]


def log_search(
    database: Database, *, queries: int, count: int, asked: Mapping[str, Any], first_found: Sequence[int]
) -> None:
    """Log a search. One that cannot be logged, as on a read-only disk, is answered with a warning.

    Args:
        database: The gallery's database.
        queries: Number of queries.
        count: Number of sightings that were asked for.
        asked: The filter.
        first_found: Number of the first sighting that each query found; the entry keeps twenty.
    """
    details = {"queries": queries, "count": count, "filter": dict(asked), "first_found": sorted(set(first_found))[:20]}
    try:
        log_action(database, "search", details)
    except OutputError as error:
        warnings.warn(f"This search is not in the gallery's log: {error}", stacklevel=4)


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
