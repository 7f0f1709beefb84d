from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from omnireid import create_model, examine
from omnireid.cli import main
from omnireid.embedding.weights_file import WeightsFile
from omnireid.export.exporting import export_weights
from omnireid.export.options import ExportOptions
from omnireid.files import sha256_of
from omnireid.weights.artefact import WeightsMetadata, write_artefact
from omnireid.weights.graph_file import GraphFormat


def test_an_artefact(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(untrained)]) == 0
    shown = capsys.readouterr().out
    for expected in ("omnireid artefact", "osnet_x0_25", "201,864", "64 × 32", "euclidean", "Apache-2.0"):
        assert expected in shown
    assert main(["inspect", str(untrained), "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["metadata"]["architecture"] == "osnet_x0_25"
    assert record["parameters"] == 201_864
    assert record["coverage"]["is_complete"] is True


def test_an_artefact_is_held_against_its_network(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(untrained)]) == 0
    assert "coverage      100 % of the backbone" in capsys.readouterr().out
    assert main(["inspect", str(untrained), "--architecture", "osnet_x0_25"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(untrained), "--architecture", "osnet_x0_5"]) == 2
    assert "holds osnet_x0_25, not osnet_x0_5" in capsys.readouterr().err


def test_an_artefact_that_cannot_be_used_is_reported_key_by_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = {name: tensor.numpy() for name, tensor in create_model("osnet_x0_25").state_dict().items()}
    path = tmp_path / "w.safetensors"
    del tensors["fc.linear.weight"]
    write_artefact(path, tensors, WeightsMetadata("osnet_x0_25", 512))
    assert main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert "missing: fc.linear.weight" in captured.out
    assert "does not cover the backbone of osnet_x0_25" in captured.err
    assert main(["inspect", str(path), "--json", "-"]) == 2
    assert json.loads(capsys.readouterr().out)["coverage"]["missing"] == ["fc.linear.weight"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (WeightsMetadata("osnet_x9", 512), "No model 'osnet_x9'"),
        (WeightsMetadata("osnet_x0_25", embedding_dimension=256), "256 values; those of osnet_x0_25 have 512"),
    ],
)
def test_an_artefact_whose_metadata_is_wrong(
    tmp_path: Path, metadata: WeightsMetadata, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = {name: tensor.numpy() for name, tensor in create_model("osnet_x0_25").state_dict().items()}
    write_artefact(tmp_path / "w.safetensors", tensors, metadata)
    assert main(["inspect", str(tmp_path / "w.safetensors")]) == 2
    captured = capsys.readouterr()
    assert metadata.architecture in captured.out
    assert message in captured.err


def test_an_artefact_with_values_that_are_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = {name: tensor.numpy() for name, tensor in create_model("osnet_x0_25").state_dict().items()}
    tensors["fc.linear.bias"] = np.full_like(tensors["fc.linear.bias"], np.nan)
    write_artefact(tmp_path / "w.safetensors", tensors, WeightsMetadata("osnet_x0_25", 512))
    assert main(["inspect", str(tmp_path / "w.safetensors")]) == 2
    assert "fc.linear.bias has 512 values that are not finite" in capsys.readouterr().err


def test_coverage_is_checked_without_torch(
    untrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["inspect", str(untrained), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"]["is_complete"] is True


def test_a_checkpoint_that_cannot_be_used_is_reported_key_by_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = create_model("osnet_x0_25").state_dict()
    half = {f"module.{key}": value for key, value in list(state.items())[: len(state) // 2]}
    path = tmp_path / "half.pth"
    torch.save({"state_dict": half, "epoch": 3}, path)
    assert main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert "under 'state_dict', prefix 'module.', beside epoch" in captured.out
    assert "missing: " in captured.out
    assert "licence" in captured.out
    assert "unknown: find out before you use it" in captured.out
    assert "does not cover the backbone" in captured.err
    assert main(["inspect", str(path), "--json", "-"]) == 2
    record = json.loads(capsys.readouterr().out)
    assert 0 < record["coverage"]["backbone_coverage"] < 1


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_graph(tmp_path: Path, untrained: Path, to: GraphFormat, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ("w.onnx" if to == "onnx" else "w.xml")
    export_weights(untrained, ExportOptions(to=to)).write(path)
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    for expected in (f"omnireid graph ({to}, fp32)", "uint8, normalised inside", "64 × 32", sha256_of(untrained)):
        assert expected in shown
    assert "in float32" not in shown
    assert main(["inspect", str(path), "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["kind"], record["format"], record["graph_precision"]) == ("graph", to, "fp32")
    assert record["sha256"] == sha256_of(path)
    assert "compared with torch when it was exported" in shown
    assert main(["inspect", str(path), "--architecture", "osnet_x0_5"]) == 2
    assert "holds osnet_x0_25, not osnet_x0_5" in capsys.readouterr().err


def test_json_on_standard_output_leaves_the_text_to_standard_error(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(untrained), "--json", "-"]) == 0
    captured = capsys.readouterr()
    expected = json.loads(json.dumps(examine(untrained).json()))
    assert json.loads(captured.out) == expected
    assert captured.err.rstrip().endswith(examine(untrained).table())
    assert main(["inspect", str(untrained), "--json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == expected
    assert main(["inspect", str(untrained), "--json", str(untrained)]) == 2


def test_a_graph_without_a_word_of_its_use(tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.onnx").write_bytes(WeightsFile(untrained).graph.content)
    assert main(["inspect", str(tmp_path / "w.onnx")]) == 2
    assert "Say them once and write an artefact with: omnireid convert w.onnx" in capsys.readouterr().err


@pytest.mark.real
def test_the_public_file_is_recognised(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(shared / "weights" / "osnet_x0_25_market1501.pth")]) == 0
    shown = capsys.readouterr().out
    assert "osnet_x0_25.market1501" in shown
    assert "research-only training data" in shown
    assert "751 identities" in shown
    assert "100 % of the backbone" in shown
