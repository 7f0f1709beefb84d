"""What a gallery stores: the columns of a sighting, and the facts that hold for all of them."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from omnireid.embedding.chunks import provenance_of
from omnireid.errors import DataError, GalleryError, GalleryModelError, SettingError, list_briefly
from omnireid.gallery.database import Database
from omnireid.gallery.options import FloatType
from omnireid.version import __version__
from omnireid.weights.shipped import shipped_weights

if TYPE_CHECKING:
    import pyarrow as pa

    from omnireid.embedding.embedder import Embedder
    from omnireid.embedding.tables import Provenance

FORMAT_VERSION = 1
SIGHTINGS = "sightings"
AUDIT = "audit"
BLOCKED = "blocked"
DECISIONS = "decisions"
TABLES = (SIGHTINGS, AUDIT, BLOCKED, DECISIONS)
"""The tables of a gallery besides its facts."""
FACTS = "facts"

OWN_COLUMNS = (
    *("sighting", "key", "content_sha256", "embedding", "path", "camera", "time", "track", "box_xyxy"),
    *("quality", "person", "given_person"),
)
"""The columns that every gallery has. Others are the user's."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
# Stored as it is, so that a scan of the folder's bytes finds a path wherever it still is.
_PLAIN = {b"lance-encoding:compression": b"none"}


@dataclass(frozen=True)
class GalleryModel:
    """The one model whose embeddings a gallery holds.

    Attributes:
        weights_sha256: SHA-256 of the weights.
        architecture: Name of the network.
        preprocessing: The fields of `omnireid.images.preprocess.Preprocessing`.
        distance: How embeddings are compared.
        width: Number of values of an embedding.
        licence: Terms of the weights.
        weights: The file or name the weights were loaded by, so that a search can load them again; empty if unknown.
    """

    weights_sha256: str
    architecture: str
    preprocessing: Mapping[str, Any]
    distance: str
    width: int
    licence: str = "unknown"
    weights: str = ""

    def check_same(self, other: GalleryModel, place: str) -> None:
        """Refuse embeddings that cannot be compared with the gallery's.

        Args:
            other: The model that made them.
            place: The gallery, for the message.

        Raises:
            GalleryModelError: other weights, preprocessing, distance or width. The message names both models.
        """
        if self.weights_sha256 != other.weights_sha256:
            raise GalleryModelError(
                f"The gallery {place} belongs to {self.architecture} with weights {self.weights_sha256[:12]}…, not to "
                f"{other.architecture} with weights {other.weights_sha256[:12]}…: their embeddings cannot be compared. "
                "Name the gallery's own weights, or embed its crops again with: omnireid gallery reindex"
            )
        for what in ("preprocessing", "distance", "width"):
            mine, theirs = _plain(getattr(self, what)), _plain(getattr(other, what))
            if mine != theirs:
                raise GalleryModelError(
                    f"The gallery {place} was made with {what} {mine}, and these embeddings with {theirs}. Embed the "
                    "crops in the gallery's own way, or the gallery again with: omnireid gallery reindex"
                )


def _plain(value: Any) -> Any:
    """A value as JSON gives it back, with lists for tuples."""
    return json.loads(json.dumps(dict(value) if isinstance(value, Mapping) else value))


def model_of(provenance: Provenance, width: int, weights: str = "") -> GalleryModel:
    """The model that made a table of embeddings."""
    return GalleryModel(
        weights_sha256=provenance.weights_sha256,
        architecture=provenance.model,
        preprocessing=_plain(provenance.preprocessing),
        distance=provenance.distance,
        width=width,
        licence=provenance.licence,
        weights=weights,
    )


def model_of_embedder(embedder: Embedder) -> GalleryModel:
    """The model that an embedder runs."""
    shipped = {path: name for name, path in shipped_weights().items()}
    weights = shipped.get(embedder.weights, str(embedder.weights.absolute()))
    return model_of(provenance_of(embedder), embedder.metadata.embedding_dimension, weights)


@dataclass(frozen=True)
class IndexFacts:
    """How the sightings of a large gallery are shortlisted before their whole embeddings are compared.

    Attributes:
        bits: Number of bits in the sketch of an embedding.
        shortlist: Number of sightings whose whole embeddings are compared.
        recall: Share of the true nearest ten that were found when this was measured.
    """

    bits: int
    shortlist: int
    recall: float


@dataclass(frozen=True)
class GalleryFacts:
    """What holds for a whole gallery.

    Attributes:
        model: The model whose embeddings it holds.
        float_type: What embeddings are stored in.
        salt: Random text that hashes of erased crops are made with.
        created: When it was made, in UTC.
        omnireid_version: The version that made it.
        format_version: Version of the stored form.
        calibration: Similarity to probability, as a record that `omnireid.retrieval` reads; None where there is none.
        highest: The highest number that a removed sighting had, so that no number is given twice.
        index: The index that searches use; None where they compare every sighting.
        next_model: The model of a `reindex` that has begun; the table of sightings says whether it holds already.
        erasing: Whether an erasure has begun that is not finished, so that files of it may be left.
    """

    model: GalleryModel
    float_type: FloatType = "float16"
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    omnireid_version: str = __version__
    format_version: int = FORMAT_VERSION
    calibration: Mapping[str, Any] | None = None
    highest: int = 0
    index: IndexFacts | None = None
    next_model: GalleryModel | None = None
    erasing: bool = False

    def __post_init__(self) -> None:
        if self.float_type not in get_args(FloatType):
            raise SettingError(f"float_type must be float16 or float32; got {self.float_type!r}.")


def read_facts(database: Database) -> GalleryFacts | None:
    """Read the newest facts; None where there is no gallery yet.

    Raises:
        GalleryError: the place holds something else, a part of the gallery is missing, or a newer version made it.
    """
    facts = database.remember(FACTS, FACTS, lambda: _read_newest_facts(database))
    if facts is not None and facts.next_model is not None:  # a reindex was stopped, before its one step or after it
        made_by = (database.table(SIGHTINGS).schema.metadata or {}).get(b"weights_sha256", b"").decode()
        if made_by == facts.next_model.weights_sha256:
            return replace(facts, model=facts.next_model, calibration=None, index=None, next_model=None)
    return facts


def _read_newest_facts(database: Database) -> GalleryFacts | None:
    names = set(database.table_names())
    records = database.rows(FACTS).column("record").to_pylist() if FACTS in names else []
    if len(records):
        for name in TABLES:
            if name not in names:
                raise _incomplete(database.uri, name)
        return _parse_facts(records[-1], database.uri)
    if SIGHTINGS in names and database.table(SIGHTINGS).count_rows():
        raise _incomplete(database.uri, FACTS)
    _refuse_other_content(database, names - {*TABLES, FACTS})
    return None


def _incomplete(place: str, name: str) -> GalleryError:
    return GalleryError(
        f"The gallery {place} is incomplete: its table {name!r} is missing or empty. Restore the folder from a copy, "
        "or make the gallery again from the crops."
    )


def _refuse_other_content(database: Database, tables: set[str]) -> None:
    """Refuse to make a gallery among tables or files of something else."""
    place, folder = database.uri, database.folder
    if tables:
        raise GalleryError(f"{place} is a LanceDB database but no gallery: it has the tables {sorted(tables)}.")
    if folder is None or not folder.exists():
        return
    if not folder.is_dir():
        raise GalleryError(f"{place} is a file. A gallery is a folder; choose another name.")
    own = {f"{name}.lance" for name in (*TABLES, FACTS)}
    strange = sorted(path.name for path in folder.iterdir() if path.name not in own and not path.name.startswith("."))
    if strange:
        raise GalleryError(
            f"{place} is a folder without a gallery: it holds {list_briefly(strange)}. Choose the folder of a gallery, "
            "or a new name to make one."
        )


def _parse_facts(text: str, place: str) -> GalleryFacts:
    try:
        record = json.loads(text)
        version = int(record["format_version"])
        if version <= FORMAT_VERSION:
            index = record.get("index")
            if index is not None:  # one of an earlier kind counts as none, until `optimize` chooses again
                index = IndexFacts(**index) if "bits" in index else None
            models = {name: record.get(name) and GalleryModel(**record[name]) for name in ("model", "next_model")}
            return GalleryFacts(**{**record, **models, "index": index})
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryError(
            f"The facts of the gallery {place} are damaged ({error!r}). Restore its folder from a copy."
        ) from error
    raise GalleryError(
        f"The gallery {place} was made by a newer omnireid (format {version}, this one reads up to {FORMAT_VERSION}). "
        "Upgrade with: pip install --upgrade omnireid"
    )


def write_facts(database: Database, facts: GalleryFacts) -> None:
    """Append new facts; the newest ones count."""
    import pyarrow as pa

    database.append(FACTS, pa.table({"record": [json.dumps(asdict(facts), sort_keys=True)]}))


def create_gallery(database: Database, facts: GalleryFacts) -> None:
    """Make the tables of an empty gallery. Killed at any moment, it leaves nothing that counts as a gallery."""
    import pyarrow as pa

    if database.folder is not None:
        from omnireid.files import make_folder

        make_folder(database.folder)
    database.create(SIGHTINGS, sightings_schema(facts))
    database.create(AUDIT, audit_schema())
    database.create(BLOCKED, blocked_schema())
    database.create(DECISIONS, decisions_schema())
    database.create(FACTS, pa.schema([("record", pa.string())]))
    write_facts(database, facts)


def sightings_schema(facts: GalleryFacts) -> pa.Schema:
    """The columns that every gallery has."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("sighting", pa.int64(), nullable=False),
            pa.field("key", pa.string(), nullable=False, metadata=_PLAIN),
            pa.field("content_sha256", pa.string(), nullable=False, metadata=_PLAIN),
            embedding_field(facts),
            pa.field("path", pa.string(), nullable=False, metadata=_PLAIN),
            pa.field("camera", pa.string()),
            pa.field("time", pa.timestamp("us", tz="UTC")),
            pa.field("track", pa.string()),
            pa.field("box_xyxy", pa.list_(pa.float32(), 4)),
            pa.field("quality", pa.float32()),
            pa.field("person", pa.string()),
            pa.field("given_person", pa.string()),
        ]
    )


def embedding_field(facts: GalleryFacts) -> pa.Field:
    """The column of embeddings."""
    import pyarrow as pa

    value = pa.float16() if facts.float_type == "float16" else pa.float32()
    return pa.field("embedding", pa.list_(value, facts.model.width), nullable=False, metadata=_PLAIN)


def audit_schema() -> pa.Schema:
    """The columns of the log of actions."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("who", "action", "details")]
    return pa.schema([("time", pa.timestamp("us", tz="UTC")), *texts])


def blocked_schema() -> pa.Schema:
    """The columns of the list of crops that must not come back."""
    import pyarrow as pa

    return pa.schema([("hash", pa.string())])


def decisions_schema() -> pa.Schema:
    """The columns of the log of decisions."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("who", "kind", "details", "reason", "evidence")]
    return pa.schema([("event", pa.int64()), ("time", pa.timestamp("us", tz="UTC")), *texts])


def check_column_name(name: str) -> None:
    """Check that a user's column can be stored and named in a filter.

    Raises:
        DataError: the name is taken, or is not made of letters, digits and underscores.
    """
    if name in OWN_COLUMNS:
        raise DataError(f"The column name {name!r} is taken by the gallery itself. Rename the column.")
    if not _NAME.fullmatch(name):
        raise DataError(
            f"A gallery cannot store the column {name!r}: a name has letters, digits and underscores, begins with no "
            "digit, and has 64 at most. Rename the column."
        )
