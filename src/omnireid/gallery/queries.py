"""What a gallery is searched for, as embeddings of its own model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from omnireid.data.capture_times import TIME_COLUMN, column_values
from omnireid.embedding.embedder import FEW, Embedder
from omnireid.embedding.tables import EmbeddingTable
from omnireid.errors import ImageError, SettingError
from omnireid.gallery.columns import cameras_of
from omnireid.gallery.schema import GalleryModel, model_of, model_of_embedder
from omnireid.gallery.times import parse_time
from omnireid.images.decode import RgbArray, read_image
from omnireid.retrieval.distance import as_embeddings
from omnireid.types import AnyArray, Crops, as_crops

Query: TypeAlias = "Crops | Sequence[str | Path] | EmbeddingTable | npt.NDArray[np.floating[Any]]"
"""Crops or their paths, a table of embeddings, or (Q, D) embeddings of the gallery's own model."""

LEAST_HEIGHT, LEAST_WIDTH = 16, 8
"""Pixels below which a query shows no person that anything could be said about."""


@dataclass(frozen=True, eq=False)
class EmbeddedQueries:
    """Q queries, ready to be compared.

    Attributes:
        names: Paths of the crops; numbers for bare embeddings.
        embeddings: (Q, D) embeddings.
        cameras: The camera of each query, None where it is not known; None for bare embeddings.
        times: What the queries' column ``time`` says of each, as it stands there; empty without such a column.
    """

    names: tuple[str, ...]
    embeddings: AnyArray
    cameras: tuple[str | None, ...] | None = None
    times: tuple[object, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def known_cameras(self) -> tuple[str, ...]:
        """The camera of each query.

        Raises:
            SettingError: one is not known.
        """
        known = tuple(camera for camera in self.cameras or () if camera is not None)
        if len(known) < len(self):
            raise SettingError(
                "not_same_camera (--not-same-camera) needs the camera of every query, from a manifest or a name such "
                "as 0002_c1s1_000451_03.jpg. Name the cameras to leave out instead: not_cameras (--not-cameras)."
            )
        return known

    def known_times(self, zone: ZoneInfo | None) -> tuple[datetime | None, ...]:
        """The time of each query in UTC, None where it is not known; empty where no query has one.

        Args:
            zone: Zone of times that state none.

        Raises:
            DataError: a time states no zone and `zone` is None, or it is none.
        """
        return tuple(parse_time(value, name, zone) for name, value in zip(self.names, self.times, strict=False))


def embed_queries(queries: Query, model: GalleryModel, embedder: Embedder | None, place: str) -> EmbeddedQueries:
    """Embed what is searched for, or check embeddings that are given.

    Args:
        queries: What is searched for.
        model: The gallery's model.
        embedder: The same model, loaded; needed for crops only.
        place: The gallery, for messages.

    Raises:
        GalleryModelError: the embeddings, or the embedder, are another model's.
        ImageError: a crop cannot be read, or is too small to show a person.
        SettingError: there is nothing to search for, or no embedder for crops.
    """
    if isinstance(queries, EmbeddingTable):
        model.check_same(model_of(queries.provenance, queries.embeddings.shape[1]), place)
        return _labelled(queries.crops, queries.embeddings)
    if isinstance(queries, np.ndarray):
        embeddings = as_embeddings(queries, "query")
        model.check_same(replace(model, width=embeddings.shape[1]), place)
        return EmbeddedQueries(tuple(f"query {number}" for number in range(len(embeddings))), embeddings)
    crops = as_crops(queries)
    if embedder is None:
        raise SettingError("Searching for crops needs the model: Gallery.open(uri, embedder).")
    model.check_same(model_of_embedder(embedder), place)
    if not len(crops):
        raise SettingError("There is no query to search for.")
    images = map(_read_query, crops.paths)
    embedded = embedder.embed(list(images) if len(crops) <= FEW else images)
    return _labelled(crops, embedded)


def _labelled(crops: Crops, embeddings: AnyArray) -> EmbeddedQueries:
    """The queries with what is known of their crops."""
    times = tuple(column_values(crops, TIME_COLUMN)) if TIME_COLUMN in crops.columns else ()
    return EmbeddedQueries(tuple(map(str, crops.paths)), embeddings, tuple(cameras_of(crops)), times)


def _read_query(path: Path) -> RgbArray:
    """Decode a query.

    Raises:
        ImageError: it cannot be decoded, or is too small to show a person.
    """
    image = read_image(path)
    height, width = image.shape[:2]
    if height < LEAST_HEIGHT or width < LEAST_WIDTH:
        raise ImageError(
            f"{path} is {width} × {height} pixels: too small to show a person (at least {LEAST_WIDTH} × "
            f"{LEAST_HEIGHT}). Give a crop of a whole person."
        )
    return image
