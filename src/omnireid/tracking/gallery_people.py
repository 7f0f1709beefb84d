"""Linked people as sightings and people of a gallery, where everything can be searched, corrected and undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.embedding.weights_file import find_shipped_by_content
from omnireid.errors import TrackingError
from omnireid.gallery.deciding import ProposedPerson, read_people
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.identities import Decision
from omnireid.tracking.crop_pictures import crop_path
from omnireid.tracking.seen_events import read_start
from omnireid.tracking.track_table import TrackTable
from omnireid.types import Crops
from omnireid.version import __version__

_Place = tuple[str, datetime | None]


@dataclass(frozen=True)
class GalleryPeople:
    """What was added to a gallery.

    Attributes:
        added: Sightings that were not there before.
        found: Sightings that were there already.
        decision: The event that gave sightings to people, by whose number it can be undone; None where nobody was given
            any.
    """

    added: int
    found: int
    decision: Decision | None


def add_to_gallery(
    table: TrackTable, gallery: Gallery, evidence: Mapping[str, Any], *, crops: Path | None = None
) -> GalleryPeople:
    """Add the embedded crops of a linked table to a gallery, and give them to people in one decision.

    A person of the table is the gallery's person to whom most of their sightings belong already. Whoever is not
    there becomes ``person-N`` with the number of the table, or another number where that name is taken. Sightings
    that have a person keep it.

    Args:
        table: Tracklets with people.
        gallery: The gallery. The first call makes it.
        evidence: What is kept with the decision: options and counts, as plain values.
        crops: Folder with the pictures of the crops, as `omnireid.tracking.crop_pictures` writes them, which the
            sightings then name. Name the same folder every time, as sightings are known again by their paths.

    Raises:
        TrackingError: No crop of the table was embedded.
        GalleryModelError: The gallery belongs to other weights.
    """
    rows, owners = _describe_crops(table, gallery, None if crops is None else crops.resolve())
    summary = gallery.add(rows, keep_all=True)
    times = rows.crops.columns["time"]
    places: list[_Place] = [(str(path), time) for path, time in zip(rows.paths, times, strict=True)]
    proposal = _propose(gallery, dict(zip(places, owners, strict=True)))
    decision = gallery.adopt_people(proposal, reason="omnireid link", evidence=evidence) if proposal else None
    return GalleryPeople(summary.added, summary.found, decision)


def _describe_crops(table: TrackTable, gallery: Gallery, crops: Path | None) -> tuple[EmbeddingTable, list[int | None]]:
    """The embedded crops as rows of a gallery, and the person of each."""
    paths, cameras, times, tracks, frames, boxes, owners, embeddings = [], [], [], [], [], [], [], []
    starts = {camera: read_start(recording) for camera, recording in table.recordings.items()}
    for tracklet in table.tracklets:
        start = starts.get(tracklet.camera)
        owner = table.people.get((tracklet.camera, tracklet.number))
        for row in tracklet.embedded.tolist():
            frame = int(tracklet.frames[row])
            plain = Path("tracks") / tracklet.camera / str(tracklet.number) / str(frame)
            paths.append(plain if crops is None else crop_path(crops, tracklet.camera, tracklet.number, frame))
            cameras.append(tracklet.camera)
            times.append(None if start is None else start + timedelta(seconds=float(tracklet.times[row])))
            tracks.append(str(tracklet.number))
            frames.append(frame)
            boxes.append(tracklet.boxes[row].tolist())
            owners.append(owner)
        embeddings.append(tracklet.embeddings)
    if not paths:
        raise TrackingError("No crop of these tracks was embedded, so there is nothing to add to a gallery.")
    columns = {"camera_name": cameras, "time": times, "track": tracks, "frame": frames, "box_xyxy": boxes}
    rows = np.concatenate([part for part in embeddings if len(part)])
    return EmbeddingTable(Crops(tuple(paths), columns=columns), rows, _provenance(table, gallery)), owners


def _provenance(table: TrackTable, gallery: Gallery) -> Provenance:
    """What made the embeddings. Name, distance and terms are the gallery's, or those of the weights that ship here."""
    known, model = gallery.model, ("unknown", "cosine", "unknown")
    sha256 = str(table.weights_sha256)
    if known is not None:
        model = (known.architecture, known.distance, known.licence)
    elif (shipped := find_shipped_by_content(sha256)) is not None:
        model = (shipped.metadata.architecture, shipped.metadata.distance, shipped.metadata.licence)
    architecture, distance, licence = model
    return Provenance(sha256, architecture, table.preprocessing, distance, licence, __version__)


def _propose(gallery: Gallery, owner_of: Mapping[_Place, int | None]) -> list[ProposedPerson]:
    """Who of the gallery's people gets which of the sightings that nobody has."""
    people = read_people(gallery.database)
    members: dict[int, list[int]] = {}
    for sighting in gallery.sightings():
        owner = owner_of.get((sighting.path, sighting.time))
        if owner is not None:
            members.setdefault(owner, []).append(sighting.number)
    taken = people.taken_names()
    proposal = []
    for owner in sorted(members):
        names = Counter(name for number in members[owner] if (name := people.name_of(number)) is not None)
        nobody = tuple(number for number in members[owner] if people.name_of(number) is None)
        if not nobody:
            continue
        if names:
            proposal.append(ProposedPerson(names.most_common(1)[0][0], nobody, is_new=False))
        else:
            name = _free_name(owner, taken)
            taken.add(name)
            proposal.append(ProposedPerson(name, nobody, is_new=True))
    return _one_each(proposal)


def _free_name(owner: int, taken: set[str]) -> str:
    number = owner
    while f"person-{number}" in taken:
        number += 1
    return f"person-{number}"


def _one_each(proposal: list[ProposedPerson]) -> list[ProposedPerson]:
    """The proposal with each person once: two people of the table may be one of the gallery."""
    joined: dict[str, ProposedPerson] = {}
    for one in proposal:
        earlier = joined.get(one.name)
        sightings = one.sightings if earlier is None else (*earlier.sightings, *one.sightings)
        joined[one.name] = ProposedPerson(one.name, sightings, one.is_new)
    return list(joined.values())
