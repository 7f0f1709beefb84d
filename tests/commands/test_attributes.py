from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from omnireid import synthesize
from omnireid.attributes.head_file import read_attribute_head
from omnireid.cli import main
from omnireid.embedding.tables import EmbeddingTable, Provenance, read_embeddings, write_embeddings
from omnireid.types import Crops
from omnireid.weights.artefact import read_artefact, write_artefact

pytestmark = pytest.mark.filterwarnings("default:The training crops all agree")

ONE = ["--runtime", "onnxruntime", "--threads", "1"]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "people"
    return synthesize(folder, identities=12, cameras=2, per_camera=2, height=64, workers=1, distractors=1)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, people: Path, untrained: Path) -> Path:
    output = tmp_path_factory.mktemp("head") / "head.safetensors"
    words = ["attributes", "train", "--data", str(people), "--weights", str(untrained), "--output", str(output)]
    assert main([*words, "--leave-out", "shoe", *ONE]) == 0
    return output


def test_drawn_people_come_with_what_a_head_learns(
    people: Path, head: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = read_attribute_head(head).record
    assert (record.crops, record.people, record.training_data) == (24, 6, "synthetic")
    assert record.licence == "data: drawn by omnireid; free to use (Apache-2.0); weights: Apache-2.0"
    assert not [name for name in read_attribute_head(head).names if name.startswith("shoe")]
    scores = tmp_path / "scores.json"
    words = ["attributes", "evaluate", "--data", str(people), "--head", str(head), "--weights", str(untrained)]
    assert main([*words, "--json", str(scores), *ONE]) == 0
    shown = capsys.readouterr()
    assert "majority" in shown.out
    assert "note: 2 of 14 crops have no attributes." in shown.err
    found = json.loads(scores.read_text())
    assert (found["crops"], found["people"], found["data"]) == (12, 6, "synthetic")
    assert found["head"]["weights_sha256"] == found["weights_sha256"]
    assert set(found["intervals"]) >= {"mean_accuracy", "f1"}


def test_stored_embeddings_give_the_same_head_and_scores(
    people: Path, head: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {split: tmp_path / f"{split}.parquet" for split in ("train", "gallery")}
    for split, table in tables.items():
        words = ["embed", str(people), "--split", split, "--weights", str(untrained), "--output", str(table)]
        assert main([*words, "--precision", "fp32", *ONE]) == 0
    again = tmp_path / "again.safetensors"
    stored = ["--embeddings", str(tables["train"]), "--attributes", str(people), "--leave-out", "shoe"]
    assert main(["attributes", "train", *stored, "--output", str(again)]) == 0
    assert read_attribute_head(again).names == read_attribute_head(head).names
    assert read_attribute_head(again).weights == pytest.approx(read_attribute_head(head).weights, rel=1e-2, abs=1e-3)
    output = tmp_path / "out.parquet"
    words = ["attributes", "predict", "--embeddings", str(tables["gallery"]), "--head", str(again)]
    assert main([*words, "--output", str(output)]) == 0
    assert "attributes of 14 crops" in capsys.readouterr().out
    assert tuple(read_embeddings(output).columns) == read_attribute_head(again).names


def test_a_head_learns_from_stored_embeddings_of_its_own_split_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table of all crops: the file of attributes says which of them are for training."""
    paths = [tmp_path / f"{number}.jpg" for number in range(12)]
    rows = [f"{path.name},{'test' if n >= 8 else 'train'},{n % 2}" for n, path in enumerate(paths)]
    own = tmp_path / "own.csv"
    own.write_text("\n".join(["path,split,hat", *rows]), encoding="utf-8")
    for path in paths:
        path.write_bytes(b"not read")
    made = Provenance("ab" * 32, "osnet_x0_25", {}, "cosine", "free", "0", runtime="onnxruntime fp32")
    values = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    write_embeddings(EmbeddingTable(Crops(tuple(paths)), values, made), tmp_path / "all.parquet")
    stored = ["--attributes", str(own), "--embeddings", str(tmp_path / "all.parquet")]
    output = tmp_path / "h.safetensors"
    assert main(["attributes", "train", *stored, "--output", str(output)]) == 0
    shown = capsys.readouterr()
    assert "1 attributes from 8 crops" in shown.out
    assert "note: 4 of 12 crops have no attributes in the split train." in shown.err
    assert main(["attributes", "evaluate", *stored, "--head", str(output)]) == 0
    assert "4 crops, people not known" in capsys.readouterr().out
    assert main(["attributes", "evaluate", *stored, "--head", str(output), "--split", "train"]) == 0
    assert "8 crops" in capsys.readouterr().out
    assert main(["attributes", "evaluate", *stored, "--head", str(output), "--split", "query"]) == 2
    assert "own.csv has no split 'query'. It has: train, test" in capsys.readouterr().err
    write_embeddings(EmbeddingTable(Crops(tuple(paths[:8])), values[:8], made), tmp_path / "all.parquet")
    assert main(["attributes", "evaluate", *stored, "--head", str(output)]) == 2
    assert "Only crops of the split test were asked for (--split)." in capsys.readouterr().err


def test_crops_get_attributes_and_unreadable_ones_are_named(
    people: Path, head: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    output = tmp_path / "out.csv"
    words = ["attributes", "predict", str(people / "query"), str(broken), "--head", str(head), "--output", str(output)]
    assert main([*words, "--weights", str(untrained), *ONE]) == 2
    assert not output.exists()
    assert main([*words, "--weights", str(untrained), *ONE, "--skip-unreadable"]) == 0
    assert "left out" in capsys.readouterr().out
    with output.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    assert all(0 <= float(row["logo"]) <= 1 for row in rows)


def test_crops_that_cannot_be_read_are_not_counted_as_crops_without_attributes(
    people: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted((people / "query").iterdir())[:4]
    bad = [tmp_path / f"{number}.jpg" for number in range(6)]
    for path in bad:
        path.write_bytes(b"no picture")
    own = tmp_path / "own.csv"
    own.write_text("\n".join(["path,hat", *(f"{path},{n % 2}" for n, path in enumerate([*paths, *bad]))]))
    words = ["attributes", "train", "--attributes", str(own), "--skip-unreadable", "--weights", str(untrained), *ONE]
    assert main([*words, "--output", str(tmp_path / "h.safetensors")]) == 0
    shown = capsys.readouterr()
    assert "1 attributes from 4 crops" in shown.out
    assert shown.err.count(f"left out {tmp_path}") == 5
    assert "left out 6 crops in all, which cannot be read" in shown.err
    assert "have no attributes" not in shown.err


def test_a_head_of_other_weights_is_refused_before_anything_is_embedded(
    people: Path, head: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, metadata = read_artefact(untrained)
    other = tmp_path / "other.safetensors"
    write_artefact(other, {name: tensor * 2 for name, tensor in tensors.items()}, metadata)
    output = tmp_path / "out.csv"
    crops = str(people / "query")
    words = ["predict", crops, "--head", str(head), "--output", str(output), "--weights", str(other)]
    assert main(["attributes", *words, *ONE]) == 2
    assert "The head was trained on embeddings of osnet_x0_25 with weights" in capsys.readouterr().err
    assert not output.exists()


def test_what_cannot_be_done_is_said_in_one_line(
    people: Path,
    head: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = tmp_path_factory.mktemp("own") / "own.csv"
    own.write_text("person_id,person\n1,0\n2,1\n", encoding="utf-8")
    data, given = ["--data", str(people)], ["--head", str(head)]
    output = ["--output", str(tmp_path / "h.safetensors")]
    crop = next((people / "query").iterdir())
    csv_output = ["--output", str(tmp_path / "out.csv")]
    table = ["--embeddings", str(tmp_path / "t.parquet")]
    for words, message in (
        (["train", *output], "Give --attributes, --data, or both"),
        (["train", *data, "--output", str(tmp_path / "h.bin")], "name ends in .safetensors"),
        (["train", "--data", str(tmp_path), *output], "holds no attributes: neither attributes.csv nor annotation.mat"),
        (["train", *data, *table, "--weights", "w", *output], "--weights has no effect on stored embeddings"),
        (["train", *data, *table, "--attributes", str(people), *output], "--data has no effect on stored embeddings"),
        (["evaluate", *data, *given, "--split", "multi_query", *ONE], "synthetic has no split 'multi_query'"),
        (["evaluate", *given], "Give --attributes, --data, or both"),
        (["evaluate", *data, "--head", str(tmp_path / "gone")], "No such file of an attribute head"),
        (
            ["evaluate", *data, *given, "--attributes", str(own), "--weights", "gone", *ONE],
            "has person: they have no attribute in common",
        ),
        (["predict", *given, *csv_output], "Give either crops or --embeddings"),
        (["predict", str(people), *given, "--output", str(tmp_path / "x.json")], "to a .parquet or .csv file"),
        (
            ["predict", str(people), "--head", str(crop), *csv_output],
            "is not a whole safetensors file",
        ),
        (["train", *data, "--penalty", "0", *output], "penalty must be above 0"),
    ):
        assert main(["attributes", *words]) == 2, words
        assert message in capsys.readouterr().err, words
    assert not list(tmp_path.iterdir())


def test_an_output_never_replaces_the_attributes_it_was_made_from(
    people: Path, head: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = people / "attributes.csv"
    before = output.read_bytes()
    words = ["attributes", "predict", str(people), "--head", str(head), "--weights", str(untrained)]
    assert main([*words, "--output", str(output)]) == 2
    assert "it is an input of this command" in capsys.readouterr().err
    assert output.read_bytes() == before
