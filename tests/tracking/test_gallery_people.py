from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from omnireid.errors import GalleryModelError, TrackingError
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.tracking.camera_linking import link_cameras
from omnireid.tracking.gallery_people import add_to_gallery
from omnireid.tracking.track_table import TrackTable

from .cameras import seen, table, walks


def test_linked_people_come_into_the_gallery_once_and_can_be_undone(tmp_path: Path) -> None:
    gallery = Gallery.open(tmp_path / "people.gallery")
    linked = link_cameras(table(walks(8, ("door", "hall")))).table
    done = add_to_gallery(linked, gallery, {"people": 8})
    assert (done.added, done.found) == (96, 0)
    assert done.decision is not None
    assert done.decision.evidence == {"people": 8}
    assert {person.name for person in gallery.people()} == {f"person-{n}" for n in range(1, 9)}
    (first, *_) = gallery.sightings(SightingFilter(persons=("person-1",)))
    assert (first.camera, first.track, first.path) == ("door", "0", "tracks/door/0/0")
    assert str(first.time) == "2026-05-01 10:00:00+00:00"

    again = add_to_gallery(linked, gallery, {})
    assert (again.added, again.found, again.decision) == (0, 96, None)
    gallery.undo(done.decision.event)
    assert gallery.people() == ()
    renewed = add_to_gallery(linked, gallery, {})
    assert renewed.decision is not None
    assert len(gallery.people()) == 8


def test_people_are_known_by_their_sightings_and_corrections_stay(tmp_path: Path) -> None:
    gallery = Gallery.open(tmp_path / "people.gallery")
    linked = link_cameras(table(walks(8, ("door", "hall")))).table
    add_to_gallery(linked, gallery, {})
    gallery.rename("person-1", "anna")
    later = link_cameras(table([seen("yard", n, n, n * 8.0 + 22) for n in range(8)]), before=linked).table
    done = add_to_gallery(later, gallery, {})
    assert (done.added, done.found) == (48, 96)
    anna = gallery.sightings(SightingFilter(persons=("anna",)))
    assert {one.camera for one in anna} == {"door", "hall", "yard"}


def test_other_weights_and_tracks_without_crops_are_refused(tmp_path: Path) -> None:
    gallery = Gallery.open(tmp_path / "people.gallery")
    add_to_gallery(link_cameras(table(walks(2, ("door",)))).table, gallery, {})
    with pytest.raises(GalleryModelError, match="belongs to unknown with weights aaaaaaaaaaaa"):
        add_to_gallery(link_cameras(table(walks(2, ("hall",)), weights="b")).table, gallery, {})
    one = walks(1)[0]
    plain = replace(one, embedded=one.embedded[:0], embeddings=one.embeddings[:0], qualities=one.qualities[:0])
    with pytest.raises(TrackingError, match="No crop of these tracks was embedded"):
        add_to_gallery(TrackTable((plain,)), gallery, {})
