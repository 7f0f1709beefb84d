from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.gallery.tables import drawn_embeddings, filled, mean_embedder, table_of

from omnireid.data.listing import list_crops
from omnireid.errors import DiskFullError, FilterError, GalleryError, SettingError
from omnireid.gallery import erasure
from omnireid.gallery.database import Database
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions
from omnireid.gallery.schema import SIGHTINGS


def files_with(folder: str, needle: bytes) -> list[str]:
    return [str(path) for path in Path(folder).rglob("*") if path.is_file() and needle in path.read_bytes()]


def bytes_of(row: int) -> tuple[bytes, bytes]:
    """Embedding and path of a row of the gallery, as they are stored."""
    return drawn_embeddings(30)[row].astype(np.float16).tobytes(), f"/nowhere/0/{row:05d}.jpg".encode()


@pytest.mark.parametrize(
    ("options", "erased"),
    [
        (ErasureOptions(person=("2",)), {2, 7, 12, 17, 22, 27}),
        (ErasureOptions(person=("2", "3"), camera=("0",)), {3, 12, 18, 27}),
        (ErasureOptions(path=("/nowhere/0/00004.jpg",)), {4}),
        (ErasureOptions(where="sighting in (29, 30)"), {28, 29}),
    ],
)
def test_nothing_of_an_erased_sighting_is_in_any_byte(
    gallery: Gallery, options: ErasureOptions, erased: set[int]
) -> None:
    gallery.add(table_of(12, seed=1, people=[9] * 12))
    for needle in bytes_of(min(erased)):
        assert files_with(gallery.database.uri, needle)
    receipt = gallery.remove(options)
    assert (receipt.sightings, receipt.found, receipt.verified) == (len(erased), 0, True)
    assert receipt.files > 4
    for row in range(30):
        for needle in bytes_of(row):
            assert bool(files_with(gallery.database.uri, needle)) == (row not in erased)
    assert {sighting.number for sighting in gallery.sightings()} == set(range(1, 43)) - {row + 1 for row in erased}
    assert gallery.check().problems == ()
    assert gallery.is_own_receipt(receipt)
    assert not gallery.is_own_receipt(replace(receipt, sightings=receipt.sightings + 1))
    assert gallery.audit()[-1].details["signature"] == receipt.signature


def test_a_removed_number_is_not_given_again(gallery: Gallery) -> None:
    gallery.remove(ErasureOptions(where="sighting >= 29"))
    gallery.add(table_of(2, seed=4))
    assert [sighting.number for sighting in gallery.sightings()][-2:] == [31, 32]


def test_names_and_paths_leave_the_log_too(gallery: Gallery) -> None:
    query = drawn_embeddings(1)
    gallery.search(query, 1, SightingFilter(persons=("4",)))
    gallery.search(query, 1, SightingFilter(where="person = '4' or camera = '1'"))
    gallery.search(query, 1, SightingFilter(where='path = "/nowhere/0/00004.jpg"'))
    gallery.search(query, 1, SightingFilter(persons=("3",)))
    gallery.remove(ErasureOptions(person=("4",)))
    filters = [entry.details.get("filter") for entry in gallery.audit()]
    assert filters == [None, {"erased": True}, {"erased": True}, {"erased": True}, {"persons": ["3"]}, None]
    assert not files_with(gallery.database.uri, b"00004.jpg")


def test_a_blocked_crop_does_not_come_back(tmp_path: Path, crop_folder: Path) -> None:
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    crops = list_crops([str(crop_folder)])
    gallery.add(crops)
    assert gallery.remove(ErasureOptions(person=("1",), block=True)).blocked
    gallery.remove(ErasureOptions(person=("2",)))
    summary = gallery.add(crops)
    assert (summary.added, summary.found, len(summary.left_out)) == (4, 4, 4)
    assert all("0001_" in path and "not to come back" in reason for path, reason in summary.left_out)
    table = table_of(4, seed=0, people=[7] * 4)
    other = filled(tmp_path / "h", 4)
    other.remove(ErasureOptions(camera=("0",), block=True))
    again = other.add(table)
    assert (again.added, again.found) == (0, 2)
    assert {reason for _, reason in again.left_out} == {"it was removed with --block, and is not to come back"}


def test_retaining_days_erases_what_is_older(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    times = [(now - timedelta(days=age)).isoformat() for age in (40, 31, 29, 1)] + [""]
    gallery = filled(tmp_path / "g", 5, time=times)
    assert gallery.retain(30).sightings == 2
    assert [sighting.number for sighting in gallery.sightings()] == [3, 4, 5]
    with pytest.raises(SettingError, match="days must be"):
        gallery.retain(-1)


def test_a_clock_that_went_backwards_erases_nothing(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Earlier:
            return cls(2001, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("omnireid.gallery.audit.datetime", Earlier)
    with pytest.raises(GalleryError, match="the clock went backwards"):
        gallery.retain(30)
    assert len(gallery.sightings()) == 30


def test_what_to_erase_must_be_said(gallery: Gallery) -> None:
    with pytest.raises(FilterError, match="Nothing says which sightings"):
        gallery.remove(ErasureOptions(block=True))
    with pytest.raises(FilterError, match="no column 'hair'"):
        gallery.remove(ErasureOptions(where="hair = 'red'"))
    receipt = gallery.remove(ErasureOptions(camera=("99",)))
    assert (receipt.sightings, receipt.verified) == (0, True)


def test_a_mistyped_name_erases_nothing_and_says_so(gallery: Gallery) -> None:
    with pytest.raises(GalleryError, match="There is no person '02' in the gallery. Did you mean '2'"):
        gallery.remove(ErasureOptions(person=("02", "3")))
    assert len(gallery.sightings()) == 30


def test_no_room_on_the_disk_erases_nothing(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Database, name: str, _rows: object) -> None:
        raise self.translate(RuntimeError("LanceError(IO): No space left on device (os error 28)"))

    monkeypatch.setattr(Database, "rewrite", full)
    with pytest.raises(DiskFullError, match="No space left on the disk"):
        gallery.remove(ErasureOptions(person=("2",)))
    monkeypatch.undo()
    assert len(Gallery.open(gallery.database.uri).sightings()) == 30


def test_a_stopped_erasure_is_found_and_finished(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the rows are gone and before their files are."""

    def leave_files(self: Database, name: str, rows: object) -> None:
        with self.writing(name):
            self._connection().create_table(name, data=rows, mode="overwrite")
        if name == SIGHTINGS:
            raise KeyboardInterrupt

    monkeypatch.setattr(Database, "rewrite", leave_files)
    with pytest.raises(KeyboardInterrupt):
        gallery.remove(ErasureOptions(person=("2",)))
    monkeypatch.undo()
    again = Gallery.open(gallery.database.uri)
    assert files_with(gallery.database.uri, bytes_of(2)[0])
    assert "An erasure was stopped" in again.check().problems[0]
    assert again.remove(ErasureOptions(person=("2",))).sightings == 0
    assert not any(files_with(gallery.database.uri, needle) for needle in bytes_of(2))
    assert again.check().problems == ()


def test_half_written_files_of_a_killed_writer_go_too(gallery: Gallery) -> None:
    leftover = Path(gallery.database.uri) / "sightings.lance" / "data" / ".tmpAbC123"
    leftover.write_bytes(b"head" + bytes_of(2)[0])
    assert gallery.remove(ErasureOptions(person=("2",))).verified
    assert not leftover.exists()


def test_a_receipt_is_not_given_where_bytes_are_left(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Path(gallery.database.uri) / "copy.bin"
    kept.write_bytes(b"head" + bytes_of(2)[0])
    with pytest.raises(GalleryError, match=r"is left in .*copy\.bin"):
        gallery.remove(ErasureOptions(person=("2",)))
    assert erasure._needles(gallery.database.rows(SIGHTINGS).slice(0, 1), gallery.database.rows(SIGHTINGS)) == []
