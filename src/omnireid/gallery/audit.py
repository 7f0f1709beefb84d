"""The log of who searched, changed and removed what: rows are only ever appended."""

from __future__ import annotations

import getpass
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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
