"""``omnireid evaluate`` of tables of stored embeddings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnireid.cli import main
from omnireid.embedding.tables import EmbeddingTable, Provenance, write_embeddings
from omnireid.types import Crops, Labels


@pytest.fixture(scope="module")
def tables(people: Path, untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags that name the stored embeddings of the drawn people."""
    folder = tmp_path_factory.mktemp("tables")
    for split in ("query", "gallery"):
        words = ["embed", str(people), "--split", split, "--weights", str(untrained), "--precision", "fp32"]
        assert main([*words, "--output", str(folder / f"{split}.parquet")]) == 0
    return ["--query", str(folder / "query.parquet"), "--gallery", str(folder / "gallery.parquet")]


def test_stored_embeddings_give_the_same_scores(
    tmp_path: Path, people: Path, untrained: Path, tables: list[str]
) -> None:
    for distance in ("euclidean", "cosine"):
        for name, source in {
            "tables": tables,
            "weights": ["--weights", str(untrained), "--data", str(people)],
        }.items():
            report = tmp_path / f"{name}.json"
            assert main(["evaluate", *source, "--distance", distance, "--json", str(report)]) == 0
        one, other = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("tables", "weights"))
        assert one["distance"] == other["distance"] == distance
        for name in ("rank1", "cmc", "intervals", "queries", "gallery", "protocol", "camera_pairs"):
            assert one[name] == other[name], name
        assert one["mean_average_precision"] == pytest.approx(other["mean_average_precision"], abs=1e-6)


def write_table(
    path: Path,
    labels: Labels | None,
    sha256: str = "ab" * 32,
    width: int = 4,
    constant: bool = False,
    **changes: object,
) -> Path:
    provenance = Provenance(sha256, "osnet_x0_25", {"height": 256}, "euclidean", "unknown", "0")
    count = 3 if labels is None else len(labels)
    values = np.random.default_rng(0).random((count, width), dtype=np.float32)
    values = np.ones_like(values) if constant else values
    people, cameras = (None, None) if labels is None else (labels.person_ids, labels.camera_ids)
    rows = Crops(tuple(Path(f"{i}.jpg") for i in range(count)), people, cameras)
    write_embeddings(EmbeddingTable(rows, values, replace(provenance, **changes)), path)  # type: ignore[arg-type]
    return path


LABELS = Labels(np.array([1, 2, 3]), np.array([1, 1, 1]))


OTHERS = Labels(np.array([1, 2, 3]), np.array([2, 2, 2]))


@pytest.mark.parametrize(
    ("query", "gallery", "message"),
    [
        ({}, {"sha256": "cd" * 32}, "made by weights abababababab… and"),
        ({}, {"preprocessing": {"height": 128}}, "different preprocessing"),
        ({}, {"width": 5}, "are 4 wide and those of"),
        ({"labels": None}, {}, "query crops have no person ids"),
        ({"labels": Labels(np.array([1, 2, 3]))}, {}, "no-cameras"),
        ({"labels": Labels(np.array([7, 8]), np.array([1, 1]))}, {}, "7, 8"),
        ({"labels": OTHERS}, {}, "Every crop carries camera 2"),
    ],
)
def test_tables_that_cannot_be_compared(
    tmp_path: Path,
    query: dict[str, object],
    gallery: dict[str, object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left = write_table(tmp_path / "q.parquet", **{"labels": LABELS, **query})  # type: ignore[arg-type]
    right = write_table(tmp_path / "g.parquet", **{"labels": OTHERS, **gallery})  # type: ignore[arg-type]
    assert main(["evaluate", "--query", str(left), "--gallery", str(right)]) == 2
    assert message in capsys.readouterr().err


def test_tables_without_cameras_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = Labels(np.array([1, 2, 3]))
    left, right = write_table(tmp_path / "q.parquet", labels), write_table(tmp_path / "g.parquet", labels)
    assert main(["evaluate", "--query", str(left), "--gallery", str(right)]) == 0
    shown = capsys.readouterr().out
    assert "note: the tables have no camera ids, so the protocol is no-cameras" in shown
    assert "protocol no-cameras" in shown


def test_reranked_and_expanded_scores(
    tmp_path: Path, people: Path, untrained: Path, tables: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--rerank", "--k1", "3", "--k2", "2", "--lambda-value", "0.4", "--expand", "2", "--alpha", "1.5"]
    records, report, picture = [], tmp_path / "out.json", tmp_path / "ranked.png"
    assert main(["evaluate", *tables, "--picture", str(picture)]) == 0
    plain = picture.read_bytes()
    for source in (tables, ["--weights", str(untrained), "--data", str(people)]):
        capsys.readouterr()
        assert main(["evaluate", *source, *flags, "--json", str(report), "--picture", str(picture)]) == 0
        shown = capsys.readouterr().out
        assert "RE-RANKED: k-reciprocal encoding (k1 3, k2 2, lambda 0.4)" in shown
        assert "EXPANDED: each query averaged with its 2 nearest gallery crops (α-QE, alpha 1.5)" in shown
        records.append(json.loads(report.read_text()))
        assert records[-1]["reranking"] == {"k1": 3, "k2": 2, "lambda_value": 0.4}
        assert records[-1]["query_expansion"] == {"count": 2, "alpha": 1.5}
    assert records[0]["mean_average_precision"] == pytest.approx(records[1]["mean_average_precision"], abs=1e-6)
    assert picture.read_bytes() != plain
    assert main(["evaluate", *tables, "--rerank", "--json", str(report)]) == 0
    assert json.loads(report.read_text())["reranking"] == {"k1": 20, "k2": 6, "lambda_value": 0.3}


def test_json_on_standard_output_stands_alone_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = Labels([1, 2, 3])  # type: ignore[arg-type]
    left, right = write_table(tmp_path / "q.parquet", labels), write_table(tmp_path / "g.parquet", labels)
    assert main(["evaluate", "--query", str(left), "--gallery", str(right), "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["protocol"] == "no-cameras"
    assert "rank-1" in shown.err


def test_queries_in_the_gallery_are_said_in_table_and_json(
    tmp_path: Path, people: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, table, report = tmp_path / "people.csv", tmp_path / "people.parquet", tmp_path / "out.json"
    crops = sorted((people / "query").glob("*.jpg"))
    lines = [f"{path},{number}" for number, path in enumerate(crops, start=1)]
    manifest.write_text("\n".join(["path,person_id", *lines]) + "\n")
    assert main(["embed", str(manifest), "--weights", str(untrained), "--output", str(table)]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--query", str(table), "--gallery", str(table), "--json", str(report)]) == 0
    assert "WARNING: THE QUERIES ARE IN THE GALLERY" in capsys.readouterr().out
    record = json.loads(report.read_text())
    assert record["queries_with_copy"] == record["queries"] == len(crops)
    assert record["warnings"][0].startswith("THE QUERIES ARE IN THE GALLERY")


def test_equal_embeddings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = write_table(tmp_path / "q.parquet", LABELS, constant=True)
    right = write_table(tmp_path / "g.parquet", OTHERS, constant=True)
    assert main(["evaluate", "--query", str(left), "--gallery", str(right)]) == 2
    assert "A tie decides each of the 3 queries" in capsys.readouterr().err
