from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnireid import create_model, synthesize
from omnireid.cli import main
from omnireid.embedding import parity
from omnireid.embedding.parity import Gate
from omnireid.export import exporting, parity_gate
from omnireid.images.probes import probe_crops
from omnireid.weights.graph_file import read_graph


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files named by default are written here."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], {"untrained.onnx"}),
        (["--precision", "fp16"], {"untrained.fp16.onnx"}),
        (["--to", "openvino"], {"untrained.xml", "untrained.bin"}),
    ],
)
def test_files_are_named_after_the_weights(
    here: Path, untrained: Path, capsys: pytest.CaptureFixture[str], words: list[str], names: set[str]
) -> None:
    assert main(["export", str(untrained), *words]) == 0
    assert {path.name for path in here.iterdir()} == names
    said = capsys.readouterr().out
    assert "batch  1: smallest cosine 1.000000, mean 1.000000, 8 crops" in said
    assert "MB; compared on 64 drawn patches of colour" in said
    assert "licence of the weights: Apache-2.0" in said


def test_a_checkpoints_name_loses_its_two_suffixes(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_PROBES", 4)  # at 256×128, 64 take seconds
    torch.save({"state_dict": create_model("osnet_x0_25").state_dict()}, tmp_path / "mine.v2.pth.tar")
    assert main(["export", str(tmp_path / "mine.v2.pth.tar")]) == 0
    assert [path.name for path in here.iterdir()] == ["mine.v2.onnx"]


@pytest.mark.parametrize(("to", "suffix"), [("onnx", ".onnx"), ("openvino", ".xml")])
def test_an_output_of_another_suffix_is_refused(
    here: Path, untrained: Path, capsys: pytest.CaptureFixture[str], to: str, suffix: str
) -> None:
    assert main(["export", str(untrained), "--to", to, "--output", "w.pb"]) == 2
    assert f"name ends in {suffix}; got w.pb. Try w{suffix}" in capsys.readouterr().err
    assert not list(here.iterdir())


@pytest.mark.parametrize("way", [["--output", "file/w.onnx"], ["--to", "openvino", "--output", "w.xml"]])
def test_the_place_is_checked_before_the_work(
    here: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: list[str]
) -> None:
    (here / "file").write_text("in the way")
    (here / "w.bin").mkdir()
    monkeypatch.setattr(exporting, "export_weights", lambda *_, **__: pytest.fail("it worked first"))
    assert main(["export", str(untrained), *way]) == 2
    assert "error: Cannot write" in capsys.readouterr().err


def test_a_graph_that_fails_the_gate_is_not_written(
    here: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parity_gate, "GATES", {**parity.GATES, "fp32": Gate(1.1, 1.1)})
    assert main(["export", str(untrained)]) == 2
    assert "gives other embeddings than torch at batch 1" in capsys.readouterr().err
    assert not list(here.iterdir())


@pytest.mark.slow
def test_a_data_set_is_scored_before_and_after(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    people = synthesize(tmp_path / "people", identities=3, cameras=2, per_camera=2, workers=1)
    path = tmp_path / "w.pth"
    torch.save(create_model("osnet_x0_25").state_dict(), path)
    words = ["export", str(path), "--architecture", "osnet_x0_25", "--data", str(people)]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    before, after = (line for line in said if "rank-1" in line)
    assert before.startswith("weights, fp32  rank-1 ")
    assert after.startswith("graph, fp32    rank-1 ")


@pytest.mark.slow
def test_int8_calibrates_with_the_crops_of_folders(
    here: Path, tmp_path: Path, untrained: Path, crop_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    assert main(["export", str(untrained), "--precision", "int8"]) == 2
    assert (
        "int8 needs crops of yours to calibrate with: calibration=… (--calibration FOLDER)" in capsys.readouterr().err
    )
    words = ["export", str(untrained), "--precision", "int8", "--calibration", str(crop_folder)]
    assert main(words) == 2
    assert "12 crops are too few to calibrate int8 with" in capsys.readouterr().err
    more = tmp_path / "more"
    more.mkdir()
    for number, crop in enumerate(probe_crops(24, 64, 32)):
        Image.fromarray(crop).save(more / f"{number}.png")
    assert main([*words, "--calibration", str(more)]) == 0
    assert [path.name for path in here.iterdir()] == ["untrained.int8.onnx"]
    assert read_graph(here / "untrained.int8.onnx").metadata.precision == "int8"
    assert "int8, 0." in capsys.readouterr().out
    assert main(["inspect", "untrained.int8.onnx"]) == 0
    said = capsys.readouterr().out
    assert "omnireid graph (onnx, int8)" in said
    assert "in float32" in said
    assert main(["export", "untrained.int8.onnx"]) == 2
    assert "is a graph already" in capsys.readouterr().err


def test_a_crop_that_cannot_be_read_is_named_and_nothing_is_written(
    here: Path, tmp_path: Path, untrained: Path, crop_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    words = ["--calibration", str(crop_folder), "--calibration", str(tmp_path / "bad.jpg")]
    assert main(["export", str(untrained), *words]) == 2
    assert "bad.jpg is not a JPEG" in capsys.readouterr().err
    assert main(["export", str(untrained), "--calibration", "gone"]) == 2
    assert "There is no gone" in capsys.readouterr().err
    assert not list(here.iterdir())
