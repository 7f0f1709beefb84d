"""The same gallery on object storage, here moto's S3 server on this machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from tests.gallery.tables import drawn_embeddings, table_of

from omnireid import cli
from omnireid.errors import GalleryError
from omnireid.gallery import ingest
from omnireid.gallery.database import Database
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions
from omnireid.gallery.register import Register, read_register
from omnireid.gallery.stored_files import s3_settings

URI = "s3://pictures/site/people"


def needles(row: int) -> tuple[bytes, bytes]:
    return drawn_embeddings(30)[row].astype(np.float16).tobytes(), f"/nowhere/0/{row:05d}.jpg".encode()


@pytest.mark.slow
def test_a_gallery_on_object_storage_answers_as_one_in_a_folder(
    bucket: Callable[[], dict[str, bytes]], gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Gallery.open(URI)
    assert there.model is None
    assert there.add(table_of(30)).added == 30
    assert (there.add(table_of(30)).added, there.add(table_of(30)).found) == (0, 30)
    for each in (there, gallery):
        each.merge("1", ["2"])
        each.undo()
        each.rename("4", "anna")
    query, which = table_of(4, seed=3), SightingFilter(not_cameras=("1",))
    expected = gallery.search(query, 5, which, not_same_camera=True)
    found = there.search(query, 5, which, not_same_camera=True)
    assert found.json() == expected.json()
    assert [person.json() for person in there.people()] == [person.json() for person in gallery.people()]
    assert [one.kind for one in there.decisions()] == [one.kind for one in gallery.decisions()]
    there.optimize()
    assert there.check().problems == ()
    assert there.info().bytes == sum(len(body) for key, body in bucket().items() if "people2" not in key)
    cli.main(["gallery", "info", "--gallery", URI])
    assert "30, of which 0 of nobody named" in capsys.readouterr().out


@pytest.mark.slow
def test_nothing_erased_is_left_in_any_object(bucket: Callable[[], dict[str, bytes]]) -> None:
    gallery = Gallery.open(URI)
    gallery.add(table_of(30))
    gallery.search(drawn_embeddings(1), 1, SightingFilter(persons=("2",)))
    assert all(any(needle in body for body in bucket().values()) for needle in needles(2))
    receipt = gallery.remove(ErasureOptions(person=("2",), block=True))
    objects = {key: body for key, body in bucket().items() if key.startswith("site/people/")}
    for row in range(30):
        for needle in needles(row):
            assert any(needle in body for body in objects.values()) == (row % 5 != 2)
    assert (receipt.sightings, receipt.found, receipt.verified) == (6, 0, True)
    assert 0 < receipt.files <= len(objects)
    assert gallery.is_own_receipt(receipt)
    assert gallery.add(table_of(30)).left_out[0][1].startswith("it was removed with --block")
    assert gallery.check().problems == ()


@pytest.mark.slow
def test_a_receipt_is_not_given_where_an_object_is_left(
    bucket: Callable[[], dict[str, bytes]], endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    client: Any = boto3.client("s3", endpoint_url=endpoint)
    for name in ("ENDPOINT_URL", "ALLOW_HTTP", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION"):
        monkeypatch.delenv(f"AWS_{name}")
    names = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1"}
    gallery = Gallery.open(URI, storage_options=names | {"endpoint": endpoint, "allow_http": "true"})
    gallery.add(table_of(30))
    client.put_object(Bucket="pictures", Key="site/people/copy.bin", Body=b"head" + needles(2)[0])
    with pytest.raises(GalleryError, match=r"is left in .*copy\.bin"):
        gallery.remove(ErasureOptions(person=("2",)))
    assert "site/people/copy.bin" in bucket()


@pytest.mark.slow
@pytest.mark.usefixtures("bucket")
def test_writers_on_two_machines_lose_nothing_but_may_give_one_number_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/gallery.md says of them. Two machines do not share a lock, so there is none here."""
    Gallery.open(URI).add(table_of(10))
    monkeypatch.setattr(Database, "sole_writer", lambda *_: nullcontext())
    both_have_read = Barrier(2, timeout=60)

    def read_together(database: Database) -> Register:
        register = read_register(database)
        both_have_read.wait()
        return register

    monkeypatch.setattr(ingest, "read_register", read_together)
    with ThreadPoolExecutor(2) as machines:
        summaries = list(machines.map(lambda seed: Gallery.open(URI).add(table_of(10, seed=seed)), (1, 2)))
    assert [summary.added for summary in summaries] == [10, 10]
    assert Gallery.open(URI).info().sightings == 30
    assert Gallery.open(URI).check().problems == ("10 sightings have the number of another one.",)


def test_settings_of_s3_are_those_of_lancedb() -> None:
    environment = {"AWS_ENDPOINT_URL": "http://there", "AWS_REGION": "north", "AWS_SECRET_ACCESS_KEY": "s", "HOME": "/"}
    given = {"aws_access_key_id": "k", "region": "south"}
    expected = {"access_key": "k", "secret_key": "s", "region": "south", "endpoint_override": "http://there"}
    assert s3_settings(given, environment) == expected
    assert s3_settings({}, {}) == {}


def test_only_rows_are_verified_where_files_cannot_be_listed(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("erasure", "stored_files"):
        monkeypatch.setattr(f"omnireid.gallery.{module}.list_stored_files", lambda _database: None)
    receipt = gallery.remove(ErasureOptions(person=("2",)))
    assert (receipt.sightings, receipt.files, receipt.verified) == (6, 0, True)
    assert gallery.info().bytes is None
