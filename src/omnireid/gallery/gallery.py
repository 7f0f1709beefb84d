"""A gallery of sightings that lasts: opened, added to, searched."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable
from omnireid.errors import NotInGalleryError, SettingError
from omnireid.files import as_path
from omnireid.gallery.audit import log_action, log_search
from omnireid.gallery.database import Database
from omnireid.gallery.deciding import read_people
from omnireid.gallery.erasure import finish_erasure
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.found import GalleryMatches, with_probabilities
from omnireid.gallery.ingest import AddSummary, ExaminedCrops, add_crops, add_examined, add_table
from omnireid.gallery.near_pairs import NearPair, find_near_pairs
from omnireid.gallery.options import FloatType, SearchMethod
from omnireid.gallery.person_search import LEAST_VOTES, check_method, combine, person_queries
from omnireid.gallery.queries import Query, embed_queries
from omnireid.gallery.reindexing import ReindexSummary, reindex
from omnireid.gallery.schema import (
    SIGHTINGS,
    GalleryFacts,
    GalleryModel,
    create_gallery,
    model_of,
    model_of_embedder,
    read_facts,
)
from omnireid.gallery.sightings import Sightings
from omnireid.gallery.snapshot import Snapshot, embeddings_of, rank_sightings
from omnireid.gallery.times import as_zone
from omnireid.gallery.upkeep_of_gallery import UpkeepOfGallery
from omnireid.retrieval.distance import check_distance
from omnireid.types import Crops, as_crops, check_whole_number


@dataclass(frozen=True)
class Gallery(UpkeepOfGallery):
    """Sightings of people that last, and that one model embeds.

    Readers never wait: a search sees the gallery as it was when the last write was finished. Writers wait for each
    other. A gallery travels to another process by pickle, never by fork.

    Attributes:
        database: Where it is.
        embedder: What turns crops into embeddings; not needed for tables of embeddings.
        float_type: What embeddings are stored in, when the first `add` makes the gallery.
    """

    database: Database
    embedder: Embedder | None = None
    float_type: FloatType = "float16"
    _snapshot: dict[tuple[str, Hashable], Snapshot] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        uri: str | os.PathLike[str],
        embedder: Embedder | None = None,
        *,
        float_type: FloatType = "float16",
        storage_options: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a gallery. Where there is none yet, the first `add` makes it.

        Args:
            uri: A folder, or an address that LanceDB opens, such as ``s3://bucket/folder``.
            embedder: The model. It must be the gallery's own.
            float_type: How a new gallery stores embeddings. float16 halves the space; float32 keeps every bit.
            storage_options: What LanceDB needs to open an address.

        Raises:
            GalleryError: there is something else, or a part of the gallery is missing or damaged.
            GalleryModelError: the gallery belongs to another model.
            MissingDependencyError: LanceDB is not installed.
        """
        place = os.fspath(uri) if isinstance(uri, (str, os.PathLike)) else None
        if not isinstance(place, str) or not place:
            raise SettingError(f"uri must be a folder or an address; got {uri!r}.")
        if embedder is not None and not isinstance(embedder, Embedder):
            raise SettingError(f"embedder must be what load_embedder gives; got {type(embedder).__name__}.")
        if "://" not in place:
            place = str(as_path(place, "uri").absolute())
        gallery = cls(Database(place, dict(storage_options or {})), embedder, float_type)
        facts = read_facts(gallery.database)
        if facts is not None and embedder is not None:
            facts.model.check_same(model_of_embedder(embedder), place)
        return gallery

    def __reduce__(self) -> tuple[Callable[..., Gallery], tuple[Any, ...]]:
        """Pickle where the gallery is, and open it again."""
        database = self.database
        return _reopen, (database.uri, self.embedder, self.float_type, database.storage_options, database.actor)

    def acting_as(self, who: str) -> Self:
        """The same gallery, with what it has in memory; `who` acts, for the log, decisions and receipts."""
        return replace(self, database=replace(self.database, actor=who))

    @property
    def model(self) -> GalleryModel | None:
        """The model it belongs to; None where there is no gallery yet."""
        facts = read_facts(self.database)
        return None if facts is None else facts.model

    def add(
        self,
        source: Crops | Sequence[str | Path] | EmbeddingTable,
        *,
        timezone: str | None = None,
        skip_unreadable: bool = False,
        keep_all: bool = False,
        progress: bool = False,
    ) -> AddSummary:
        """Add crops, or a table of their embeddings. A crop that is there already is not added again.

        What the returned summary counts is on the disk. After a kill, the same call goes on where it stopped. A crop
        is known by its content, camera and time: seen by two cameras, it is two sightings.

        Args:
            source: Crops with their labels, or their paths; or embeddings that the gallery's model made. Of the
                further columns, ``time``, ``track`` and ``box_xyxy`` have a meaning; others are kept to filter by.
            timezone: Zone of times that state none, such as Europe/Berlin. Without it they are refused.
            skip_unreadable: Leave out crops that cannot be decoded, and list them.
            keep_all: Add crops of low quality too: too small, not upright, blurred, cut off by the frame, or with two
                people. They are left out and listed otherwise. A table of embeddings shows the last two only.
            progress: Show a bar on standard error.

        Raises:
            GalleryModelError: the embeddings are another model's.
            DataError: a label, time, box or column cannot be stored.
            ImageError: a crop cannot be read.
            DiskFullError: no space is left. What was acknowledged before stays.
        """
        zone = as_zone(timezone)
        if isinstance(source, EmbeddingTable):
            facts = self._facts_for(model_of(source.provenance, source.embeddings.shape[1]))
            summary = add_table(self.database, facts, source, zone=zone, keep_all=keep_all, progress=progress)
        else:
            embedder = self._known_embedder()
            summary = add_crops(
                self.database,
                self._facts_for(model_of_embedder(embedder)),
                embedder,
                as_crops(source),
                zone=zone,
                skip_unreadable=skip_unreadable,
                keep_all=keep_all,
                progress=progress,
            )
        return self._log_added(summary)

    def add_examined(self, examined: ExaminedCrops, *, keep_all: bool = False) -> AddSummary:
        """Add crops that were decoded, measured and embedded already, as `add` does; crops of low quality are left out.

        Args:
            examined: The crops, embedded by this gallery's embedder.
            keep_all: Add crops of low quality too.

        Raises:
            GalleryModelError: the embedder is of another model.
            DataError: a label, time, box or column cannot be stored.
            DiskFullError: no space is left.
        """
        facts = self._facts_for(model_of_embedder(self._known_embedder()))
        return self._log_added(add_examined(self.database, facts, examined, keep_all=keep_all))

    def _known_embedder(self) -> Embedder:
        if self.embedder is None:
            raise SettingError("Adding crops needs the model: Gallery.open(uri, embedder).")
        return self.embedder

    def _log_added(self, summary: AddSummary) -> AddSummary:
        details = {"added": summary.added, "found": summary.found, "left_out": len(summary.left_out)}
        log_action(self.database, "add", details)
        return summary

    def search(
        self,
        queries: Query,
        count: int = 20,
        which: SightingFilter = SightingFilter(),
        *,
        not_same_camera: bool = False,
        prior: float | None = None,
        contents: Sequence[str] = (),
        timezone: str | None = None,
        exact: bool = False,
    ) -> GalleryMatches:
        """Find the `count` sightings nearest to each query, nearest first, as `omnireid.search` ranks them.

        Ties go to the sighting that was added first.

        Args:
            queries: Crops, a table of embeddings, or (Q, D) embeddings of the gallery's model.
            count: Number of sightings to find for each query.
            which: Which sightings count.
            not_same_camera: Leave out sightings by the query's own camera, which must be known.
            prior: With a calibration, the probability that a sighting shows the query's person, before they are
                compared. By default a half, shared among the people of the gallery.
            contents: SHA-256 of the content of each query, to be kept in the log.
            timezone: Zone of queries' times that state none. The column ``time`` of the queries is read only where the
                calibration has curves by the time between two crops.
            exact: Compare every sighting, also where `optimize` chose an index, which may miss a near one.

        Raises:
            GalleryError: there is no gallery.
            GalleryModelError: the embeddings are another model's.
            FilterError: the filter names an unknown column, or is none.
            DataError: a query's time is needed, and cannot be read.
            ImageError: a query cannot be read, or is too small to show a person.
            SettingError: `count` is below 1, or a query's camera is not known.
        """
        check_whole_number(count, "count", least=1)
        facts = self.facts
        embedded = embed_queries(queries, facts.model, self.embedder, self.database.uri)
        left_out = embedded.known_cameras() if not_same_camera else None
        distance = check_distance(facts.model.distance)

        index = None if exact else facts.index

        def rank() -> GalleryMatches:
            snapshot, query = self._newest(), embedded.embeddings
            ranked = rank_sightings(snapshot, query, count, which, distance, left_out, index)
            recall = None if index is None else index.recall
            return GalleryMatches(embedded.names, ranked, snapshot.sightings, distance, recall)

        matches: GalleryMatches = self._retrying(rank)
        calibration = self._calibration(facts)
        if calibration is not None:
            times = embedded.known_times(as_zone(timezone)) if calibration.needs_times else ()
            prior = self._usual_prior() if prior is None else prior
            matches = with_probabilities(matches, calibration, prior, cameras=embedded.cameras, times=times)
        first = matches.ranked.indices[:, :1].reshape(-1)
        numbers = matches.sightings.table.column("sighting").take(first[first >= 0])
        log_search(
            self.database,
            queries=len(matches),
            count=count,
            asked=which.json() | ({"not_same_camera": True} if not_same_camera else {}),
            found=int((matches.ranked.indices >= 0).sum()),
            first_found=numbers.to_pylist(),
            contents=contents,
        )
        return matches

    def search_person(
        self,
        person: str,
        count: int = 20,
        which: SightingFilter = SightingFilter(),
        *,
        method: SearchMethod = "best",
    ) -> GalleryMatches:
        """Find the sightings nearest to a person, by all sightings of theirs, which are left out themselves.

        Args:
            person: Name of the person.
            count: Number of sightings to find.
            which: Which sightings count.
            method: ``best`` orders by the smallest distance to any of the person's sightings, ``mean`` by the distance
                to their mean, ``vote`` by the votes of the rankings of each.

        Raises:
            GalleryError: there is no gallery.
            NotInGalleryError: there is nobody of this name.
            SettingError: there is no such method.
        """
        method, facts = check_method(method), self.facts
        schema = self.database.table(SIGHTINGS).schema
        rows = self.database.rows(SIGHTINGS, ["embedding"], SightingFilter(persons=(person,)).sql(schema))
        if not len(rows):
            read_people(self.database).key(person)
            raise NotInGalleryError(f"The gallery has no sighting of {person!r} to search by.")
        query = person_queries(embeddings_of(rows), facts.model.distance, method)
        found = self.search(query, max(count, LEAST_VOTES) + len(rows), which)
        ranked = combine(found, person, count, method)
        return replace(found, queries=(f"person {person}",), ranked=ranked, probabilities=None, prior=None)

    def sightings(self, which: SightingFilter = SightingFilter()) -> Sightings:
        """The sightings that fit a filter, in the order in which they were added.

        Raises:
            GalleryError: there is no gallery.
            FilterError: the filter names an unknown column, or is none.
        """
        _ = self.facts
        snapshot = self._newest()
        rows = snapshot.rows(which.condition(snapshot.handle.schema))
        return Sightings(snapshot.sightings.table.take(rows))

    def near_pairs(self, count: int = 12) -> tuple[NearPair, ...]:
        """The `count` nearest pairs of a sighting of nobody named and another one, nearest first.

        Every sighting is compared, without the index; of more than 2,000 unnamed ones, those that were added last.
        With a calibration, each has a probability with the prior of a search.
        """
        check_whole_number(count, "count", least=1)
        facts = self.facts
        return find_near_pairs(self._newest(), facts.model.distance, self._calibration(facts), count)

    def reindex(
        self, embedder: Embedder, *, skip_unreadable: bool = False, progress: bool = False
    ) -> tuple[Self, ReindexSummary]:
        """Embed every sighting again from its picture, with another model, to which the gallery then belongs.

        A kill loses little: the same call goes on. Until the last step the gallery belongs to its old model.

        Args:
            embedder: The new model.
            skip_unreadable: Drop sightings whose pictures cannot be read, and list them, instead of stopping.
            progress: Show a bar on standard error.

        Returns:
            The gallery, opened with the new model, and what was done.

        Raises:
            ImageError: a picture is gone or cannot be read.
        """
        with self.database.sole_writer():
            facts = finish_erasure(self.database, self.facts)
            summary = reindex(self.database, facts, embedder, skip_unreadable=skip_unreadable, progress=progress)
        return replace(self, embedder=embedder, _snapshot={}), summary

    def _facts_for(self, model: GalleryModel) -> GalleryFacts:
        """The gallery's facts, after a check that `model` is its own; a gallery that is not there yet is made."""
        facts = read_facts(self.database)
        if facts is None:
            check_distance(model.distance)
            with self.database.sole_writer():
                facts = read_facts(self.database)
                if facts is None:
                    facts = GalleryFacts(model, self.float_type)
                    create_gallery(self.database, facts)
        facts.model.check_same(model, self.database.uri)
        return facts


def _reopen(
    uri: str, embedder: Embedder | None, float_type: FloatType, options: dict[str, str], actor: str | None
) -> Gallery:
    opened = Gallery.open(uri, embedder, float_type=float_type, storage_options=options)
    return opened if actor is None else opened.acting_as(actor)
