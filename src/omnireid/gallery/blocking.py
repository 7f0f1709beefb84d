"""Crops that must not come back: known by a salted hash of their content, from which the content cannot be guessed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from omnireid.gallery.database import Database
from omnireid.gallery.schema import BLOCKED, blocked_schema


def salted_hash(salt: str, content_sha256: str) -> str:
    """The hash under which a crop is blocked. Without the gallery's salt it says nothing about the crop."""
    return hmac.new(salt.encode(), content_sha256.encode(), hashlib.sha256).hexdigest()


def block_contents(database: Database, salt: str, contents: Iterable[str]) -> None:
    """Block crops by the SHA-256 of their contents; those that are blocked already stay so."""
    import pyarrow as pa

    hashes = sorted({salted_hash(salt, content) for content in contents} - read_blocked(database))
    if hashes:
        database.append(BLOCKED, pa.table({"hash": hashes}, schema=blocked_schema()))


def read_blocked(database: Database) -> set[str]:
    """The hashes of all blocked crops."""
    return set(database.rows(BLOCKED).column("hash").to_pylist())
