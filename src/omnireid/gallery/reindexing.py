"""Giving a gallery another model: every picture is embedded again, and all embeddings change in one step."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnireid.embedding.jobs import embed_to_parquet
from omnireid.embedding.tables import read_embeddings
from omnireid.errors import DataNotFoundError
from omnireid.files import cache_folder, make_folder
from omnireid.gallery.audit import log_action
from omnireid.gallery.columns import embedding_column
from omnireid.gallery.database import Database
from omnireid.gallery.schema import SIGHTINGS, GalleryFacts, embedding_field, model_of_embedder, write_facts

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder


@dataclass(frozen=True)
class ReindexSummary:
    """What a `reindex` did.

    Attributes:
        embedded: Sightings that have embeddings of the new model.
        left_out: Sightings that are no longer in the gallery, because their pictures cannot be read, as (path, reason).
    """

    embedded: int
    left_out: tuple[tuple[str, str], ...] = ()

    def json(self) -> dict[str, Any]:
        """The summary as plain values."""
        left_out = [{"path": path, "reason": reason} for path, reason in self.left_out]
        return {"embedded": self.embedded, "left_out": left_out}


def reindex_folder(database: Database) -> Path:
    """Where finished work is kept until all of it is: in the gallery, so that an erasure removes it too."""
    if database.folder is not None:
        return database.folder / ".reindex"
    return cache_folder() / "galleries" / hashlib.sha256(database.uri.encode()).hexdigest()[:16] / "reindex"


def reindex(
    database: Database,
    facts: GalleryFacts,
    embedder: Embedder,
    *,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> ReindexSummary:
    """Embed every sighting again from its picture, with another model. The caller holds the lock.

    A kill loses little: the same call goes on with what was embedded. Until the last step the gallery belongs to its
    old model. Its calibration and index are dropped, as they say nothing of the new one.

    Raises:
        DataNotFoundError: the gallery is empty.
        ImageError: a picture cannot be read, and `skip_unreadable` is False; or none can.
        EmbeddingError: an embedding does not fit the stored type.
    """
    rows = database.rows(SIGHTINGS)
    paths = rows.column("path").to_pylist()
    if not paths:
        raise DataNotFoundError(f"The gallery {database.uri} has no sighting to embed again.")
    folder = make_folder(reindex_folder(database))
    output = folder / "embeddings.parquet"
    files = [Path(path) for path in dict.fromkeys(paths)]
    summary = embed_to_parquet(embedder, files, output, skip_unreadable=skip_unreadable, progress=progress)
    made = read_embeddings(output)
    row_of = {str(path): row for row, path in enumerate(made.paths)}
    kept = np.array([path in row_of for path in paths], dtype=bool)
    rows = rows.filter(kept)
    paths = rows.column("path").to_pylist()
    renewed = replace(facts, model=model_of_embedder(embedder), calibration=None, index=None, next_model=None)
    embeddings = embedding_column(made.embeddings[[row_of[path] for path in paths]], renewed, paths)
    place = rows.schema.get_field_index("embedding")
    rows = rows.set_column(place, embedding_field(renewed), embeddings)
    # The second entry tells readers that all embeddings are new, even where the weights are the ones of before.
    made_by = {b"weights_sha256": renewed.model.weights_sha256.encode(), b"reindex": secrets.token_hex(8).encode()}
    rows = rows.replace_schema_metadata(made_by)
    write_facts(database, replace(facts, next_model=renewed.model))
    database.rewrite(SIGHTINGS, rows.to_reader())
    write_facts(database, renewed)
    shutil.rmtree(folder, ignore_errors=True)
    log_action(database, "reindex", {"sightings": len(rows), "left_out": int((~kept).sum())})
    return ReindexSummary(len(rows), summary.skipped)
