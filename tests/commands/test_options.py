"""The default weights in the commands, and what is said of their terms."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from omnireid import synthesize
from omnireid.cli import main
from omnireid.embedding.tables import read_embeddings
from omnireid.files import sha256_of
from omnireid.weights import shipped as shipped_module
from omnireid.weights.artefact import halve, read_artefact, read_metadata, write_artefact
from omnireid.weights.shipped import DEFAULT_WEIGHTS

NOTICE = (
    f"weights {DEFAULT_WEIGHTS}, shipped with omnireid; trained on Market-1501; "
    "licence: research-only training data; --weights names others"
)


@pytest.fixture
def shipped(tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Default weights in the place of the package's."""
    folder = tmp_path / "shipped"
    tensors, metadata = read_artefact(untrained)
    metadata = replace(metadata, training_data="Market-1501", licence="research-only training data")
    path = folder / f"{DEFAULT_WEIGHTS}.safetensors"
    write_artefact(path, halve(tensors), metadata)
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: folder)
    return path


def test_embed(tmp_path: Path, shipped: Path, crop_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.parquet"
    for words in ([], ["--weights", DEFAULT_WEIGHTS]):
        assert main(["embed", str(crop_folder), "--output", str(output), *words]) == 0
        said = capsys.readouterr().err.splitlines()
        assert said[1:] == [NOTICE]
        assert re.match(r"runtime (onnxruntime|openvino) \w+: [\d,]+ crops/s here \(.*\), \w+", said[0])
        assert read_embeddings(output).provenance.weights_sha256 == sha256_of(shipped)


def test_evaluate(tmp_path: Path, shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = synthesize(tmp_path / "people", identities=4, cameras=2, per_camera=2, workers=1)
    report = tmp_path / "out.json"
    assert main(["evaluate", "--data", str(people), "--json", str(report)]) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [NOTICE]
    record = json.loads(report.read_text())
    assert record["weights_sha256"] == sha256_of(shipped)
    assert record["runtime"] in ("onnxruntime", "openvino")
    assert record["precision"] in ("fp32", "bf16")
    assert main(["evaluate", "--data", str(people), "--weights", ""]) == 2  # as an unset variable gives
    assert "weights is empty. Give a path, or a name" in capsys.readouterr().err


def test_inspect(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect"]) == 0
    shown = capsys.readouterr().out
    for expected in (str(shipped), "float16", "research-only training data", "100 % of the backbone"):
        assert expected in shown


def test_convert_takes_a_name(tmp_path: Path, shipped: Path) -> None:
    output = tmp_path / "w.safetensors"
    assert main(["convert", DEFAULT_WEIGHTS, "--output", str(output)]) == 0
    assert read_metadata(output).origin == f"{shipped.name}, SHA-256 {sha256_of(shipped)}"


@pytest.mark.usefixtures("shipped")
def test_nothing_is_said_of_weights_the_user_chose(
    tmp_path: Path, untrained: Path, crop_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.parquet"
    assert main(["embed", str(crop_folder), "--weights", str(untrained), "--output", str(output)]) == 0
    assert NOTICE not in capsys.readouterr().err


def test_a_build_without_weights(
    tmp_path: Path, crop_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: tmp_path)
    assert main(["embed", str(crop_folder), "--output", str(tmp_path / "out.parquet")]) == 2
    assert "This build of omnireid ships no default weights" in capsys.readouterr().err
