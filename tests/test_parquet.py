"""Parquet files of strangers, by every reader of the library. benchmarks/reader_fuzz.py found these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnireid import Crops, EmbeddingTable, read_embeddings
from omnireid.data.manifest import list_manifest
from omnireid.embedding.tables import Provenance, is_embedding_table, write_embeddings
from omnireid.errors import EmbeddingError, ManifestError, OmnireidError, TrackingError
from omnireid.tracking.detection_files import read_detection_table
from omnireid.tracking.track_table import TrackTable, read_track_table, write_track_table


def written(path: Path, table: pa.Table, text: bytes) -> Path:
    """A file in which a text of eight bytes is not UTF-8."""
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, b"\x9d" * len(text)))
    return path


@pytest.mark.parametrize("text", [b"nnnnnnnn", b"vvvvvvvv"])
@pytest.mark.parametrize(
    ("read", "error"),
    [(list_manifest, ManifestError), (read_detection_table, TrackingError), (read_track_table, TrackingError)],
)
def test_a_text_that_is_not_utf_8_is_an_error_of_the_reader(
    tmp_path: Path, read: Callable[[Path], object], error: type[OmnireidError], text: bytes
) -> None:
    path = written(tmp_path / "t.parquet", pa.table({"path": ["t.parquet"], "nnnnnnnn": ["vvvvvvvv"]}), text)
    with pytest.raises(error, match=r"t\.parquet .*UTF"):
        read(path)


def test_a_table_of_embeddings_with_a_text_that_is_not_utf_8(tmp_path: Path) -> None:
    provenance = Provenance("ab" * 32, "osnet_x0_25", {"height": 64}, "euclidean", "Apache-2.0", "0")
    crops = Crops((Path("vvvvvvvv"),), columns={"nnnnnnnn": ["x"]})
    write_embeddings(EmbeddingTable(crops, np.ones((1, 4), dtype=np.float32), provenance), tmp_path / "e.parquet")
    table = pq.read_table(tmp_path / "e.parquet")
    for text in (b"nnnnnnnn", b"vvvvvvvv"):
        path = written(tmp_path / "e.parquet", table, text)
        with pytest.raises(EmbeddingError, match="UTF"):
            read_embeddings(path)
    assert not is_embedding_table(written(tmp_path / "e.parquet", table, b"nnnnnnnn"))


@pytest.mark.parametrize("record", [b"{", b"[]", b'{"format_version": "x"}', b'{"format_version": 1}', b"\x9d"])
def test_a_table_of_tracks_with_damaged_metadata(tmp_path: Path, record: bytes) -> None:
    path = tmp_path / "t.parquet"
    write_track_table(path, TrackTable((), {}, {}))
    table = pq.read_table(path)
    (key,) = table.schema.metadata
    pq.write_table(table.replace_schema_metadata({key: record}), path)
    with pytest.raises(TrackingError, match=r"metadata of .*t\.parquet is damaged"):
        read_track_table(path)
