from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.gallery.tables import mean_embedder

from omnireid.data.listing import list_crops
from omnireid.embedding.network import Network
from omnireid.errors import GalleryModelError, ImageError
from omnireid.gallery import reindexing
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions
from omnireid.gallery.schema import write_facts
from omnireid.types import Crops

OTHER = replace(
    mean_embedder(),
    weights_sha256="ef" * 32,
    metadata=replace(mean_embedder().metadata, embedding_dimension=2),
    network=Network("torch", "fp32", "cpu", lambda pixels: pixels.mean(axis=(1, 2), dtype="float32")[:, :2].copy()),
)


@pytest.fixture
def crops(tmp_path: Path, crop_folder: Path) -> Crops:
    """Copies of drawn crops, which a test may delete."""
    for path in crop_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return list_crops([str(tmp_path)])


def test_a_gallery_is_given_another_model(tmp_path: Path, crops: Crops) -> None:
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    gallery.add(crops)
    gallery.merge("1", ["2"])
    renewed, summary = gallery.reindex(OTHER)
    assert (summary.embedded, summary.left_out) == (12, ())
    assert renewed.search(crops.paths[:2], 1)[1][0].sighting.number == 2
    assert [person.name for person in renewed.people()] == ["1", "3"]
    assert renewed.check().problems == ()
    with pytest.raises(GalleryModelError, match="not to means with weights cdcd"):
        gallery.search(crops.paths[:1])
    with pytest.raises(GalleryModelError, match="not to means with weights cdcd"):
        Gallery.open(tmp_path / "g", mean_embedder())
    assert renewed.add(crops).found == 12


def test_a_picture_that_is_gone_stops_it_or_drops_its_sighting(tmp_path: Path, crops: Crops) -> None:
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    gallery.add(crops)
    crops.paths[0].unlink()
    with pytest.raises(ImageError):
        gallery.reindex(OTHER)
    assert gallery.search(crops.paths[1:2], 1)[0][0].sighting.number == 2
    renewed, summary = gallery.reindex(OTHER, skip_unreadable=True)
    assert summary.embedded == 11
    assert [Path(path).name for path, _ in summary.left_out] == [crops.paths[0].name]
    assert [sighting.number for sighting in renewed.sightings()] == list(range(2, 13))


@pytest.mark.parametrize("writes", [0, 1])
def test_stopped_before_or_after_its_step_the_gallery_has_one_model(
    tmp_path: Path, crops: Crops, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    gallery.add(crops)
    left = [writes]

    def stop(*given: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write_facts(*given)

    monkeypatch.setattr(reindexing, "write_facts", stop)
    with pytest.raises(KeyboardInterrupt):
        gallery.reindex(OTHER)
    monkeypatch.undo()
    embedder = OTHER if writes else mean_embedder()
    again = Gallery.open(tmp_path / "g", embedder)
    assert again.search(crops.paths[:1], 1)[0][0].sighting.number == 1
    assert again.check().problems == ()
    assert Gallery.open(tmp_path / "g").reindex(OTHER)[1].embedded == 12
    assert not list((tmp_path / "g").glob(".reindex"))


def test_an_erasure_removes_embeddings_that_wait_for_a_reindex(tmp_path: Path, crops: Crops) -> None:
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    gallery.add(crops)
    waiting = reindexing.reindex_folder(gallery.database)
    waiting.mkdir()
    (waiting / "embeddings.parquet").touch()
    assert gallery.remove(ErasureOptions(person=("1",))).sightings == 4
    assert not waiting.exists()
