from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from omnireid import create_model, examine, load_embedder
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.embedding.tables import read_embeddings
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import CheckpointError
from omnireid.files import sha256_of
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import WeightsMetadata, read_artefact, read_metadata, write_artefact
from omnireid.weights.graph_file import GraphMetadata, seal_onnx


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
        (["--half"], "is a graph, whose weights convert does not change: leave --half out"),
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


def small_graph(path: Path, nodes: list[onnx.NodeProto], outputs: dict[str, list[str | int]]) -> Path:
    """A graph of `nodes` on "means", the (N, 3) mean colours of (N, 3, 8, 4) float32 images."""
    mean = onnx.helper.make_node("GlobalAveragePool", ["images"], ["pooled"])
    flat = onnx.helper.make_node("Flatten", ["pooled"], ["means"])
    floats = onnx.TensorProto.FLOAT
    takes = onnx.helper.make_tensor_value_info("images", floats, ["N", 3, 8, 4])
    gives = [onnx.helper.make_tensor_value_info(name, floats, shape) for name, shape in outputs.items()]
    weight = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    numbers: dict[str, np.ndarray[Any, Any]] = {"weight": weight, "zero": np.zeros((), np.float32)}
    numbers |= {"one": np.array([1], np.int64), "seven": np.array([7, 4], np.int64)}
    kept = [onnx.numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = onnx.helper.make_graph([mean, flat, *nodes], "small", [takes], gives, kept)
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


PROJECT = onnx.helper.make_node("MatMul", ["means", "weight"], ["embeddings"])
SAID = ["--architecture", "small", *COLOURS]


@pytest.mark.parametrize(
    ("kind", "takes", "axis", "message"),
    [
        ("Mul", ["raw", "zero"], None, "gives 7 different crops the same embedding"),
        ("Div", ["raw", "zero"], None, "gives values that are not finite"),
        ("Softmax", ["raw"], 0, r"another embedding in a batch of 1 than in a batch of 7.*evaluation mode"),
        ("Concat", ["raw", "raw"], 0, r"gives \(14, 4\) for a batch of 7 crops, and not \(7, 4\)"),
        ("Gather", ["raw", "one"], 0, r"gives \(1, 4\) for a batch of 7 crops, and not \(7, 4\)"),
        ("Reshape", ["raw", "seven"], None, r"cannot be run on a batch of 1 crops.*free batch"),
    ],
)
def test_a_graph_is_run_before_it_is_adopted(
    tmp_path: Path, kind: str, takes: list[str], axis: int | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = onnx.helper.make_node("MatMul", ["means", "weight"], ["raw"])
    options: dict[str, Any] = {} if axis is None else {"axis": axis}
    last = onnx.helper.make_node(kind, takes, ["embeddings"], **options)
    theirs = small_graph(tmp_path / "theirs.onnx", [project, last], {"embeddings": ["N", 4]})
    assert main(["convert", str(theirs), "--output", str(tmp_path / "ours.onnx"), *SAID]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "ours.onnx").exists()


def test_one_of_two_outputs_is_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logits = onnx.helper.make_node("MatMul", ["means", "weight"], ["logits"])
    embeddings = onnx.helper.make_node("Neg", ["means"], ["embeddings"])
    outputs: dict[str, list[str | int]] = {"logits": ["N", 4], "embeddings": ["N", 3]}
    theirs = small_graph(tmp_path / "theirs.onnx", [logits, embeddings], outputs)
    words = ["convert", str(theirs), "--output", str(tmp_path / "ours.onnx"), *SAID]
    assert main(words) == 2
    assert "has 2 outputs, and nothing is guessed: logits ['N', 4], embeddings ['N', 3]" in capsys.readouterr().err
    assert main([*words, "--output-name", "features"]) == 2
    assert "has no output 'features'. Its outputs are: logits" in capsys.readouterr().err
    assert main([*words, "--output-name", "embeddings"]) == 0
    crops = np.random.default_rng(0).integers(0, 256, (3, 8, 4, 3), dtype=np.uint8)
    found = [
        load_embedder(tmp_path / "ours.onnx", RuntimeOptions(runtime=runtime, device="cpu")).embed(crops)
        for runtime in ("onnxruntime", "openvino")
    ]
    expected = -Preprocessing(8, 4).normalise(crops).mean(axis=(2, 3))
    for embeddings_found in found:
        assert np.allclose(embeddings_found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "mean", "white"),
    [(["--range", "255"], 0, 255), (["--range", "255", "--mean", "120", "110", "100"], (100, 110, 120), 255)],
)
def test_a_graph_that_takes_blue_first_and_pixels_as_they_are(
    tmp_path: Path, words: list[str], mean: Any, white: int
) -> None:
    theirs, ours = small_graph(tmp_path / "theirs.onnx", [PROJECT], {"embeddings": ["N", 4]}), tmp_path / "ours.onnx"
    assert (
        main(["convert", str(theirs), "--output", str(ours), "--architecture", "x", "--channels", "bgr", *words]) == 0
    )
    crops = np.random.default_rng(0).integers(0, 256, (3, 8, 4, 3), dtype=np.uint8)
    weight = onnx.numpy_helper.to_array(onnx.load(theirs).graph.initializer[0])
    expected = (crops[..., ::-1].mean(axis=(1, 2)) / 255 * white - mean) @ weight
    for runtime in ("onnxruntime", "openvino"):
        options = RuntimeOptions(runtime=runtime, device="cpu", precision="fp32")
        assert np.allclose(load_embedder(ours, options).embed(crops), expected, rtol=1e-3, atol=1e-2)
    embedder = load_embedder(ours)
    assert embedder.metadata.origin == f"theirs.onnx, SHA-256 {sha256_of(theirs)}; with BGR: {embedder.weights_sha256}"
    assert "not checked: others made the graph" in examine(ours).table()


def test_what_only_a_graph_can_be_told_is_refused_for_a_checkpoint(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--channels", "bgr"], ["--range", "255"], ["--mean", "0", "0", "0"], ["--output-name", "x"]):
        assert main(["convert", str(checkpoint), "--output", str(tmp_path / "w.safetensors"), *words]) == 2
        assert f"Leave {words[0]} out; it is for graphs of others" in capsys.readouterr().err
    output = tmp_path / "w.safetensors"
    assert main(["convert", str(checkpoint), "--output", str(output), "--source", "https://shop.example"]) == 0
    assert read_metadata(output).origin.startswith("https://shop.example: mine.pth.tar, SHA-256 ")


@pytest.mark.parametrize("words", [["--mean", "123", "116", "103"], ["--std", "58", "57", "57"]])
def test_mean_and_std_of_pixels_up_to_255_are_refused(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = small_graph(tmp_path / "theirs.onnx", [PROJECT], {"embeddings": ["N", 4]})
    assert main(["convert", str(theirs), "--output", str(tmp_path / "ours.onnx"), *SAID, *words]) == 2
    assert "lie in [0, 1] themselves" in capsys.readouterr().err


def test_metadata_with_a_mean_of_123_is_refused(tmp_path: Path, untrained: Path) -> None:
    tensors, metadata = read_artefact(untrained)
    write_artefact(tmp_path / "w.safetensors", tensors, metadata)
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(content.replace(b"[0.485, 0.456, 0.406]", b"[123.5, 116.3, 103]  "))
    assert b"123.5" in (tmp_path / "w.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"metadata of .* cannot be used.*lie in \[0, 1\] themselves"):
        load_embedder(tmp_path / "w.safetensors")


def test_weights_in_a_file_of_their_own_are_taken_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = small_graph(tmp_path / "theirs.onnx", [PROJECT], {"embeddings": ["N", 4]})
    model = onnx.load(theirs)
    onnx.save(model, theirs, save_as_external_data=True, location="theirs.data", size_threshold=0)
    assert (tmp_path / "theirs.data").stat().st_size >= 48
    monkeypatch.chdir("/")  # which is not where the weights are
    ours = tmp_path / "ours.onnx"
    assert main(["convert", str(theirs), "--output", str(ours), *SAID]) == 0
    crops = np.random.default_rng(0).integers(0, 256, (3, 8, 4, 3), dtype=np.uint8)
    expected = load_embedder(ours, RuntimeOptions(runtime="onnxruntime")).embed(crops)
    (tmp_path / "theirs.data").write_bytes(bytes(48))
    assert np.array_equal(load_embedder(ours, RuntimeOptions(runtime="onnxruntime")).embed(crops), expected)
    capsys.readouterr()
    assert main(["inspect", str(ours)]) == 0
    assert "coverage      not checked: others made the graph" in capsys.readouterr().out

    (tmp_path / "theirs.data").unlink()
    assert main(["convert", str(theirs), "--output", str(ours), *SAID]) == 2
    assert "keeps its weights in a file of its own, which cannot be read" in capsys.readouterr().err


def test_a_sealed_graph_with_weights_outside_is_refused(tmp_path: Path) -> None:
    theirs = small_graph(tmp_path / "theirs.onnx", [PROJECT], {"embeddings": ["N", 4]})
    onnx.save(onnx.load(theirs), theirs, save_as_external_data=True, location="theirs.data", size_threshold=0)
    metadata = GraphMetadata(WeightsMetadata("small", 4, Preprocessing(8, 4)), takes_pixels=False)
    theirs.write_bytes(seal_onnx(theirs.read_bytes(), metadata))
    with pytest.raises(CheckpointError, match=r"theirs\.onnx keeps weights in another file.*omnireid convert"):
        load_embedder(theirs)


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
