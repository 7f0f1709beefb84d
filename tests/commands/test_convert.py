from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from omnireid import create_model, load_embedder
from omnireid.cli import main
from omnireid.embedding.artefact import read_metadata


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mine.pth.tar"
    torch.save({"state_dict": create_model("osnet_x0_25").state_dict(), "epoch": 1}, path)
    return path


def test_an_artefact_embeds_as_its_checkpoint_did(tmp_path: Path, checkpoint: Path, crop_folder: Path) -> None:
    output = tmp_path / "w.safetensors"
    words = ["convert", str(checkpoint), "--output", str(output), "--licence", "MIT", "--training-data", "our shop"]
    assert main([*words, "--distance", "cosine"]) == 0
    metadata = read_metadata(output)
    assert (metadata.architecture, metadata.licence, metadata.training_data) == ("osnet_x0_25", "MIT", "our shop")
    assert metadata.distance == "cosine"
    assert metadata.origin.startswith("mine.pth.tar, SHA-256 ")
    crops = sorted(crop_folder.iterdir())
    ours, theirs = load_embedder(output), load_embedder(checkpoint)
    assert ours.metadata.licence == "MIT"
    assert theirs.metadata.licence == "unknown"
    assert np.array_equal(ours.embed(crops), theirs.embed(crops))


def test_the_input_size_travels_with_the_weights(tmp_path: Path, checkpoint: Path, crop_folder: Path) -> None:
    output = tmp_path / "w.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(output), "--height", "128", "--width", "64"]) == 0
    embedder = load_embedder(output)
    assert (embedder.metadata.preprocessing.height, embedder.metadata.preprocessing.width) == (128, 64)
    assert embedder.embed(sorted(crop_folder.iterdir())).shape == (12, 512)


def test_refusals(tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(checkpoint), "--output", str(tmp_path / "w.onnx")]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err
    output = tmp_path / "w.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(output), "--architecture", "osnet_x1_0"]) == 2
    assert "osnet_x0_25" in capsys.readouterr().err
    assert not output.exists()
    assert main(["convert", str(checkpoint), "--output", str(output)]) == 0
    assert "Nobody said on what terms" in capsys.readouterr().out
    with pytest.raises(Exception, match="holds osnet_x0_25, not osnet_x1_0"):
        load_embedder(output, architecture="osnet_x1_0")
