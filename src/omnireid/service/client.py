"""A client of the service. It needs the core install only, and raises the errors that the service answers with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from omnireid.errors import ImageError, SettingError
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.identities import Decision
from omnireid.gallery.info import Person
from omnireid.gallery.options import ErasureOptions
from omnireid.service.client_values import (
    AddedSighting,
    ServedErasure,
    ServedMatches,
    ServedPerson,
    ServedQuestion,
    ServedSighting,
    decision_of,
    erasure_of,
    matches_of,
    person_of,
    question_of,
    served_person_of,
    sighting_of,
)
from omnireid.service.connection import Connection, Field, FilePart
from omnireid.service.uploads import media_type_of
from omnireid.types import FloatArray

Crop = str | Path | bytes
"""A file of a crop, or its bytes."""

_LISTED = 1000
_EMBEDDED = 64


class ServiceClient:
    """Asks a service that ``omnireid serve`` runs. It is for one thread at a time, and closes with a ``with`` block."""

    def __init__(
        self, address: str, token: str | None = None, *, timeout_s: float = 60.0, ca_file: str | Path | None = None
    ) -> None:
        """Nothing is sent yet.

        Args:
            address: Where the service is, such as http://127.0.0.1:8000 or https://reid.example.org.
            token: The token; None for an open service on this machine.
            timeout_s: Longest time that the service may be silent.
            ca_file: PEM file of the authorities that the certificate of the service may come from, for one of your own;
                None for those of the system.

        Raises:
            SettingError: the address is none, or the file of authorities cannot be read.
        """
        self._connection = Connection(address, token, timeout_s, None if ca_file is None else Path(ca_file))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def embed(self, crops: Sequence[Crop]) -> FloatArray:
        """(N, D) float32 embeddings of N crops, not normalised.

        Raises:
            ImageError: a crop cannot be read.
        """
        if not crops:
            return np.empty((0, 0), dtype=np.float32)
        parts = [_file("crops", crop) for crop in crops]
        rows = []
        for start in range(0, len(parts), _EMBEDDED):
            some = parts[start : start + _EMBEDDED]
            content = self._connection.post_pictures("/v1/embed", some, "application/octet-stream")
            rows.append(np.frombuffer(content, dtype="<f4").reshape(len(some), -1))
        embeddings: FloatArray = np.concatenate(rows).astype(np.float32)
        return embeddings

    def search(
        self,
        crop: Crop | None = None,
        *,
        person: str | None = None,
        sighting: int | None = None,
        count: int = 20,
        which: SightingFilter = SightingFilter(),
        camera: str | None = None,
        time: str | None = None,
        prior: float | None = None,
    ) -> ServedMatches:
        """Find the sightings nearest to a crop, a person or a sighting; give one of the three.

        Args:
            crop: A file of a crop, or its bytes.
            person: Search by all sightings of this person, which are left out themselves.
            sighting: Search by the sighting of this number.
            count: Number of sightings to find.
            which: Which sightings count.
            camera: The camera of the crop, where it is known.
            time: When it was taken, in ISO 8601 with a zone.
            prior: With a calibration, the probability of a match before anybody looked.

        Raises:
            RequestError: none or several of the three are given.
            NotInGalleryError: there is no such person or sighting.
            FilterError: the filter is none.
            ImageError: the crop cannot be read.
        """
        given = {"person": person, "sighting": sighting, "count": count, "camera": camera, "time": time, "prior": prior}
        files = () if crop is None else (_file("crop", crop),)
        return matches_of(self._connection.post_form("/v1/search", [*_filter(which), *_fields(given)], files))

    def add_sighting(
        self,
        crop: Crop,
        *,
        camera: str | None = None,
        time: str | None = None,
        person: str | None = None,
        track: str | None = None,
        box_xyxy: Sequence[float] | None = None,
        columns: Mapping[str, str | bool | int | float] | None = None,
        keep_all: bool = False,
    ) -> AddedSighting:
        """Add a crop. When this returns it is on the disk of the service.

        Args:
            crop: A file of a crop, or its bytes.
            camera: The camera that saw it.
            time: When, in ISO 8601 with a zone.
            person: Who it is, where that is known.
            track: The track it belongs to.
            box_xyxy: Left, top, right and bottom in its frame.
            columns: Columns of your own.
            keep_all: Add it even if it is of low quality.

        Raises:
            ImageError: it cannot be read, or is of low quality.
            DataError: a time, box or column cannot be stored.
            RoleError: the token may not write.
        """
        given = {
            "camera": camera,
            "time": time,
            "person": person,
            "track": track,
            "box_xyxy": None if box_xyxy is None else " ".join(map(str, box_xyxy)),
            "columns": json.dumps(dict(columns or {})),
            "keep_all": str(keep_all).lower(),
        }
        answer = self._connection.post_form("/v1/sightings", _fields(given), (_file("crop", crop),))
        return AddedSighting(sighting_of(answer["sighting"]), answer["added"])

    def sightings(self, which: SightingFilter = SightingFilter()) -> Iterator[ServedSighting]:
        """The sightings that fit a filter, in the order in which they were added; they are fetched page by page."""
        after: int | None = 0
        while after is not None:
            query = [*_filter(which), ("after", str(after)), ("limit", str(_LISTED))]
            page = self._connection.get("/v1/sightings", query)
            yield from map(sighting_of, page["sightings"])
            after = page["next"]

    def sighting(self, number: int) -> ServedSighting:
        """One sighting.

        Raises:
            NotInGalleryError: there is none of this number.
        """
        return sighting_of(self._connection.get(f"/v1/sightings/{number}"))

    def crop(self, number: int) -> bytes:
        """The picture of a sighting.

        Raises:
            NotInGalleryError: there is no such sighting, or its picture is not shown.
        """
        return self._connection.get_bytes(f"/v1/sightings/{number}/crop")

    def people(self) -> Iterator[Person]:
        """The people, those seen most often first; they are fetched page by page."""
        yield from map(person_of, self._pages("/v1/people", "people"))

    def person(self, name: str, *, limit: int = 100, similar: int = 0) -> ServedPerson:
        """A person, their first `limit` sightings, and the `similar` people who look most like them.

        Raises:
            NotInGalleryError: there is nobody of this name.
        """
        query = [("limit", str(limit)), ("similar", str(similar))]
        return served_person_of(self._connection.get(f"/v1/people/{quote(name, safe='')}", query))

    def assign(self, sightings: Sequence[int], person: str | None, *, reason: str = "") -> Decision:
        """Give sightings to a person, who may be new; None says that they are of nobody known."""
        return self._decide(kind="assign", sightings=list(sightings), person=person, reason=reason)

    def merge(self, into: str, people: Sequence[str], *, reason: str = "") -> Decision:
        """Say that people are one person, who keeps the name `into`."""
        return self._decide(kind="merge", into=into, people=list(people), reason=reason)

    def split(self, sightings: Sequence[int], name: str | None = None, *, reason: str = "") -> Decision:
        """Make some of a person's sightings a person of their own."""
        return self._decide(kind="split", sightings=list(sightings), name=name, reason=reason)

    def rename(self, person: str, name: str, *, reason: str = "") -> Decision:
        """Give a person another name."""
        return self._decide(kind="rename", person=person, name=name, reason=reason)

    def differ(self, sightings: Sequence[int], *, reason: str = "") -> Decision:
        """Say that sightings show different people."""
        return self._decide(kind="differ", sightings=list(sightings), reason=reason)

    def undo(self, event: int | None = None, *, reason: str = "") -> Decision:
        """Take back a decision; by default the last one that counts."""
        return self._decide(kind="undo", event=event, reason=reason)

    def decisions(self) -> Iterator[Decision]:
        """All decisions, the last one first; they are fetched page by page."""
        yield from map(decision_of, self._pages("/v1/decisions", "decisions"))

    def questions(self, count: int = 20) -> tuple[ServedQuestion, ...]:
        """The questions whose answers help most.

        Raises:
            CalibrationError: the gallery has no calibration.
        """
        return tuple(map(question_of, self._connection.get("/v1/review", [("count", str(count))])["questions"]))

    def answer(self, question: ServedQuestion, *, same: bool, reason: str = "") -> Decision:
        """Answer a question.

        Raises:
            NotInGalleryError: it was not asked lately.
            DecisionError: it was decided meanwhile.
        """
        body = {"one": question.one.number, "other": question.other.number, "same": same, "reason": reason}
        return decision_of(self._connection.post("/v1/review", body))

    def erase(
        self, options: ErasureOptions = ErasureOptions(), *, sightings: Sequence[int] = (), preview: bool = False
    ) -> ServedErasure:
        """Erase sightings, with the pictures of them that the service keeps.

        Args:
            options: Which sightings, as for `Gallery.remove`, except by path.
            sightings: Numbers of sightings; those that also fit `options` are erased.
            preview: Only count.

        Raises:
            FilterError: nothing says which sightings.
            SettingError: `options` names paths, which a service does not know.
        """
        if options.path:
            raise SettingError("path: a service knows no paths. Name the numbers of the sightings instead.")
        body = {
            "persons": list(options.person),
            "cameras": list(options.camera),
            "sightings": list(sightings),
            "before": options.before,
            "where": options.where,
            "block": options.block,
            "preview": preview,
        }
        return erasure_of(self._connection.post("/v1/erasures", body))

    def gallery(self) -> Mapping[str, Any]:
        """What the gallery is, and with which role this client asks."""
        described: Mapping[str, Any] = self._connection.get("/v1/gallery")
        return described

    def audit(self) -> Iterator[Mapping[str, Any]]:
        """The log, the last entry first; it is fetched page by page."""
        yield from self._pages("/v1/audit", "entries")

    def _decide(self, **body: Any) -> Decision:
        return decision_of(self._connection.post("/v1/decisions", body))

    def _pages(self, path: str, name: str) -> Iterator[Any]:
        offset, total = 0, 1
        while offset < total:
            page = self._connection.get(path, [("offset", str(offset)), ("limit", str(_LISTED))])
            yield from page[name]
            offset, total = offset + _LISTED, page["total"]


def _file(name: str, crop: Crop) -> FilePart:
    if isinstance(crop, bytes):
        content = crop
    else:
        try:
            content = Path(crop).read_bytes()
        except OSError as error:
            raise ImageError(f"{crop} cannot be read: {error.strerror or error}. Check the path.") from error
    return name, media_type_of(content) or "application/octet-stream", content


def _fields(values: Mapping[str, object]) -> list[Field]:
    return [(name, str(value)) for name, value in values.items() if value is not None]


def _filter(which: SightingFilter) -> list[Field]:
    if which.paths:
        raise SettingError("paths: a service knows no paths. Filter by number instead: where='sighting = 12'.")
    fields: list[Field] = []
    for name, value in which.json().items():
        fields += [(name, one) for one in (value if isinstance(value, list) else [value])]
    return fields
