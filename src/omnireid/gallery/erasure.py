"""Erasing sightings so that nothing of them is left on the disk, with a receipt that says so."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from omnireid.errors import FilterError, GalleryError, list_briefly
from omnireid.gallery.audit import acting_user, audit_rows, log_action, replace_audit_rows
from omnireid.gallery.blocking import block_contents
from omnireid.gallery.database import Database
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.identities import erase_people
from omnireid.gallery.reindexing import reindex_folder
from omnireid.gallery.schema import SIGHTINGS, GalleryFacts, write_facts
from omnireid.gallery.snapshot import embeddings_of
from omnireid.gallery.stored_files import files_with_bytes, list_stored_files

if TYPE_CHECKING:
    import pyarrow as pa

_SEARCHED_SIGHTINGS = 8
"""Erased sightings whose bytes are looked for in every file. That no old file is left is checked for all of them."""
_QUOTED = re.compile(r"'((?:[^']|'')*)'|\"((?:[^\"]|\"\")*)\"")


@dataclass(frozen=True)
class ErasureReceipt:
    """What was erased, when, by whom, and how it was verified.

    Attributes:
        gallery: Name of the gallery: the last part of its place, because receipts are handed out.
        erased: What was asked for, such as ``{"persons": ["anna"]}``.
        time: When it was done, in UTC.
        who: User and machine.
        sightings: Number of sightings that were erased.
        people: Number of people of whom nothing is left.
        blocked: Whether the same crops are refused from now on.
        files: Files of the gallery that were read byte by byte afterwards.
        bytes: Their size together.
        found: Times that a path or embedding of an erased sighting was found in them, and old files that were left.
        verified: Whether nothing was found. On object storage other than S3 only rows are verified, and `files` is 0.
        signature: HMAC of all this with the gallery's secret, by which the gallery knows its own receipts.
    """

    gallery: str
    erased: Mapping[str, Any]
    time: str
    who: str
    sightings: int
    people: int
    blocked: bool
    files: int
    bytes: int
    found: int
    verified: bool
    signature: str = ""

    def json(self) -> dict[str, Any]:
        """The receipt as plain values."""
        return asdict(self)

    def signed(self, salt: str) -> ErasureReceipt:
        """The receipt with its signature."""
        text = json.dumps(asdict(replace(self, signature="")), sort_keys=True)
        return replace(self, signature=hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest())


def erase(database: Database, facts: GalleryFacts, which: SightingFilter, *, block: bool) -> ErasureReceipt:
    """Erase the sightings that fit a filter: rows, old versions, and their names in the log.

    The caller holds the lock. Killed at any moment, the gallery holds either all of these sightings or none of them,
    and `finish_erasure` removes the files that are left.

    Args:
        database: The gallery's database.
        facts: Its facts.
        which: The filter; one that every sighting fits is refused.
        block: Refuse the same crops from now on.

    Raises:
        GalleryError: something of the sightings is left. What it is, is in the message.
        DiskFullError: there is no room for the sightings that stay; nothing was erased.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    where = which.sql(database.table(SIGHTINGS).schema)
    if where is None:
        raise FilterError("Nothing says which sightings to erase.")
    rows = database.rows(SIGHTINGS)
    numbers = database.rows(SIGHTINGS, ["sighting"], where).column("sighting")
    is_erased = pc.is_in(rows.column("sighting"), value_set=numbers.combine_chunks())
    erased, kept = rows.filter(is_erased), rows.filter(pc.invert(is_erased))
    if block:
        block_contents(database, facts.salt, erased.column("content_sha256").to_pylist())
    gone = _people_gone(erased, kept)
    old_files = _files(database, SIGHTINGS)
    shutil.rmtree(reindex_folder(database), ignore_errors=True)
    if len(erased):
        highest = max(facts.highest, int(pc.max(erased.column("sighting")).as_py()))
        facts = replace(facts, highest=highest, erasing=True)
        write_facts(database, facts)
        # The names go first: later nobody would know them.
        erase_people(database, facts.salt, gone)
        named = [text for column in ("path", "content_sha256") for text in erased.column(column).to_pylist()]
        _erase_from_log(database, {*gone, *named})
        database.rewrite(SIGHTINGS, pa.RecordBatchReader.from_batches(kept.schema, kept.to_batches()))
        write_facts(database, replace(facts, erasing=False))
    left = sorted(_files(database, SIGHTINGS) & old_files) if len(erased) else []
    files = list_stored_files(database) or {}
    found = files_with_bytes(database, files, _needles(erased, kept)) if len(erased) else []
    still = database.rows(SIGHTINGS, ["sighting"], where)
    receipt = ErasureReceipt(
        gallery=database.name,
        erased=which.json(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        who=acting_user(database),
        sightings=len(erased),
        people=len(gone),
        blocked=block,
        files=len(files),
        bytes=sum(files.values()),
        found=len(left) + len(found) + len(still),
        verified=not left and not found and not len(still),
    )
    if not receipt.verified:
        raise GalleryError(
            f"Something of the erased sightings is left in {database.uri}: {list_briefly(left + found) or 'rows'}. "
            "Another process may have written meanwhile; run the same command again."
        )
    receipt = receipt.signed(facts.salt)
    details = {"sightings": receipt.sightings, "blocked": block, "signature": receipt.signature}
    log_action(database, "remove", details)
    return receipt


def finish_erasure(database: Database, facts: GalleryFacts) -> GalleryFacts:
    """Remove what an erasure that was killed has left behind. The caller holds the lock."""
    if not facts.erasing:
        return facts
    database.rewrite(SIGHTINGS, database.rows(SIGHTINGS).to_reader())
    with database.sole_writer("log"):
        replace_audit_rows(database, audit_rows(database))
    finished = replace(facts, erasing=False)
    write_facts(database, finished)
    return finished


def _people_gone(erased: pa.Table, kept: pa.Table) -> set[str]:
    """The people of whom no sighting is left."""
    left = set(kept.column("person").to_pylist())
    return {person for person in set(erased.column("person").to_pylist()) - left if person is not None}


def _erase_from_log(database: Database, texts: set[str]) -> None:
    """Take names and paths out of the filters that the log holds, and the hashes of searched crops that were erased.

    Other entries stay as they are.
    """
    with database.sole_writer("log"):
        _rewrite_log(database, texts)


def _rewrite_log(database: Database, texts: set[str]) -> None:
    rows = audit_rows(database)
    details = [json.loads(text) for text in rows.column("details").to_pylist()]
    changed = False
    for entry in details:
        named = entry.get("filter") or entry.get("erased") or {}
        persons, where = set(named.get("persons", ())), str(named.get("where", ""))
        quoted = {(one or two).replace("''", "'").replace('""', '"') for one, two in _QUOTED.findall(where)}
        if (persons | quoted) & texts:
            changed = True
            entry.update({key: {"erased": True} for key in ("filter", "erased") if key in entry})
        if texts.intersection(entry.get("contents_sha256", ())):
            changed = True
            entry["contents_sha256"] = [text for text in entry["contents_sha256"] if text not in texts]
    if changed:
        import pyarrow as pa

        texts_column = pa.array([json.dumps(entry, sort_keys=True) for entry in details])
        rows = rows.set_column(rows.schema.get_field_index("details"), "details", texts_column)
    replace_audit_rows(database, rows)


def _files(database: Database, name: str) -> set[str]:
    """Names of the files of a table, without the hint of its version, a number that every version replaces."""
    files = list_stored_files(database) or {}
    return {file for file in files if file.startswith(f"{name}.lance/") and not file.endswith("_version_hint.json")}


def _needles(erased: pa.Table, kept: pa.Table) -> list[bytes]:
    """Bytes of erased sightings that no kept one has: paths and embeddings."""
    chosen = erased.slice(0, _SEARCHED_SIGHTINGS)
    kept_paths = "\n".join(kept.column("path").to_pylist())
    kept_contents = set(kept.column("content_sha256").to_pylist())
    needles = [path.encode() for path in chosen.column("path").to_pylist() if path not in kept_paths]
    for content, embedding in zip(chosen.column("content_sha256").to_pylist(), embeddings_of(chosen), strict=True):
        if content not in kept_contents and embedding.any():
            needles.append(embedding.tobytes())
    return needles
