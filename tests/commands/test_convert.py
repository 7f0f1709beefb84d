"""``omnireid convert`` of checkpoints: artefacts, folders for reid, and the scores that go with the weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.commands.foreign_graphs import foreign

from omnireid import create_model, load_embedder
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.embedding.tables import read_embeddings
from omnireid.errors import CheckpointError
from omnireid.files import sha256_of
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import WeightsMetadata, read_artefact, read_metadata, write_artefact


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "mine.pth.tar"
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
    embedder = load_embedder(output, RuntimeOptions(runtime="onnxruntime"))
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


def test_a_folder_of_reid_is_written_and_read_by_every_command(
    tmp_path: Path, checkpoint: Path, crop_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models" / "shop"
    words = ["convert", str(checkpoint), "--to", "reid", "--output", str(folder), "--height", "64", "--width", "32"]
    assert main([*words, "--licence", "MIT", "--distance", "cosine"]) == 0
    assert "shop: osnet_x0_25, 64 × 32, licence: MIT" in capsys.readouterr().out
    assert main(words) == 2
    assert "shop: it exists already, and nothing is replaced" in capsys.readouterr().err
    assert main(["inspect", str(folder), "--json", str(tmp_path / "shown.json")]) == 0
    shown = capsys.readouterr().out
    for expected in ("model of roboflow's reid, safetensors file", "64 × 32", "cosine", "MIT", "100 % of the backbone"):
        assert expected in shown
    assert json.loads((tmp_path / "shown.json").read_text())["metadata"]["licence"] == "MIT"
    ours = tmp_path / "w.safetensors"
    assert main(["convert", str(folder), "--output", str(ours)]) == 0
    assert read_metadata(ours).origin.startswith("shop/weights.safetensors, SHA-256 ")
    assert (read_metadata(ours).preprocessing, read_metadata(ours).licence) == (Preprocessing(64, 32), "MIT")
    outputs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for weights, output in zip((folder, ours), outputs, strict=True):
        embed = ["embed", str(crop_folder), "--weights", str(weights), "--runtime", "onnxruntime"]
        assert main([*embed, "--output", str(output)]) == 0
    mine, theirs = map(read_embeddings, outputs)
    assert np.array_equal(mine.embeddings, theirs.embeddings)
    (folder / "reid_config.json").write_text('{"architecture": "timm:resnet50"}')
    capsys.readouterr()
    for command in (
        ["inspect", str(folder)],
        ["embed", str(crop_folder), "--weights", str(folder), "--output", "x.parquet"],
    ):
        assert main(command) == 2
        assert 'names the network "timm:resnet50", which omnireid does not have' in capsys.readouterr().err


def test_what_does_not_become_a_folder_of_reid(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, output = foreign(untrained, tmp_path / "theirs.onnx"), tmp_path / "ours"
    assert main(["convert", str(theirs), "--to", "reid", "--output", str(output)]) == 2
    assert "is a graph, and roboflow's reid takes weights: leave --to reid out" in capsys.readouterr().err
    torch.save(create_model("osnet_ain_x0_25").state_dict(), tmp_path / "ain.pth")
    assert main(["convert", str(tmp_path / "ain.pth"), "--to", "reid", "--output", str(output)]) == 2
    assert "roboflow's reid has no osnet_ain_x0_25" in capsys.readouterr().err
    assert not output.exists()


def test_what_only_a_graph_can_be_told_is_refused_for_a_checkpoint(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--channels", "bgr"], ["--range", "255"], ["--mean", "0", "0", "0"], ["--output-name", "x"]):
        assert main(["convert", str(checkpoint), "--output", str(tmp_path / "w.safetensors"), *words]) == 2
        assert f"Leave {words[0]} out; it is for graphs of others" in capsys.readouterr().err
    output = tmp_path / "w.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(output), "--source", "https://shop.example"]) == 0
    assert read_metadata(output).origin.startswith("https://shop.example: mine.pth.tar, SHA-256 ")


def test_metadata_with_a_mean_of_123_is_refused(tmp_path: Path, untrained: Path) -> None:
    tensors, metadata = read_artefact(untrained)
    write_artefact(tmp_path / "w.safetensors", tensors, metadata)
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(content.replace(b"[0.485, 0.456, 0.406]", b"[123.5, 116.3, 103]  "))
    assert b"123.5" in (tmp_path / "w.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"metadata of .* cannot be used.*lie in \[0, 1\] themselves"):
        load_embedder(tmp_path / "w.safetensors")


def result_of(weights: Path, dataset: str, **changed: Any) -> dict[str, Any]:
    scores = {"rank1": 0.5, "mean_average_precision": 0.25}
    return {"dataset": dataset, "weights_sha256": sha256_of(weights), **scores, **changed}


def write_results(folder: Path, *results: object) -> list[str]:
    paths = [folder / f"scores-{number}.json" for number in range(len(results))]
    for path, result in zip(paths, results, strict=True):
        path.write_text(json.dumps(result))
    return ["--scores", *map(str, paths)]


def test_an_artefact_takes_the_scores_that_were_measured_with_its_weights(tmp_path: Path, checkpoint: Path) -> None:
    output = tmp_path / "w.safetensors"
    viper, market = result_of(checkpoint, "viper"), result_of(checkpoint, "market1501", rank1=1)
    together = {"datasets": [viper, market], "mean": {"rank1": 0.75}, "weights_sha256": viper["weights_sha256"]}
    for results in ([viper, market], [together]):
        assert main(["convert", str(checkpoint), "--output", str(output), *write_results(tmp_path, *results)]) == 0
        assert read_metadata(output).metrics == {
            **{"viper.rank1": 0.5, "viper.mean_average_precision": 0.25},
            **{"market1501.rank1": 1.0, "market1501.mean_average_precision": 0.25},
        }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights_sha256": "0" * 64}, "belong to other weights"),
        ({"rank1": None}, "holds no scores"),
        ({"rank1": 50}, "are no fractions"),
        ({"rank1": float("nan")}, "are no fractions"),
    ],
)
def test_scores_of_something_else_are_refused(
    tmp_path: Path, checkpoint: Path, changed: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "w.safetensors"
    flags = write_results(tmp_path, result_of(checkpoint, "viper", **changed))
    assert main(["convert", str(checkpoint), "--output", str(output), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", "3"])
def test_a_file_without_scores_is_refused(
    tmp_path: Path, checkpoint: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.json").write_text(content)
    words = ["convert", str(checkpoint), "--output", str(tmp_path / "w.safetensors")]
    assert main([*words, "--scores", str(tmp_path / "scores.json")]) == 2
    assert "omnireid evaluate --data DATA --json FILE" in capsys.readouterr().err
    assert main([*words, "--scores", str(tmp_path / "missing.json")]) == 2


def test_two_results_on_one_data_set_are_refused(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = write_results(tmp_path, result_of(checkpoint, "viper"), result_of(checkpoint, "viper"))
    assert main(["convert", str(checkpoint), "--output", str(tmp_path / "w.safetensors"), *flags]) == 2
    assert "a second result on viper" in capsys.readouterr().err
