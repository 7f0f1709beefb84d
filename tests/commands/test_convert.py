from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from omnireid import create_model, load_embedder
from omnireid.cli import main
from omnireid.embedding.artefact import WeightsMetadata, read_metadata, write_artefact
from omnireid.images.preprocess import Preprocessing


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
    ours, theirs = (load_embedder(weights, runtime="onnxruntime") for weights in (output, checkpoint))
    assert ours.metadata.licence == "MIT"
    assert theirs.metadata.licence == "unknown"
    assert np.array_equal(ours.embed(crops), theirs.embed(crops))


def test_the_input_size_travels_with_the_weights(tmp_path: Path, checkpoint: Path, crop_folder: Path) -> None:
    output = tmp_path / "w.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(output), "--height", "128", "--width", "64"]) == 0
    embedder = load_embedder(output)
    assert (embedder.metadata.preprocessing.height, embedder.metadata.preprocessing.width) == (128, 64)
    assert embedder.embed(sorted(crop_folder.iterdir())).shape == (12, 512)


def test_only_what_is_named_changes(tmp_path: Path) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    metadata = WeightsMetadata(
        "osnet_x0_25",
        preprocessing=Preprocessing(64, 32, mean, std),
        distance="cosine",
        training_data="our shop",
        metrics={"shop.rank1": 0.5},
    )
    tensors = {name: tensor.numpy() for name, tensor in create_model("osnet_x0_25").state_dict().items()}
    ours, output = tmp_path / "ours.safetensors", tmp_path / "w.safetensors"
    write_artefact(ours, tensors, metadata)
    assert main(["convert", str(ours), "--output", str(output), "--licence", "MIT"]) == 0
    found = read_metadata(output)
    assert found == replace(metadata, licence="MIT", origin=found.origin)
    assert main(["convert", str(ours), "--output", str(output), "--height", "128", "--distance", "euclidean"]) == 0
    found = read_metadata(output)
    assert found.preprocessing == Preprocessing(128, 32, mean, std)
    assert found.distance == "euclidean"


def test_a_checkpoint_without_a_word_of_its_input(tmp_path: Path, checkpoint: Path) -> None:
    output = tmp_path / "w.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(output)]) == 0
    assert read_metadata(output).preprocessing == Preprocessing(256, 128)
    assert read_metadata(output).distance == "euclidean"


def test_refusals(tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(checkpoint), "--output", str(tmp_path / "w.onnx")]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err
    output = tmp_path / "w.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(output), "--height", "0"]) == 2
    assert "An input of 0 × 128 pixels" in capsys.readouterr().err
    assert main(["convert", str(checkpoint), "--output", str(output), "--architecture", "osnet_x1_0"]) == 2
    assert "osnet_x0_25" in capsys.readouterr().err
    assert not output.exists()
    assert main(["convert", str(checkpoint), "--output", str(output)]) == 0
    assert "Nobody said on what terms" in capsys.readouterr().out
    with pytest.raises(Exception, match="holds osnet_x0_25, not osnet_x1_0"):
        load_embedder(output, architecture="osnet_x1_0")


def test_half_precision_takes_half_the_room_and_embeds_nearly_the_same(
    tmp_path: Path, checkpoint: Path, crop_folder: Path
) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(whole)]) == 0
    assert main(["convert", str(checkpoint), "--output", str(half), "--half"]) == 0
    assert half.stat().st_size < 0.65 * whole.stat().st_size
    crops = sorted(crop_folder.iterdir())
    mine, theirs = load_embedder(whole).embed(crops), load_embedder(half).embed(crops)
    cosines = (mine * theirs).sum(axis=1) / np.linalg.norm(mine, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() > 0.999
    assert not np.array_equal(mine, theirs)
