from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnireid.embedding.tables import EmbeddingTable, Provenance, read_embeddings, read_provenance, to_arrow
from omnireid.errors import DataNotFoundError, EmbeddingError, LabelsError
from omnireid.types import Labels

PROVENANCE = Provenance("ab" * 32, "osnet_x0_25", {"height": 256}, "euclidean", "unknown", "0", skipped=(("a", "b"),))


def table(labels: Labels | None = None) -> EmbeddingTable:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    return EmbeddingTable(("a.jpg", "b.jpg", "c.jpg"), values, labels, PROVENANCE, {"note": ["x", None, "z"]})


@pytest.mark.parametrize(
    "labels", [None, Labels(np.array([1, 2, 3])), Labels(np.array([1, 2, 3]), np.array([0, 1, 0]))]
)
def test_everything_comes_back(tmp_path: Path, labels: Labels | None) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(to_arrow(table(labels)), path)
    read = read_embeddings(path)
    assert read.paths == ("a.jpg", "b.jpg", "c.jpg")
    assert np.array_equal(read.embeddings, table().embeddings)
    assert read.provenance == read_provenance(path) == PROVENANCE
    assert list(read.columns["note"]) == ["x", None, "z"]
    if labels is None:
        assert read.labels is None
    else:
        assert read.labels is not None
        assert read.labels.person_ids.tolist() == [1, 2, 3]
        assert (read.labels.camera_ids is None) == (labels.camera_ids is None)


def test_any_parquet_reader_understands_it(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(to_arrow(table()), path)
    assert pq.read_table(path).column("embedding")[1].as_py() == [4.0, 5.0, 6.0, 7.0]


def test_files_that_are_no_table(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    with pytest.raises(DataNotFoundError, match="No such table of embeddings.*omnireid embed"):
        read_embeddings(path)
    path.write_text("text")
    with pytest.raises(EmbeddingError, match="not a whole Parquet file"):
        read_embeddings(path)
    pq.write_table(to_arrow(table()), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(EmbeddingError, match="not a whole Parquet file"):
        read_embeddings(path)
    pq.write_table(pa.table({"path": ["a"]}), path)
    with pytest.raises(EmbeddingError, match="missing columns: person_id, camera_id, embedding"):
        read_embeddings(path)
    pq.write_table(to_arrow(table()).replace_schema_metadata(None), path)
    with pytest.raises(EmbeddingError, match="does not say which weights made it"):
        read_embeddings(path)
    for damage in (b"{", b"[1]", b'{"format_version": 1}', b'{"format_version": 1, "skipped": [], "colour": 3}'):
        pq.write_table(to_arrow(table()).replace_schema_metadata({b"omnireid": damage}), path)
        with pytest.raises(EmbeddingError, match=r"metadata of .*e\.parquet is damaged"):
            read_embeddings(path)
    pq.write_table(to_arrow(table()).replace_schema_metadata({b"omnireid": b'{"format_version": 2}'}), path)
    with pytest.raises(EmbeddingError, match=r"newer omnireid \(format 2"):
        read_embeddings(path)
    arrow = to_arrow(table())
    for column in (pa.array([[1.0], [2.0], [3.0]]), pa.array([None, [1.0], [2.0]], pa.list_(pa.float32(), 1))):
        pq.write_table(arrow.set_column(3, "embedding", column), path)
        with pytest.raises(EmbeddingError, match="not float32 lists of one width"):
            read_embeddings(path)


def test_not_a_number(tmp_path: Path) -> None:
    broken = table()
    broken.embeddings[1, 2] = np.nan
    pq.write_table(to_arrow(broken), tmp_path / "e.parquet")
    with pytest.raises(EmbeddingError, match=r"Row 1 of .*e\.parquet \(b\.jpg\) holds a value that is not finite"):
        read_embeddings(tmp_path / "e.parquet")


def test_half_labelled(tmp_path: Path) -> None:
    arrow = to_arrow(table())
    half = arrow.set_column(1, "person_id", pa.array([1, None, 3], pa.int64()))
    pq.write_table(half, tmp_path / "e.parquet")
    with pytest.raises(LabelsError, match="1 of 3 rows .* have no person_id"):
        read_embeddings(tmp_path / "e.parquet")
