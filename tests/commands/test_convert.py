from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from omnireid import create_model, examine, load_embedder
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.embedding.weights_file import WeightsFile
from omnireid.files import sha256_of
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import WeightsMetadata, read_metadata, write_artefact


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
    ours, theirs = (load_embedder(weights, RuntimeOptions(runtime="onnxruntime")) for weights in (output, checkpoint))
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
        512,
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
    assert main(["convert", str(output), "--output", str(output), "--licence", "MIT"]) == 2
    assert "it is an input of this command" in capsys.readouterr().err
    with pytest.raises(Exception, match="holds osnet_x0_25, not osnet_x1_0"):
        load_embedder(output, RuntimeOptions(architecture="osnet_x1_0"))


def test_half_precision_takes_half_the_room_and_embeds_nearly_the_same(
    tmp_path: Path, checkpoint: Path, crop_folder: Path
) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(whole)]) == 0
    assert main(["convert", str(checkpoint), "--output", str(half), "--half"]) == 0
    assert half.stat().st_size < 0.65 * whole.stat().st_size
    crops = sorted(crop_folder.iterdir())
    mine, theirs = (load_embedder(file, RuntimeOptions(runtime="onnxruntime")).embed(crops) for file in (whole, half))
    cosines = (mine * theirs).sum(axis=1) / np.linalg.norm(mine, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() > 0.999
    assert not np.array_equal(mine, theirs)


def foreign(untrained: Path, path: Path, *, takes_pixels: bool = False, batch: int | None = None) -> Path:
    """An ONNX graph that says nothing of its use."""
    graph = WeightsFile(untrained).make_graph("fp32", takes_pixels=takes_pixels)
    model = onnx.load_from_string(graph.content)
    if batch is not None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)
    return path


COLOURS = ["--mean", "0.485", "0.456", "0.406", "--std", "0.229", "0.224", "0.225"]


@pytest.mark.parametrize("takes_pixels", [True, False])
def test_a_graph_that_others_made_embeds(
    tmp_path: Path, untrained: Path, crop_folder: Path, takes_pixels: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = foreign(untrained, tmp_path / "theirs.onnx", takes_pixels=takes_pixels), tmp_path / "ours.onnx"
    words = ["convert", str(theirs), "--output", str(ours)]
    assert main(words) == 2
    missing = "--architecture" if takes_pixels else "--architecture, --mean, --std"
    assert f"nothing is guessed. Say {missing}: whoever" in capsys.readouterr().err
    assert not ours.exists()
    words += ["--architecture", "osnet_x0_25", "--licence", "MIT", "--distance", "cosine"]
    assert main(words + ([] if takes_pixels else COLOURS)) == 0
    embedder = load_embedder(ours, RuntimeOptions(runtime="onnxruntime", device="cpu"))
    metadata = embedder.metadata
    assert (metadata.architecture, metadata.licence, metadata.distance) == ("osnet_x0_25", "MIT", "cosine")
    assert (metadata.preprocessing.height, metadata.preprocessing.width) == (64, 32)
    assert embedder.weights_sha256 == sha256_of(theirs)
    assert "not checked: others made the graph" in examine(ours).table()
    crops = sorted(crop_folder.iterdir())
    expected = load_embedder(untrained, RuntimeOptions(runtime="onnxruntime", device="cpu")).embed(crops)
    assert np.allclose(embedder.embed(crops), expected, rtol=1e-4, atol=1e-5)
    capsys.readouterr()
    assert main(["convert", str(ours), "--output", str(tmp_path / "again.onnx")]) == 2
    assert "ours.onnx is an omnireid graph already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--height", "256"], "takes crops of 64 × 32 only, not --height 256. Leave --height out"),
        (["--width", "64"], "takes crops of 64 × 32 only, not --width 64"),
        (["--half"], "is a graph, which convert leaves as it is: leave --half out"),
    ],
)
def test_what_a_graph_cannot_become(
    tmp_path: Path, untrained: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = foreign(untrained, tmp_path / "theirs.onnx"), tmp_path / "ours.onnx"
    said = ["convert", str(theirs), "--output", str(ours), "--architecture", "osnet_x0_25", *COLOURS]
    assert main([*said, *words]) == 2
    assert message in capsys.readouterr().err
    assert not ours.exists()


def test_graphs_that_do_not_embed(tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--output", str(tmp_path / "ours.onnx"), "--architecture", "osnet_x0_25", *COLOURS]
    fixed = foreign(untrained, tmp_path / "fixed.onnx", batch=1)
    assert main(["convert", str(fixed), *words]) == 2
    assert "one batch of any size" in (message := capsys.readouterr().err)
    assert "tensor(float) [1, 3, 64, 32]" in message
    node = onnx.helper.make_node("Constant", [], ["y"], value_floats=[1.0, 2.0])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    graph = onnx.helper.make_graph([node], "none", [], [output])
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "none.onnx")
    assert main(["convert", str(tmp_path / "none.onnx"), *words]) == 2
    assert "its input and output are tensor(float) [2]" in capsys.readouterr().err
    (tmp_path / "text.onnx").write_text("text")
    assert main(["convert", str(tmp_path / "text.onnx"), *words]) == 2
    assert "text.onnx is text, not weights. It starts with 'text'" in capsys.readouterr().err
