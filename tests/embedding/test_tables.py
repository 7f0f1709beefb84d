from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnireid.embedding.tables import (
    EmbeddingTable,
    Provenance,
    read_embeddings,
    read_provenance,
    to_arrow,
    write_embeddings,
)
from omnireid.errors import DataError, DataNotFoundError, EmbeddingError, LabelsError, SettingError, ShapeError
from omnireid.types import Crops, Labels, Split

PROVENANCE = Provenance("ab" * 32, "osnet_x0_25", {"height": 256}, "euclidean", "unknown", "0", skipped=(("a", "b"),))


PATHS = (Path("a.jpg"), Path("b.jpg"), Path("c.jpg"))


def table(labels: Labels | None = None) -> EmbeddingTable:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    people, cameras = (None, None) if labels is None else (labels.person_ids, labels.camera_ids)
    return EmbeddingTable(Crops(PATHS, people, cameras, {"note": ["x", None, "z"]}), values, PROVENANCE)


@pytest.mark.parametrize(
    "labels", [None, Labels(np.array([1, 2, 3])), Labels(np.array([1, 2, 3]), np.array([0, 1, 0]))]
)
def test_everything_comes_back(tmp_path: Path, labels: Labels | None) -> None:
    path = tmp_path / "e.parquet"
    write_embeddings(table(labels), path)
    read = read_embeddings(path)
    assert read.paths == PATHS
    assert len(read) == 3
    assert np.array_equal(read.embeddings, table().embeddings)
    assert read.provenance == read_provenance(path) == PROVENANCE
    assert pa.chunked_array([["x", None, "z"]]) == read.columns["note"]
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
    values = np.arange(12, dtype=np.float32)
    values[6] = np.nan
    broken = pa.FixedSizeListArray.from_arrays(pa.array(values), 4)
    pq.write_table(to_arrow(table()).set_column(3, "embedding", broken), tmp_path / "e.parquet")
    with pytest.raises(EmbeddingError, match=r"Row 1 of .*e\.parquet \(b\.jpg\) holds a value that is not finite"):
        read_embeddings(tmp_path / "e.parquet")


def test_half_labelled(tmp_path: Path) -> None:
    arrow = to_arrow(table())
    half = arrow.set_column(1, "person_id", pa.array([1, None, 3], pa.int64()))
    pq.write_table(half, tmp_path / "e.parquet")
    with pytest.raises(LabelsError, match="1 of 3 rows .* have no person_id"):
        read_embeddings(tmp_path / "e.parquet")


def test_a_table_is_checked_at_birth() -> None:
    crops = Crops(PATHS)
    assert EmbeddingTable(crops, [[1, 2], [3, 4], [5, 6]], PROVENANCE).embeddings.dtype == np.float32  # type: ignore[arg-type]
    assert EmbeddingTable(["a.jpg"], np.zeros((1, 4), np.float32), PROVENANCE).paths == (Path("a.jpg"),)  # type: ignore[arg-type]
    with pytest.raises(EmbeddingError, match="provenance must be a Provenance; got a dict"):
        EmbeddingTable(crops, np.zeros((3, 4), np.float32), {})  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="3 crops but 2 rows"):
        EmbeddingTable(crops, np.zeros((2, 4), np.float32), PROVENANCE)
    with pytest.raises(ShapeError, match=r"embeddings must be \(N, D\) real numbers; got float64 of shape \(3,\)"):
        EmbeddingTable(crops, np.zeros(3), PROVENANCE)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="embeddings must be an array, or lists of one length; got a list"):
        EmbeddingTable(crops, [[1.0], [2.0, 3.0], [4.0]], PROVENANCE)  # type: ignore[arg-type]
    with pytest.raises(EmbeddingError, match=r"Row 2 \(c\.jpg\) holds a value that is not finite"):
        EmbeddingTable(crops, np.array([[0.0], [0.0], [1e300]]), PROVENANCE)
    values = np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match="read-only"):
        EmbeddingTable(crops, values, PROVENANCE).embeddings[0, 0] = 1
    values[0, 0] = 1  # the caller's own array stays writable


def test_tensors_are_taken_as_they_come() -> None:
    torch = pytest.importorskip("torch")
    for tensor in (torch.ones(3, 4, requires_grad=True), torch.ones(3, 4, dtype=torch.bfloat16)):
        assert EmbeddingTable(Crops(PATHS), tensor, PROVENANCE).embeddings.tolist() == [[1.0] * 4] * 3
    with pytest.raises(ShapeError, match="embeddings must be an array"):
        EmbeddingTable(Crops(PATHS), torch.ones(3, 4, device="meta"), PROVENANCE)


def made_by(width: int = 4, **changes: object) -> EmbeddingTable:
    values = np.zeros((3, width), np.float32)
    return EmbeddingTable(Crops(PATHS), values, replace(PROVENANCE, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"weights_sha256": "cd" * 32}, "made by weights abababababab… and the other by cdcdcdcdcdcd…"),
        ({"preprocessing": {"height": 128}}, "different preprocessing"),
        ({"distance": "cosine"}, "meant for euclidean distance and the other for cosine"),
        ({"width": 5}, "are 4 wide and those of the other 5"),
    ],
)
def test_tables_made_differently_are_not_compared(other: dict[str, object], message: str) -> None:
    with pytest.raises(EmbeddingError, match=message):
        made_by().check_comparable(made_by(**other))  # type: ignore[arg-type]


def test_two_precisions_are_compared_and_said() -> None:
    single, half = made_by(runtime="openvino fp32"), made_by(runtime="onnxruntime bf16")
    assert single.check_comparable(made_by(runtime="torch fp32")) == ()
    (remark,) = single.check_comparable(half)
    assert "computed in fp32 and the other in bf16" in remark


def test_a_fresh_table_is_comparable_with_the_same_one_read_back(tmp_path: Path) -> None:
    fresh = made_by(preprocessing={"mean": (0.5, 0.5, 0.5)})
    write_embeddings(fresh, tmp_path / "e.parquet")
    assert fresh.check_comparable(read_embeddings(tmp_path / "e.parquet")) == ()


def test_picked_crops_keep_their_own_order_and_labels() -> None:
    split = Split((Path("c.jpg"), Path("gone.jpg"), Path("a.jpg"), Path("c.jpg")), np.array([5, 6, 7, 8]))
    picked = table().pick(split)
    assert [path.name for path in picked.paths] == ["c.jpg", "a.jpg", "c.jpg"]
    assert picked.labels is not None
    assert picked.labels.person_ids.tolist() == [5, 7, 8]
    assert picked.embeddings[:, 0].tolist() == [8.0, 0.0, 8.0]


def test_a_path_in_another_normal_form_is_the_same_path() -> None:
    composed, decomposed = Path("caf\u00e9.jpg"), Path("cafe\u0301.jpg")
    values = np.array([[1.0], [2.0]], dtype=np.float32)
    one = EmbeddingTable(Crops((composed, Path("b.jpg"))), values, PROVENANCE)
    assert one.pick(Crops((decomposed,))).embeddings.tolist() == [[1.0]]
    both = EmbeddingTable(Crops((composed, decomposed)), values, PROVENANCE)
    assert both.pick(Crops((decomposed, composed))).embeddings.tolist() == [[2.0], [1.0]]


def test_columns_that_python_has_no_type_for_come_back(tmp_path: Path) -> None:
    columns = {
        "time": pa.array([1, 2, None], pa.timestamp("ns")),
        "length": pa.array([1, None, 3], pa.duration("ns")),
        "box": pa.array([{"x": 1, "y": [2]}, None, {"x": 3, "y": []}]),
    }
    crops = Crops(PATHS, columns=columns).select([2, 0, 1])
    write_embeddings(EmbeddingTable(crops, table().embeddings, PROVENANCE), tmp_path / "e.parquet")
    read = read_embeddings(tmp_path / "e.parquet").columns
    for name, values in columns.items():
        assert read[name] == pa.chunked_array([values.take([2, 0, 1])])


def test_a_column_of_mixed_types_is_named() -> None:
    crops = Crops(PATHS, columns={"note": [1, "x", None]})
    with pytest.raises(DataError, match="column 'note' mixes types"):
        to_arrow(EmbeddingTable(crops, table().embeddings, PROVENANCE))


def test_what_the_first_version_wrote_stays_readable(tmp_path: Path) -> None:
    """The bytes of its metadata; changing them would make every table out there useless."""
    record = (
        b'{"distance": "euclidean", "format_version": 1, "job": "007b", "licence": "Apache-2.0", "model": "means", '
        b'"omnireid_version": "0.1.0.dev0", "preprocessing": {"height": 8, "interpolation": "bilinear", "mean": '
        b'[0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "width": 4}, "runtime": "openvino bf16", "skipped": '
        b'[["b.jpg", "is empty"]], "weights_sha256": "c0c0"}'
    )
    columns = {
        "path": pa.array(["a.jpg"]),
        "person_id": pa.array([0]),
        "camera_id": pa.array([None], pa.int64()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2),
        "person_name": pa.array(["bob"]),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata({b"omnireid": record}), tmp_path / "e.parquet")
    read = read_embeddings(tmp_path / "e.parquet")
    assert (read.paths, read.embeddings.tolist()) == ((Path("a.jpg"),), [[1.0, 2.0]])
    assert read.labels is not None
    assert read.labels.person_ids.tolist() == [0]
    assert read.labels.camera_ids is None
    assert read.columns == {"person_name": ("bob",)}
    assert (read.provenance.precision, read.provenance.skipped) == ("bf16", (("b.jpg", "is empty"),))
    assert to_arrow(read).schema.metadata == {b"omnireid": record}


@pytest.mark.parametrize("path", [None, 3, b"table.parquet"])
def test_what_is_no_path_names_the_parameter(path: Any) -> None:
    with pytest.raises(SettingError, match=r"path must be a path; got .* \((NoneType|int|bytes)\)"):
        read_embeddings(path)
