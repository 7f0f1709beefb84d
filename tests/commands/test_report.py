from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.gallery.tables import filled

from omnireid import RuntimeOptions, load_embedder
from omnireid.cli import main
from omnireid.data.listing import list_crops
from omnireid.embedding.chunks import embed_crops
from omnireid.embedding.tables import write_embeddings


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, crop_folder: Path, untrained: Path) -> tuple[str, str]:
    """The crops of both cameras, each in a table of its own."""
    folder = tmp_path_factory.mktemp("tables")
    embedder = load_embedder(untrained, RuntimeOptions(runtime="onnxruntime"))
    names = []
    for camera in (1, 2):
        path = folder / f"camera{camera}.parquet"
        write_embeddings(embed_crops(embedder, list_crops([str(crop_folder / f"*_c{camera}*.jpg")])), path)
        names.append(str(path))
    return names[0], names[1]


def test_stored_embeddings_become_a_page_text_and_numbers(tmp_path: Path, tables: tuple[str, str]) -> None:
    words = ["report", "--query", tables[0], "--gallery", tables[1]]
    page, text, numbers = (tmp_path / f"report.{suffix}" for suffix in ("html", "md", "json"))
    assert main([*words, "--output", str(page)]) == 0
    assert main([*words, "--output", str(text), "--format", "md"]) == 0
    assert main([*words, "--output", str(numbers), "--format", "json", "--distance", "cosine"]) == 0
    assert "data:image/jpeg" in page.read_text(encoding="utf-8")
    assert main([*words, "--output", str(page), "--hide-crops"]) == 0
    assert "data:image" not in page.read_text(encoding="utf-8")
    record = json.loads(numbers.read_text())
    assert record["scores"]["distance"] == "cosine"
    assert "There is no calibration: A calibration needs at least 20 pairs" in record["calibration_note"]
    assert record["facts"]["embeddings"] == "camera1.parquet against camera2.parquet"
    assert f"| SHA-256 of the weights | {record['facts']['SHA-256 of the weights']} |" in text.read_text(
        encoding="utf-8"
    )


def test_weights_and_data_become_a_page(tmp_path: Path, crop_folder: Path, untrained: Path) -> None:
    data = tmp_path / "people"
    for path in sorted(crop_folder.iterdir()):
        person = path.name[:4]
        (data / person).mkdir(parents=True, exist_ok=True)
        (data / person / path.name).write_bytes(path.read_bytes())
    page = tmp_path / "report.html"
    words = ["report", "--weights", str(untrained), "--data", str(data), "--runtime", "onnxruntime"]
    assert main([*words, "--output", str(page)]) == 0
    written = page.read_text(encoding="utf-8")
    assert "untrained.safetensors on people" in written
    assert "crops per second" in written


def test_a_training_run_becomes_a_page(tmp_path: Path) -> None:
    run = tmp_path / "first"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"recipe": {"model": "osnet_x0_25"}}))
    entry = {"kind": "evaluation", "step": 1, "epoch": 1.0, "seconds": 3.0, "images": 64, "rank1": 0.25}
    (run / "log.jsonl").write_text(json.dumps(entry) + "\n")
    assert main(["report", "--run", str(run), "--output", str(tmp_path / "run.html")]) == 0
    assert "25.0 %" in (tmp_path / "run.html").read_text(encoding="utf-8")
    assert main(["report", "--run", str(run), "--output", str(tmp_path / "run.json"), "--format", "json"]) == 0
    assert json.loads((tmp_path / "run.json").read_text())["journal"] == [entry]


def test_what_cannot_be_reported_is_said_in_one_line(
    tmp_path: Path, tables: tuple[str, str], crop_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "report.html")]
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "log.jsonl").write_text("")
    (broken / "run.json").write_text("[1]")
    stored = ["--query", tables[0], "--gallery", tables[1]]
    for words, message in (
        ([*output, "--gallery", str(tmp_path / "none.gallery")], "There is no gallery at"),
        ([*output, "--evaluation", str(broken / "run.json")], "cannot be read as scores"),
        ([*output, "--run", str(broken), "--calibration", "c.json"], "--calibration belongs to --data"),
        (output, "Give one of --data"),
        ([*output, "--query", tables[0]], "Give one of --data"),
        ([*output, *stored, "--data", str(crop_folder)], "Give one of --data"),
        ([*output, *stored, "--weights", "w.pth"], "was made already"),
        ([*output, "--run", str(broken), *stored], "Give one of --data"),
        ([*output, "--run", str(broken)], "cannot be read as a run's record"),
        ([*output, "--run", str(tmp_path / "absent")], "There is no journal"),
        ([*output, *stored, "--calibration", str(broken / "run.json")], "is no calibration"),
        (["--output", str(tmp_path / "report.txt"), *stored], "ends in .html"),
        (["--output", str(tmp_path / "report.html"), "--format", "md", *stored], "ends in .md"),
    ):
        assert main(["report", *words]) == 2, words
        assert message in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_a_gallery_becomes_a_page_text_and_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery = tmp_path / "people.gallery"
    filled(gallery)
    page, numbers = tmp_path / "gallery.html", tmp_path / "gallery.json"
    assert main(["report", "--gallery", str(gallery), "--output", str(page)]) == 0
    assert main(["report", "--gallery", str(gallery), "--output", str(numbers), "--format", "json"]) == 0
    assert "Gallery people.gallery" in page.read_text(encoding="utf-8")
    record = json.loads(numbers.read_text())
    assert (record["gallery"]["sightings"], len(record["people"]), record["actions"]) == (30, 5, {"add": 1})
    assert main(["report", "--gallery", str(gallery), "--output", str(gallery / "page.html")]) == 2
    assert "would lie in the gallery" in capsys.readouterr().err


def test_scores_that_were_written_become_a_page(tmp_path: Path, tables: tuple[str, str]) -> None:
    scores, page, text = (tmp_path / name for name in ("scores.json", "scores.html", "scores.md"))
    assert main(["evaluate", "--query", tables[0], "--gallery", tables[1], "--json", str(scores)]) == 0
    assert main(["report", "--evaluation", str(scores), "--output", str(page)]) == 0
    assert main(["report", "--evaluation", str(scores), "--output", str(text), "--format", "md"]) == 0
    record = json.loads(scores.read_text())
    assert f"{100 * record['mean_average_precision']:.1f} %" in page.read_text(encoding="utf-8")
    assert f"| SHA-256 of the weights | {record['weights_sha256']} |" in text.read_text(encoding="utf-8")
    assert "Camera by camera" in text.read_text(encoding="utf-8")
