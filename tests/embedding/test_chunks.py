from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.embedding.colours import colour_embedder, mean_colour

from omnireid.embedding.chunks import embed_chunks, embed_crops
from omnireid.errors import ImageError
from omnireid.images.decode import RgbArray
from omnireid.types import Crops, FloatArray


@pytest.fixture
def crops(tmp_path: Path) -> Crops:
    """Seven PNGs, each of a colour of its own; the third and the last cannot be read."""
    paths = tuple(tmp_path / f"{i}.png" for i in range(7))
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 8), (30 * i, 0, 255 - i)).save(path)
    for i in (2, 6):
        paths[i].write_text("no image")
    return Crops(paths, np.arange(7), np.arange(7) % 2, {"note": list("abcdefg")})


def test_all_readable_crops_become_one_table(crops: Crops) -> None:
    embedder = colour_embedder()
    table = embed_crops(embedder, crops, batch_size=3, skip_unreadable=True)
    kept = [0, 1, 3, 4, 5]
    assert table.paths == tuple(crops.paths[i] for i in kept)
    assert np.allclose(table.embeddings, embedder.embed(table.paths), atol=1e-6)
    assert table.labels is not None
    assert table.labels.person_ids.tolist() == kept
    assert table.columns == {"note": ("a", "b", "d", "e", "f")}
    assert [Path(path).name for path, _ in table.provenance.skipped] == ["2.png", "6.png"]
    assert (table.provenance.runtime, table.provenance.precision) == ("torch fp32", "fp32")


def test_an_unreadable_crop_stops_it_unless_it_may_be_skipped(crops: Crops) -> None:
    with pytest.raises(ImageError, match=r"2\.png is not"):
        embed_crops(colour_embedder(), crops)


def test_no_crop_and_no_readable_crop_give_a_table_without_rows(crops: Crops) -> None:
    assert embed_crops(colour_embedder(), Crops(())).embeddings.shape == (0, 3)
    table = embed_crops(colour_embedder(), crops.select([2, 6]), skip_unreadable=True)
    assert table.embeddings.shape == (0, 3)
    assert len(table.provenance.skipped) == 2


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
@pytest.mark.parametrize("streams", [1, 2])
def test_chunks_are_cut_anywhere(crops: Crops, batch_size: int, streams: int) -> None:
    chunks = [range(1), range(1, 3), range(4, 6), range(6, 7)]
    counts: list[int] = []
    tables = embed_chunks(
        colour_embedder(streams=streams),
        crops,
        chunks,
        batch_size=batch_size,
        skip_unreadable=True,
        advance=counts.append,
    )
    names = [[path.stem for path in table.paths] for table in tables]
    assert names == [["0"], ["1"], ["4", "5"], []]
    assert sum(counts) == 6


def test_a_chunk_is_given_as_soon_as_its_last_crop_is_done(crops: Crops) -> None:
    seen = 0

    def count(images: RgbArray) -> FloatArray:
        nonlocal seen
        seen += len(images)
        return mean_colour(images)

    chunks = embed_chunks(
        colour_embedder(run=count), crops.select([0, 1, 3, 4]), [range(2), range(2, 4)], batch_size=1, advance=print
    )
    next(chunks)
    assert seen == 2
